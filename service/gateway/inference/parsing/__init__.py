"""Bodies of requests, JSON or multipart, as validated requests."""
