"""Memory of a request while it waits, runs and is kept: in the store, in a worker, in a gateway."""
