"""The small default model's own towers."""
