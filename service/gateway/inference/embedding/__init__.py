"""Vectors of the shared space: inputs from a body to unit vectors, and what is made of them."""
