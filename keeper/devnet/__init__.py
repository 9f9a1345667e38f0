"""A local chain with the real protocols, for demo, tests and benchmarks."""
