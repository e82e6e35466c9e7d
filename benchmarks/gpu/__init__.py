"""Benchmarks at the published sizes, which need a CUDA device."""
