"""Commands that run the service, look after it or check a machine for it."""
