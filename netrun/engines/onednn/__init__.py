"""int8 inference by a static sequence of oneDNN primitives."""
