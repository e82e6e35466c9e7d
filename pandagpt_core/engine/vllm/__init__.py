"""vLLM as an engine: for devices and numbers of them that the engine of this package does not use.

Nothing here is imported unless a worker is set to use it, and vLLM itself only where it starts. Written against
vLLM 0.32; the extra `vllm` of pyproject.toml holds it to that.
"""
