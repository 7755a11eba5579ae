"""The user's side of loadrun: command line, plan, supervisor, results."""
