"""A whole deployment on one machine: gateways, workers, haproxy and Prometheus as processes."""
