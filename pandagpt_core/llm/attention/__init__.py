"""Attention over a KV cache, and the cache itself."""
