"""Which samples go to which instance, and when."""
