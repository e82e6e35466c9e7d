"""Towers whose clips all have one shape: what computes them, and how many clips at once, found out at load on a CPU."""
