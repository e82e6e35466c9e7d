"""The models: media to arrays, arrays to embeddings, embeddings into prompts, prompts to tokens."""
