"""From media to embeddings, and from sound to text, beside the loop."""
