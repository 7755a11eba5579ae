"""int8 networks over volumes: oneDNN's convolutions, norms by kernels of our own.

An instance norm needs its window's own statistics, so that it cannot be folded: a convolution
stores int8, each channel at a scale of its own, `moments` goes over it once, `normalise` once more.
"""
