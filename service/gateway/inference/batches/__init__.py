"""/v1/batches: requests of a file, run one after another by whichever gateway holds the lease."""
