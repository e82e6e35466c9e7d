"""Commands that call a running service, or prepare media as a client does."""
