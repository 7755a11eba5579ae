"""Quantisation: torchao PT2E calibration and lowering to programs (imports torch)."""
