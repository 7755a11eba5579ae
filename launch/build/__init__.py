"""Weights and data in, artifacts and prepared samples out: built once, and kept in the cache."""
