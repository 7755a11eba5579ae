"""Side-by-side throughput and latency of engines on the same cores."""
