"""Weights files of other makers, read into our networks without executing anything they hold."""
