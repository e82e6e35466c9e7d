"""The page at `/`: static files, and the samples that it offers. No server state, no other host."""
