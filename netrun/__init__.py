"""The worker process: attach, warm up, serve."""
