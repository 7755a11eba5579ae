"""The subcommands: a module each, with SUMMARY, DESCRIPTION, EPILOG, add_arguments and execute.

What several of them take is in `arguments`.
"""
