"""Bodies of the endpoints of Ollama, and models as it lists them."""
