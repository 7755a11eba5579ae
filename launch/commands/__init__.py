"""The subcommands: one module each, with SUMMARY, add_arguments and execute."""
