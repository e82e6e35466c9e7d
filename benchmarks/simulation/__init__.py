"""A fleet of any size by simulation: workers, queue, store and gateways, from costs that were measured here."""
