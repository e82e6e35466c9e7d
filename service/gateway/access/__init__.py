"""Access to the gateway and its limits: keys, their classes, rate limits."""
