"""Weights and data in, artifacts and prepared samples out: made once, and kept in the cache."""
