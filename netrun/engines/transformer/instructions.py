"""The instructions that these kernels need beside those of `netrun.engines.amx.assembler`.

Vectors of 32 float16 (AVX512-FP16, which every processor with AMX has), of bfloat16, shuffles and
conversions. Operands are checked by type alone; a kernel's author knows which forms exist.
"""

from __future__ import annotations

from netrun.engines.amx.assembler import Assembler, Mem, Reg, Tmm, Zmm

_NP, _66, _F3, _F2 = 0, 1, 2, 3  # mandatory prefixes
_0F, _38, _3A, _5, _6 = 1, 2, 3, 5, 6  # opcode maps

# name: (opcode map, prefix, W, opcode)
_THREE = {
    "vsubps": (_0F, _NP, 0, 0x5C),
    "vmaxps": (_0F, _NP, 0, 0x5F),
    "vdivps": (_0F, _NP, 0, 0x5E),
    "vfmadd213ps": (_38, _66, 0, 0xA8),
    "vfmadd132ps": (_38, _66, 0, 0x98),
    "vfnmadd231ps": (_38, _66, 0, 0xBC),
    "vscalefps": (_38, _66, 0, 0x2C),
    "vaddph": (_5, _NP, 0, 0x58),
    "vsubph": (_5, _NP, 0, 0x5C),
    "vmulph": (_5, _NP, 0, 0x59),
    "vminph": (_5, _NP, 0, 0x5D),
    "vmaxph": (_5, _NP, 0, 0x5F),
    "vfmadd213ph": (_6, _66, 0, 0xA8),
    "vfmadd231ph": (_6, _66, 0, 0xB8),
    "vfnmadd231ph": (_6, _66, 0, 0xBC),
    "vcvtne2ps2bf16": (_38, _F2, 0, 0x72),
    "vpaddw": (_0F, _66, 0, 0xFD),
    "vpaddd": (_0F, _66, 0, 0xFE),
    "vpandd": (_0F, _66, 0, 0xDB),
    "vpunpckldq": (_0F, _66, 0, 0x62),
    "vpunpckhdq": (_0F, _66, 0, 0x6A),
    "vpunpcklqdq": (_0F, _66, 1, 0x6C),
    "vpunpckhqdq": (_0F, _66, 1, 0x6D),
    "vpunpcklwd": (_0F, _66, 0, 0x61),
    "vpunpckhwd": (_0F, _66, 0, 0x69),
}
# Two operands; the last number is the bytes that the operand takes in memory.
_TWO = {
    "vcvtph2w": (_5, _66, 0, 0x7D, 64),
    "vcvtph2psx": (_6, _66, 0, 0x13, 32),
    "vcvtps2phx": (_5, _66, 0, 0x1D, 64),
    "vsqrtps": (_0F, _NP, 0, 0x51, 64),
    "vrcp14ps": (_38, _66, 0, 0x4C, 64),
    "vpmovsxbw": (_38, _66, 0, 0x20, 32),
    "vpmovsxwd": (_38, _66, 0, 0x23, 32),
    "vpmovzxwd": (_38, _66, 0, 0x33, 32),
    "vpbroadcastw": (_38, _66, 0, 0x79, 2),
}
# From a whole vector to memory: (opcode map, prefix, W, opcode, bytes written)
_NARROW = {
    "vpmovswb": (_38, _F3, 0, 0x20, 32),
    "vpmovsdb": (_38, _F3, 0, 0x21, 16),
    "vpmovusdb": (_38, _F3, 0, 0x11, 16),
}
_SHUFFLE = {
    "vshufi32x4": (_3A, _66, 0, 0x43),
    "vshufps": (_0F, _NP, 0, 0xC6),
    "vinserti64x4": (_3A, _66, 1, 0x3A),
}


class Vectors(Assembler):
    """The assembler with these instructions."""

    def three(self, name: str, target: Zmm, first: Zmm, second: Zmm | Mem) -> None:
        """An instruction of three operands, by its name."""
        space, prefix, wide, opcode = _THREE[name]
        self._evex(space, prefix, wide, opcode, target.number, first.number, second)

    def two(self, name: str, target: Zmm, source: Zmm | Mem) -> None:
        """An instruction of two operands, by its name."""
        space, prefix, wide, opcode, unit = _TWO[name]
        self._evex(space, prefix, wide, opcode, target.number, 0, source, unit=unit)

    def narrow(self, name: str, target: Mem, source: Zmm) -> None:
        """Store the elements of a vector saturated to bytes, by the instruction's name."""
        space, prefix, wide, opcode, unit = _NARROW[name]
        self._evex(space, prefix, wide, opcode, source.number, 0, target, unit=unit)

    def shuffle(self, name: str, target: Zmm, first: Zmm, second: Zmm, order: int) -> None:
        """A shuffle with a constant, by its name."""
        space, prefix, wide, opcode = _SHUFFLE[name]
        self._evex(space, prefix, wide, opcode, target.number, first.number, second)
        self._emit(order)

    def shift_left(self, target: Zmm, source: Zmm, bits: int) -> None:
        """``vpslld`` by a constant."""
        self._evex(_0F, _66, 0, 0x72, 6, target.number, source)
        self._emit(bits)

    def fraction(self, target: Zmm, source: Zmm) -> None:
        """``vreduceps``: what floats are above the next lower integer."""
        self._evex(_3A, _66, 0, 0x56, target.number, 0, source)
        self._emit(1)

    def store_half(self, target: Mem, source: Zmm) -> None:
        """The lower 32 bytes of a vector to memory (``vextracti64x4`` 0)."""
        self._evex(_3A, _66, 1, 0x3B, source.number, 0, target, unit=32)
        self._emit(0)

    def product_bf16(self, total: Tmm, rows: Tmm, columns: Tmm) -> None:
        """``tdpbf16ps``: float32 sums of products of pairs of bfloat16."""
        self._vex(_F3, 0x5C, total.number, columns.number, rows.number)

    def prefetch_far(self, source: Mem) -> None:
        """``prefetcht1``: a line that is read later, into the second-level cache."""
        self._legacy(0x18, 2, source, escape=True, wide=False)

    def copy(self, target: Zmm, source: Zmm) -> None:
        """``vmovdqu64`` between vectors."""
        self._evex(_0F, _F3, 1, 0x6F, target.number, 0, source)

    def multiply(self, target: Reg, source: Reg, factor: int) -> None:
        """``imul`` by a constant."""
        self._legacy(0x69, target, source)
        self._code += factor.to_bytes(4, "little", signed=True)

    def load_signed(self, target: Reg, source: Mem) -> None:
        """``movsxd``: an int32 of memory."""
        self._legacy(0x63, target, source)

    def transpose(self) -> list[Zmm]:
        """Transpose 16 x 16 dwords in vectors 0 to 15; returns the vectors that hold the result.

        All vectors are used.
        """
        for group in range(0, 16, 4):
            r = [Zmm(group + i) for i in range(4)]
            t = [Zmm(16 + group + i) for i in range(4)]
            self.three("vpunpckldq", t[0], r[0], r[1])
            self.three("vpunpckhdq", t[1], r[0], r[1])
            self.three("vpunpckldq", t[2], r[2], r[3])
            self.three("vpunpckhdq", t[3], r[2], r[3])
            self.three("vpunpcklqdq", r[0], t[0], t[2])
            self.three("vpunpckhqdq", r[1], t[0], t[2])
            self.three("vpunpcklqdq", r[2], t[1], t[3])
            self.three("vpunpckhqdq", r[3], t[1], t[3])
        result: list[Zmm] = [Zmm(0)] * 16
        for column in range(4):
            u = [Zmm(4 * group + column) for group in range(4)]
            v = [Zmm(16 + 4 * column + i) for i in range(4)]
            self.shuffle("vshufi32x4", v[0], u[0], u[1], 0x88)
            self.shuffle("vshufi32x4", v[1], u[2], u[3], 0x88)
            self.shuffle("vshufi32x4", v[2], u[0], u[1], 0xDD)
            self.shuffle("vshufi32x4", v[3], u[2], u[3], 0xDD)
            for lane, (one, other, order) in enumerate(
                ((0, 1, 0x88), (2, 3, 0x88), (0, 1, 0xDD), (2, 3, 0xDD))
            ):
                self.shuffle("vshufi32x4", u[lane], v[one], v[other], order)
                result[4 * lane + column] = u[lane]
        return result
