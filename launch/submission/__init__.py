"""From results to a tree that MLPerf's submission checker accepts."""
