"""A soak of whole runs under kills, stops and signals."""
