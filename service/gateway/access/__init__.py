"""Who may use the gateway, and how much: keys, their classes, rate limits."""
