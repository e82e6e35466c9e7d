"""The recipes of this repository's models."""
