"""The service around the models: gateway, broker, worker and the command that runs them."""
