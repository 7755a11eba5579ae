"""Several runs, one after the other: which, what became of each, and a table of them."""
