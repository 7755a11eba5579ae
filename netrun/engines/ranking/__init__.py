"""Ranking networks: embedding tables of up to a hundred gigabytes, and small dense layers."""
