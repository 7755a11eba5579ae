"""What `loadrun roofline` does: measure, judge against the machine's limits, show."""
