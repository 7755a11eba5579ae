"""Many calls of native functions as one: what a loop in Python spends a microsecond on each for."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence as Sequence_

import numpy as np

from netrun.engines.amx.assembler import Assembler, Executable, Label, Mem, Reg

MOST_ARGUMENTS = 4
_PARAMETERS = (Reg.RDI, Reg.RSI, Reg.RDX, Reg.RCX)  # of a function of C, in order
_ENTRY = 8 * (1 + MOST_ARGUMENTS)


class Sequence:
    """Calls of functions (address, up to 4 integers or pointers), made one after the other.

    Functions return an int, 0 where they succeeded; the first other result ends the sequence. The
    caller keeps alive what arguments point to, and may change it between runs.
    """

    def __init__(self, calls: Sequence_[tuple[int, ...]]) -> None:
        table = np.zeros((len(calls), 1 + MOST_ARGUMENTS), np.uint64)
        for entry, call in zip(table, calls, strict=True):
            entry[: len(call)] = call
        self._table = table
        self._executable = Executable(_code())
        prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        self._function = prototype(self._executable.address)
        self._first = table.ctypes.data
        self._end = self._first + table.nbytes

    def run(self) -> int:
        """Make all calls: 0, or the result of the one that failed."""
        return int(self._function(self._first, self._end))


def _code() -> bytes:
    """``for (; entry != end; ++entry) if (result = entry->function(...)) return result;``"""
    a, again, out = Assembler(), Label(), Label()
    entry, end = Reg.RBX, Reg.RBP
    a.push(entry)
    a.push(end)
    a.sub(Reg.RSP, 8)  # the stack is aligned to 16 where a function is called
    a.mov(entry, _PARAMETERS[0])
    a.mov(end, _PARAMETERS[1])
    a.mov(Reg.RAX, 0)
    a.bind(again)
    a.cmp(entry, end)
    a.jump_if("je", out)
    for index, register in enumerate(_PARAMETERS):
        a.mov(register, Mem(entry, 8 * (1 + index)))
    a.mov(Reg.RAX, Mem(entry, 0))
    a.call(Reg.RAX)
    a.add(entry, _ENTRY)
    a.shl(Reg.RAX, 32)  # an int: what stands above it is undefined
    a.shr(Reg.RAX, 32)
    a.cmp(Reg.RAX, 0)
    a.jump_if("je", again)
    a.bind(out)
    a.add(Reg.RSP, 8)
    a.pop(end)
    a.pop(entry)
    a.ret()
    return a.code()
