"""Shell completion: scripts built from the parsers, so that they offer what the commands take.

`words` reads the parsers; `bash`, `zsh` and `fish` write a script each.
"""

SHELLS = ("bash", "zsh", "fish")
