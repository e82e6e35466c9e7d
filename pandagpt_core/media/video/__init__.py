"""Videos: which frames, how they are shown, and the encoder's array."""
