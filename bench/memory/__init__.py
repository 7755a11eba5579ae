"""What an instance costs: its memory, and the time from its start until it is ready."""
