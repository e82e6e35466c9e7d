"""Confined child processes that turn bytes into encoder arrays."""
