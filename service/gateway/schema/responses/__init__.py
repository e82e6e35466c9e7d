"""Bodies of /v1/responses."""
