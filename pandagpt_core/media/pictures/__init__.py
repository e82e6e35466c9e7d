"""Pictures: from bytes to what a viewer shows, and to an encoder's array."""
