"""Networks in eager PyTorch, and int8 programs on PyTorch's own oneDNN operators."""
