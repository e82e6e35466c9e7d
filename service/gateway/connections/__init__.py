"""Connections of the HTTP server: bounds on a head, half-closed clients, ends that lose nothing."""
