"""What the benchmarks share: running loadrun with instances, figures and their tables."""
