"""How fast this machine could be, and how fast each layer of a program is."""
