"""DLRM against other engines on the same cores and tables."""
