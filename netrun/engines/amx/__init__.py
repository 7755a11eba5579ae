"""int8 kernels for AMX, written as machine code when an instance starts.

What oneDNN does less well than the processor could, with the same results to the bit: 1x1
convolutions of few channels, where what follows the product takes longest (`Pointwise`), the first
layers of a ResNet (`Stem`), and convolutions to small images (`Gathered`). None takes a compiler::

    layer = Pointwise(56, 56, 64, 256, residual="u8", residual_scale=0.5)
    if supported(isa, layer) and within_range(weights, scales, bias):
        packed, factors = layer.pack(weights), pack_factors(scales, bias)       # once, to a file
        kernel = layer.make(batch, threads, packed, factors, openmp)            # both line-aligned
        kernel.arguments.source = ...                                           # addresses
        kernel.arguments.output = kernel.arguments.residual = ...
        kernel.call()                              # or kernel.function(kernel.pointer)

Scales and bias are in units of the output's scale. Whether a kernel is faster than oneDNN's depends
on the shape: measure both.
"""

from netrun.engines.amx.gathered import Gathered
from netrun.engines.amx.pointwise import Pointwise
from netrun.engines.amx.routine import Kernel, pack_factors, supported, within_range
from netrun.engines.amx.stem import Stem

__all__ = [
    "Gathered",
    "Kernel",
    "Pointwise",
    "Stem",
    "pack_factors",
    "supported",
    "within_range",
]
