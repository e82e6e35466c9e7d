"""The whole service on one machine: an embedded store, a gateway and a worker under one supervisor. Never torch."""
