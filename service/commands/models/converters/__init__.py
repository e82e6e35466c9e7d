"""`pandagpt convert` for each system: its own arguments, and the call that converts."""
