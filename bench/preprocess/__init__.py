"""Preprocessing against a plain loop over Pillow."""
