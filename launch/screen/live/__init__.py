"""The live view of a run: what the instances do, read from shared memory once a second.

`meter` reads, `rows` groups instances where they are too many for the screen, `view` makes lines
of it, `screen` draws them.
"""
