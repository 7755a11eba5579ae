"""Machines that are only modelled: what a tuner finds on them can be held against the truth."""
