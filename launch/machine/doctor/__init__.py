"""What about this machine changes results, with the command that cures it."""
