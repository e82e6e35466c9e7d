"""The worker's side of the broker: take requests, publish events, refresh what it holds."""
