"""Benchmarks: each makes the figures of one part of docs/benchmarks.md."""
