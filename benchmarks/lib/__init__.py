"""Parts that all benchmarks share: processes, clients, statistics, reports, the machine's facts."""
