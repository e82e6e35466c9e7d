"""The parts of `benchmarks.gateway_streams`: a worker without a model, a gateway that notes, many light clients."""
