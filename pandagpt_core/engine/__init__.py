"""Continuous batching over one language model: tokens and tensors in, tokens and text out."""
