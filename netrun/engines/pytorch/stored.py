"""How parameters are stored: one artifact for each part and precision.

facts      types           parameter -> what NumPy has no type for: "bfloat16", kept as uint16
           channels_last   parameters of convolutions, stored [out, height, width, in]
arrays     parameter or buffer -> its values
"""

from __future__ import annotations

KIND = "network"
STORED = 1  # raised when the same network would be stored in another way
