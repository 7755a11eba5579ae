"""Runs the processes of a run to their end, whatever that is."""
