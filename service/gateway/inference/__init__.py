"""A request for text from its body to its answer."""
