"""Conversations and their media on the way to a batch: read, encoded once, laid out, put in order."""
