"""int8 kernels for AMX, written as machine code when an instance starts."""
