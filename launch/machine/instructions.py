"""Which instruction sets there are and oneDNN may use: they decide how fast int8 runs.

Told from the processor's flags and the user's bound, without loading oneDNN; what oneDNN itself
says stands in run.json with each instance's engine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from base.processors import processor_flags
from launch.supervise.environment import MAX_CPU_ISA
from netrun.engines.onednn.library import ISA_NAMES, VNNI_BITS

_FLAGS = (
    ({"sse4_1"}, 0x01),
    ({"avx"}, 0x02),
    ({"avx2"}, 0x04),
    ({"avx_vnni"}, 0x08),
    ({"avx_ne_convert"}, 0x10),
    ({"avx512f", "avx512bw", "avx512dq", "avx512vl"}, 0x20),
    ({"avx512_vnni"}, 0x40),
    ({"avx512_bf16"}, 0x80),
    ({"avx512_fp16"}, 0x100),
    ({"amx_tile"}, 0x200),
    ({"amx_int8"}, 0x400),
    ({"amx_bf16"}, 0x800),
    ({"amx_fp16"}, 0x1000),
)
"""Flags of /proc/cpuinfo for each bit of ``dnnl_cpu_isa_t``."""


FEATURES = {
    "avx2": "AVX2",
    "avx_vnni": "AVX-VNNI",
    "avx512f": "AVX512",
    "avx512_vnni": "AVX512-VNNI",
    "amx_int8": "AMX-INT8",
}
"""Instruction sets that int8 kernels use, by the kernel's name for them."""


@dataclass(frozen=True)
class InstructionSet:
    """What int8 can use.

    `name` is what oneDNN uses, by its own names, `bound` what the user allowed it at most (None: no
    bound), and `processor` what it would use without a bound.
    """

    name: str
    vnni: bool
    bound: str | None
    processor: str

    @property
    def notice(self) -> str | None:
        """The missing instructions for fast int8, the effect and the cure; None where none are."""
        if self.vnni:
            return None
        effect = f"int8 runs on the slower kernels for {self.name}"
        if self.bound is None or self.name == self.processor:
            return f"this processor has no VNNI instructions: {effect}"
        return (
            f"{MAX_CPU_ISA}={self.bound} holds oneDNN below {self.processor}: {effect}"
            " (cure: unset it)"
        )


def read_instruction_set(
    root: Path = Path("/"), environment: Mapping[str, str] | None = None
) -> InstructionSet | None:
    """What the processor below `root` ("/" is this machine) offers; None where it is no x86."""
    bound = (os.environ if environment is None else environment).get(MAX_CPU_ISA) or None
    flags = processor_flags(root / "proc/cpuinfo")
    if flags is None:
        return None
    available = sum(bit for needed, bit in _FLAGS if needed <= flags)
    masks = {name: mask for mask, name in ISA_NAMES.items()}
    allowed = masks.get(bound.upper(), -1) if bound else -1  # as oneDNN: others mean no bound
    used, unbounded = _highest(available & allowed), _highest(available)
    return InstructionSet(
        ISA_NAMES.get(used, "none"),
        bool(used & VNNI_BITS),
        bound,
        ISA_NAMES.get(unbounded, "none"),
    )


def features(root: Path = Path("/")) -> tuple[str, ...]:
    """The processor's instruction sets that matter to int8; empty where it lists none."""
    flags = processor_flags(root / "proc/cpuinfo") or frozenset()
    return tuple(name for flag, name in FEATURES.items() if flag in flags)


def _highest(bits: int) -> int:
    """The last of oneDNN's instruction sets all of whose bits are there."""
    return max((mask for mask in ISA_NAMES if mask & bits == mask), default=0)
