"""Jobs on their way into the engine, in it, and out of it."""
