"""Sounds: from bytes to samples of one channel, and to an encoder's array."""
