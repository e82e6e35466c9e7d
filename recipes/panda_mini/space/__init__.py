"""The shared space of pictures and texts, and the towers of the other media beside it."""
