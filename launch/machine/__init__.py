"""The machine: processors, instruction sets, limits, plans, and whether it was left alone."""
