"""Tokenizers, and text from a stream of tokens."""
