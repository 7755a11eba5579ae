"""A small assembler for x86-64: the instructions that the kernels of this package are made of.

Operands are checked by type alone; a kernel's author knows which forms exist. Vectors are always
512 bits wide, without masks and rounding modes. Names are those of the processor's manual.
"""

from __future__ import annotations

import ctypes
import mmap
from dataclasses import dataclass
from enum import IntEnum

PAGE = mmap.PAGESIZE


class Reg(IntEnum):
    """The 64-bit registers."""

    RAX = 0
    RCX = 1
    RDX = 2
    RBX = 3
    RSP = 4
    RBP = 5
    RSI = 6
    RDI = 7
    R8 = 8
    R9 = 9
    R10 = 10
    R11 = 11
    R12 = 12
    R13 = 13
    R14 = 14
    R15 = 15


@dataclass(frozen=True)
class Zmm:
    """A vector register, 0 to 31."""

    number: int


@dataclass(frozen=True)
class Tmm:
    """A tile register, 0 to 7."""

    number: int


@dataclass(frozen=True)
class Mem:
    """Memory at ``base + index + displacement``."""

    base: Reg
    displacement: int = 0
    index: Reg | None = None


@dataclass(eq=False)
class Label:
    """A place in the code: bound once, jumped to from anywhere."""

    position: int | None = None


_MAP_0F, _MAP_0F38, _MAP_0F3A = 1, 2, 3
_NONE, _66, _F3, _F2 = 0, 1, 2, 3  # mandatory prefixes, as VEX and EVEX number them

# name: (opcode map, prefix, W, opcode)
_VECTOR = {
    "vaddps": (_MAP_0F, _NONE, 0, 0x58),
    "vmulps": (_MAP_0F, _NONE, 0, 0x59),
    "vminps": (_MAP_0F, _NONE, 0, 0x5D),
    "vfmadd231ps": (_MAP_0F38, _66, 0, 0xB8),
    "vpshufb": (_MAP_0F38, _66, 0, 0x00),
    "vpackssdw": (_MAP_0F, _66, 0, 0x6B),
    "vpacksswb": (_MAP_0F, _66, 0, 0x63),
    "vpackuswb": (_MAP_0F, _66, 0, 0x67),
    "vpermb": (_MAP_0F38, _66, 0, 0x8D),
    "vpxord": (_MAP_0F, _66, 0, 0xEF),
    "vpmaxsd": (_MAP_0F38, _66, 0, 0x3D),
}
_CONVERSION = {
    "vcvtdq2ps": (_MAP_0F, _NONE, 0, 0x5B),
    "vcvtps2dq": (_MAP_0F, _66, 0, 0x5B),
}
_TILE_PRODUCT = {"tdpbssd": _F2, "tdpbusd": _66}
_JUMP = {"je": 0x84, "jne": 0x85, "jb": 0x82}


class Assembler:
    """Emits instructions one behind the other; `code` are the bytes, jumps resolved."""

    def __init__(self) -> None:
        self._code = bytearray()
        self._fixups: list[tuple[int, Label]] = []

    def code(self) -> bytes:
        """The machine code; raises ValueError where a jump's label was never bound."""
        code = bytearray(self._code)
        for place, label in self._fixups:
            if label.position is None:
                raise ValueError("a label is jumped to and never bound")
            code[place : place + 4] = (label.position - place - 4).to_bytes(
                4, "little", signed=True
            )
        return bytes(code)

    @property
    def position(self) -> int:
        """How many bytes there are so far."""
        return len(self._code)

    def bind(self, label: Label) -> None:
        """Let `label` be here."""
        if label.position is not None:
            raise ValueError("a label is bound twice")
        label.position = len(self._code)

    def align(self, size: int) -> None:
        """Fill up to a multiple of `size` with instructions that do nothing."""
        self._emit(*[0x90] * (-len(self._code) % size))

    # General registers

    def mov(self, target: Reg | Mem, source: Reg | Mem | int) -> None:
        """``mov``: register or memory, register or memory or a 64-bit constant."""
        if isinstance(source, Mem):
            assert isinstance(target, Reg)
            self._legacy(0x8B, target, source)
        elif isinstance(source, Reg):
            self._legacy(0x89, source, target)
        else:
            assert isinstance(target, Reg)
            self._emit(0x48 | target >> 3, 0xB8 | target & 7)
            self._code += (source % (1 << 64)).to_bytes(8, "little")

    def lea(self, target: Reg, source: Mem) -> None:
        """``lea``."""
        self._legacy(0x8D, target, source)

    def add(self, target: Reg, source: Reg | Mem | int) -> None:
        """``add``."""
        self._arithmetic(0x03, 0, target, source)

    def sub(self, target: Reg, source: Reg | Mem | int) -> None:
        """``sub``."""
        self._arithmetic(0x2B, 5, target, source)

    def cmp(self, target: Reg, source: Reg | Mem | int) -> None:
        """``cmp``."""
        self._arithmetic(0x3B, 7, target, source)

    def and_(self, target: Reg, source: Reg | Mem | int) -> None:
        """``and``."""
        self._arithmetic(0x23, 4, target, source)

    def shl(self, target: Reg, bits: int) -> None:
        """``shl`` by a constant."""
        self._emit(0x48 | target >> 3, 0xC1, 0xE0 | target & 7, bits)

    def shr(self, target: Reg, bits: int) -> None:
        """``shr`` by a constant."""
        self._emit(0x48 | target >> 3, 0xC1, 0xE8 | target & 7, bits)

    def xchg(self, a: Reg, b: Reg) -> None:
        """``xchg`` of two registers."""
        self._legacy(0x87, a, b)

    def push(self, register: Reg) -> None:
        """``push``."""
        self._emit(*([0x41] if register > 7 else []), 0x50 | register & 7)

    def pop(self, register: Reg) -> None:
        """``pop``."""
        self._emit(*([0x41] if register > 7 else []), 0x58 | register & 7)

    def call(self, register: Reg) -> None:
        """``call`` the address in a register."""
        self._emit(*([0x41] if register > 7 else []), 0xFF, 0xD0 | register & 7)

    def ret(self) -> None:
        """``ret``."""
        self._emit(0xC3)

    def jmp(self, label: Label) -> None:
        """``jmp``."""
        self._emit(0xE9)
        self._reference(label)

    def jump_if(self, condition: str, label: Label) -> None:
        """A conditional jump, by its name: ``je``, ``jne`` or ``jb`` (unsigned)."""
        self._emit(0x0F, _JUMP[condition])
        self._reference(label)

    def prefetch(self, source: Mem) -> None:
        """``prefetcht0``: a line that is read soon."""
        self._legacy(0x18, 1, source, escape=True, wide=False)

    def prefetchw(self, source: Mem) -> None:
        """``prefetchw``: a line that is written soon."""
        self._legacy(0x0D, 1, source, escape=True, wide=False)

    # Vectors

    def vector(self, name: str, target: Zmm, first: Zmm, second: Zmm | Mem) -> None:
        """An instruction of three operands, by its name."""
        space, prefix, wide, opcode = _VECTOR[name]
        self._evex(space, prefix, wide, opcode, target.number, first.number, second)

    def convert(self, name: str, target: Zmm, source: Zmm | Mem) -> None:
        """``vcvtdq2ps`` or ``vcvtps2dq``."""
        space, prefix, wide, opcode = _CONVERSION[name]
        self._evex(space, prefix, wide, opcode, target.number, 0, source)

    def load(self, target: Zmm, source: Mem) -> None:
        """``vmovdqu64`` from memory."""
        self._evex(_MAP_0F, _F3, 1, 0x6F, target.number, 0, source)

    def store(self, target: Mem, source: Zmm) -> None:
        """``vmovdqu64`` to memory."""
        self._evex(_MAP_0F, _F3, 1, 0x7F, source.number, 0, target)

    def broadcast(self, target: Zmm, source: Mem) -> None:
        """``vbroadcastss`` from memory."""
        self._evex(_MAP_0F38, _66, 0, 0x18, target.number, 0, source, unit=4)

    def vzeroupper(self) -> None:
        """``vzeroupper``: let code with narrow vectors run at full speed again."""
        self._emit(0xC5, 0xF8, 0x77)

    def repeat(self, target: Zmm, source: Mem) -> None:
        """``vbroadcasti64x4``: 32 bytes of memory into both halves."""
        self._evex(_MAP_0F38, _66, 1, 0x5B, target.number, 0, source, unit=32)

    def insert(self, target: Zmm, source: Mem) -> None:
        """``vinserti64x4``: 32 bytes of memory into the upper half."""
        self._evex(_MAP_0F3A, _66, 1, 0x3A, target.number, target.number, source, unit=32)
        self._emit(1)

    # Tiles

    def ldtilecfg(self, source: Mem) -> None:
        """``ldtilecfg``: the shapes of all tiles, 64 bytes."""
        self._vex(_NONE, 0x49, 0, 0, source)

    def tilerelease(self) -> None:
        """``tilerelease``: tiles are no more in use."""
        self._emit(0xC4, 0xE2, 0x78, 0x49, 0xC0)

    def tilezero(self, target: Tmm) -> None:
        """``tilezero``."""
        self._vex(_F2, 0x49, target.number, 0, 0)

    def tileloadd(self, target: Tmm, source: Mem) -> None:
        """``tileloadd``: rows at `base`, the register `index` apart."""
        assert source.index is not None
        self._vex(_F2, 0x4B, target.number, 0, source)

    def tilestored(self, target: Mem, source: Tmm) -> None:
        """``tilestored``: rows at `base`, the register `index` apart."""
        assert target.index is not None
        self._vex(_F3, 0x4B, source.number, 0, target)

    def tile_product(self, name: str, total: Tmm, rows: Tmm, columns: Tmm) -> None:
        """``tdpbusd`` and its kind: `total` += `rows` x `columns`; u is unsigned, s signed."""
        self._vex(_TILE_PRODUCT[name], 0x5E, total.number, columns.number, rows.number)

    # Encodings

    def _emit(self, *values: int) -> None:
        self._code += bytes(values)

    def _reference(self, label: Label) -> None:
        self._fixups.append((len(self._code), label))
        self._emit(0, 0, 0, 0)

    def _arithmetic(self, opcode: int, digit: int, target: Reg, source: Reg | Mem | int) -> None:
        if isinstance(source, (Reg, Mem)):
            self._legacy(opcode, target, source)
        else:
            self._legacy(0x81, digit, target)
            self._code += source.to_bytes(4, "little", signed=True)

    def _legacy(
        self,
        opcode: int,
        register: int,
        operand: Reg | Mem,
        escape: bool = False,
        wide: bool = True,
    ) -> None:
        base, index = _parts(operand)
        rex = 0x40 | wide << 3 | (register >> 3) << 2 | (index >> 3) << 1 | base >> 3
        self._emit(*([rex] if rex != 0x40 else []), *([0x0F] if escape else []), opcode)
        self._operand(register, operand, 1)

    def _vex(
        self, prefix: int, opcode: int, register: int, second: int, operand: Mem | int
    ) -> None:
        base, index = _parts(operand)
        self._emit(
            0xC4,
            (~register >> 3 & 1) << 7 | (~index >> 3 & 1) << 6 | (~base >> 3 & 1) << 5 | _MAP_0F38,
            (~second & 15) << 3 | prefix,
            opcode,
        )
        self._operand(register, operand, 1)

    def _evex(
        self,
        space: int,
        prefix: int,
        wide: int,
        opcode: int,
        register: int,
        second: int,
        operand: Zmm | Mem,
        unit: int = 64,
    ) -> None:
        if isinstance(operand, Zmm):
            # A vector's fifth bit stands where that of an index would.
            base, index = operand.number, operand.number >> 1
        else:
            base, index = _parts(operand)
        self._emit(
            0x62,
            (~register >> 3 & 1) << 7
            | (~index >> 3 & 1) << 6
            | (~base >> 3 & 1) << 5
            | (~register >> 4 & 1) << 4
            | space,
            wide << 7 | (~second & 15) << 3 | 1 << 2 | prefix,
            0b10 << 5 | (~second >> 4 & 1) << 3,
            opcode,
        )
        self._operand(register, operand.number if isinstance(operand, Zmm) else operand, unit)

    def _operand(self, register: int, operand: int | Mem, unit: int) -> None:
        """ModRM, SIB and displacement; `unit` is what a displacement of one byte counts in."""
        high = (register & 7) << 3
        if not isinstance(operand, Mem):
            self._emit(0xC0 | high | operand & 7)
            return
        base, displacement = operand.base & 7, operand.displacement
        short = displacement % unit == 0 and -128 <= displacement // unit <= 127
        none = displacement == 0 and base != Reg.RBP  # no displacement on RBP means another thing
        mode = 0 if none else 1 if short else 2
        if operand.index is None and base != Reg.RSP:
            self._emit(mode << 6 | high | base)
        else:
            index = Reg.RSP if operand.index is None else operand.index  # RSP: no index
            self._emit(mode << 6 | high | 4, (index & 7) << 3 | base)
        if mode == 1:
            self._emit(displacement // unit & 0xFF)
        elif mode == 2:
            self._code += displacement.to_bytes(4, "little", signed=True)


def _parts(operand: Reg | Mem | int) -> tuple[int, int]:
    """The numbers of base and index register, for the prefixes."""
    if isinstance(operand, Mem):
        return operand.base, operand.index or 0
    return operand, 0


class Executable:
    """Machine code in memory that may be executed and no more written; raises OSError.

    It lives as long as the object.
    """

    def __init__(self, code: bytes) -> None:
        self._memory = mmap.mmap(-1, len(code) + -len(code) % PAGE)
        self._memory.write(code)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        libc = ctypes.CDLL(None, use_errno=True)
        protection = mmap.PROT_READ | mmap.PROT_EXEC
        size = ctypes.c_size_t(len(self._memory))
        if libc.mprotect(ctypes.c_void_p(self.address), size, protection):
            error = ctypes.get_errno()
            raise OSError(error, "memory cannot be made executable")
