"""A model folder's table of n-grams: counted in answers that the model writes to its own questions."""
