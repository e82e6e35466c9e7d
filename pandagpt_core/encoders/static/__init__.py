"""Towers whose clips all have one shape: the library and the batch for each, measured at load on a CPU."""
