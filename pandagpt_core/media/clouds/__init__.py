"""Readers of point-cloud files, one module a family of formats: bytes to coordinates [N, 3] float64, in their order."""
