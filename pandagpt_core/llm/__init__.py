"""The language model: LLaMA with grouped KV heads, its cache, its tokenizers and its weights."""
