"""Vectors of the shared space: inputs from a body to unit vectors, and the answers made of them."""
