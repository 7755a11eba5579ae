"""`loadrun find-qps`: the highest Server rate that is VALID."""
