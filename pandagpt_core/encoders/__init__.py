"""Encoders of the shared space: ImageBind's six towers and the small default's."""
