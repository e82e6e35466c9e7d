"""The language model's stages: projection and LoRA from vectors, then from lines of words; their questions."""
