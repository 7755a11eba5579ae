"""What became of a run: its record, its results on disk, what they mean."""
