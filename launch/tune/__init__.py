"""`loadrun tune`: searches the configuration that serves a model best on this machine."""
