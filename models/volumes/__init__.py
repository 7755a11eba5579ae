"""3D U-Nets: kidneys and their tumours (KiTS19), brain tumours (BraTS 2019).

scans ──data sets──▶ volume, each of its own shape ──windows──▶ network ──▶ logits of a window
KiTS19: logits ──Gaussian weights, sum, argmax──▶ class of every voxel, uint8 ──dice──▶ DICE
BraTS:  one window, the whole volume ──▶ its logits, float16 ──dice──▶ DICE of nested regions
"""
