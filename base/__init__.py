"""What every package stands on: errors, files, configurations, the processor, the parent process.

Nothing but Python's own library is imported here.
"""
