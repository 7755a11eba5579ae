"""Pages that show runs: one of each run, comparisons, an index; files without anything external."""
