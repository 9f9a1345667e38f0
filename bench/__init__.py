"""Benchmarks: what is claimed to be fast, small or exact, measured on the machine at hand."""
