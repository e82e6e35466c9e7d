"""Tools: the functions that a caller offers to the model, the grammar of a call, and calls read out of an answer."""
