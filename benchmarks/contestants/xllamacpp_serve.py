"""llama.cpp's server as the package xllamacpp holds it, built for AVX2: for machines where none was compiled.

Runs in that package's environment and takes the few options of llama-server that `field` gives.
"""

import argparse
import importlib
import signal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--model", "--host"):
        parser.add_argument(name, required=True)
    for name in ("--port", "--ctx-size", "--parallel", "--threads"):
        parser.add_argument(name, type=int, required=True)
    given = parser.parse_args()
    library = importlib.import_module("xllamacpp")
    params = library.CommonParams()
    params.model.path, params.hostnames, params.port = given.model, [given.host], given.port
    params.n_ctx, params.n_parallel, params.verbosity = given.ctx_size, given.parallel, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = given.threads
    server = library.Server(params)  # serves from here on, in threads of its own
    print(server.listening_address, flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
