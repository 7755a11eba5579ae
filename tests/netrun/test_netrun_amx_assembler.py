"""Instructions against their encodings, as GNU's assembler writes them; code that runs."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from functools import partial

import pytest

from netrun.engines.amx.assembler import Assembler, Executable, Label, Mem, Reg, Tmm, Zmm
from netrun.engines.amx.routine import Step, interleave

on_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="needs an x86-64 processor")
Emit = Callable[[Assembler], None]

ENCODINGS: list[tuple[str, Emit]] = [
    ("4c89c8", lambda a: a.mov(Reg.RAX, Reg.R9)),
    ("4c8b6c2408", lambda a: a.mov(Reg.R13, Mem(Reg.RSP, 8))),
    ("49893c24", lambda a: a.mov(Mem(Reg.R12), Reg.RDI)),
    ("49ba8877665544332211", lambda a: a.mov(Reg.R10, 0x1122334455667788)),
    ("488d4d00", lambda a: a.lea(Reg.RCX, Mem(Reg.RBP))),
    ("4b8d8c35e8030000", lambda a: a.lea(Reg.RCX, Mem(Reg.R13, 1000, Reg.R14))),
    ("4c03c2", lambda a: a.add(Reg.R8, Reg.RDX)),
    ("4881c240000000", lambda a: a.add(Reg.RDX, 64)),
    ("4c034f18", lambda a: a.add(Reg.R9, Mem(Reg.RDI, 24))),
    ("4881ec00200000", lambda a: a.sub(Reg.RSP, 8192)),
    ("483b5f10", lambda a: a.cmp(Reg.RBX, Mem(Reg.RDI, 16))),
    ("4981fe00010000", lambda a: a.cmp(Reg.R14, 256)),
    ("4881e4c0ffffff", lambda a: a.and_(Reg.RSP, -64)),
    ("49c1e306", lambda a: a.shl(Reg.R11, 6)),
    ("48c1e81b", lambda a: a.shr(Reg.RAX, 27)),
    ("4d87d3", lambda a: a.xchg(Reg.R10, Reg.R11)),
    ("53", lambda a: a.push(Reg.RBX)),
    ("4157", lambda a: a.push(Reg.R15)),
    ("415f", lambda a: a.pop(Reg.R15)),
    ("5d", lambda a: a.pop(Reg.RBP)),
    ("ffd0", lambda a: a.call(Reg.RAX)),
    ("41ffd1", lambda a: a.call(Reg.R9)),
    ("c3", lambda a: a.ret()),
    ("410f188800040000", lambda a: a.prefetch(Mem(Reg.R8, 1024))),
    ("0f0d4c0140", lambda a: a.prefetchw(Mem(Reg.RCX, 64, Reg.RAX))),
    ("62f16c4858cb", lambda a: a.vector("vaddps", Zmm(1), Zmm(2), Zmm(3))),
    ("6201744059f8", lambda a: a.vector("vmulps", Zmm(31), Zmm(17), Zmm(24))),
    ("62512c405d4902", lambda a: a.vector("vminps", Zmm(9), Zmm(26), Mem(Reg.R9, 128))),
    (
        "62a23d48b8a42764000000",
        lambda a: a.vector("vfmadd231ps", Zmm(20), Zmm(8), Mem(Reg.RDI, 100, Reg.R12)),
    ),
    ("6282354800d3", lambda a: a.vector("vpshufb", Zmm(18), Zmm(9), Zmm(27))),
    ("629175486bce", lambda a: a.vector("vpackssdw", Zmm(1), Zmm(1), Zmm(30))),
    ("62717d4063ff", lambda a: a.vector("vpacksswb", Zmm(15), Zmm(16), Zmm(7))),
    ("6281454067f9", lambda a: a.vector("vpackuswb", Zmm(23), Zmm(23), Zmm(25))),
    ("62a27d408dd2", lambda a: a.vector("vpermb", Zmm(18), Zmm(16), Zmm(18))),
    ("62a17d40efc0", lambda a: a.vector("vpxord", Zmm(16), Zmm(16), Zmm(16))),
    ("62423d403d43ff", lambda a: a.vector("vpmaxsd", Zmm(24), Zmm(24), Mem(Reg.R11, -64))),
    ("62c17c485b53ff", lambda a: a.convert("vcvtdq2ps", Zmm(18), Mem(Reg.R11, -64))),
    ("62917d485bed", lambda a: a.convert("vcvtps2dq", Zmm(5), Zmm(29))),
    ("6241fe486f7500", lambda a: a.load(Zmm(30), Mem(Reg.R13))),
    ("6271fe487f7c247f", lambda a: a.store(Mem(Reg.RSP, 64 * 127), Zmm(15))),
    ("62e1fe487f8500200000", lambda a: a.store(Mem(Reg.RBP, 64 * 128), Zmm(16))),
    ("62e27d48187002", lambda a: a.broadcast(Zmm(22), Mem(Reg.RAX, 8))),
    ("62d27d48189007000000", lambda a: a.broadcast(Zmm(2), Mem(Reg.R8, 7))),
    ("62c2fd485b991e000000", lambda a: a.repeat(Zmm(19), Mem(Reg.R9, 30))),
    ("62c3e5403a590201", lambda a: a.insert(Zmm(19), Mem(Reg.R9, 64))),
    ("c5f877", lambda a: a.vzeroupper()),
    ("c4e2784900", lambda a: a.ldtilecfg(Mem(Reg.RAX))),
    ("c4c27849442440", lambda a: a.ldtilecfg(Mem(Reg.R12, 64))),
    ("c4e27849c0", lambda a: a.tilerelease()),
    ("c4e27b49d8", lambda a: a.tilezero(Tmm(3))),
    ("c4c27b4b643440", lambda a: a.tileloadd(Tmm(4), Mem(Reg.R12, 64, Reg.RSI))),
    ("c4a27b4bbc0b00100000", lambda a: a.tileloadd(Tmm(7), Mem(Reg.RBX, 4096, Reg.R9))),
    ("c4c27a4b941200040000", lambda a: a.tilestored(Mem(Reg.R10, 1024, Reg.RDX), Tmm(2))),
    ("c4e24b5ecd", lambda a: a.tile_product("tdpbssd", Tmm(1), Tmm(5), Tmm(6))),
    ("c4e2415ec4", lambda a: a.tile_product("tdpbusd", Tmm(0), Tmm(4), Tmm(7))),
]


@pytest.mark.parametrize(("expected", "emit"), ENCODINGS)
def test_an_instruction_is_encoded_as_the_manual_says(expected: str, emit: Emit) -> None:
    a = Assembler()
    emit(a)
    assert a.code().hex() == expected


def test_a_jump_says_its_condition() -> None:
    for condition, code in (("je", "0f84"), ("jne", "0f85"), ("jb", "0f82")):
        a, here = Assembler(), Label()
        a.bind(here)
        a.jump_if(condition, here)
        assert a.code().hex() == code + "faffffff"


def test_jumps_go_forward_and_back() -> None:
    a, back, forth = Assembler(), Label(), Label()
    a.bind(back)
    a.jump_if("jne", forth)
    a.jump_if("je", back)
    a.jmp(back)
    a.bind(forth)
    a.ret()
    assert a.code().hex() == "0f850b000000" + "0f84f4ffffff" + "e9efffffff" + "c3"


def test_alignment_fills_with_nothing() -> None:
    a = Assembler()
    a.ret()
    a.align(4)
    a.align(4)
    assert a.code().hex() == "c3909090"
    assert a.position == 4


def test_labels_are_bound_once() -> None:
    a, label = Assembler(), Label()
    a.jmp(label)
    with pytest.raises(ValueError, match="never bound"):
        a.code()
    a.bind(label)
    with pytest.raises(ValueError, match="twice"):
        a.bind(label)


def test_steps_are_spread_evenly_in_their_order() -> None:
    written: list[str] = []
    many: list[Step] = [partial(written.append, f"m{n}") for n in range(6)]
    few: list[Step] = [partial(written.append, f"f{n}") for n in range(2)]
    for step in interleave(many, few):
        step()
    assert written == ["m0", "m1", "f0", "m2", "m3", "m4", "f1", "m5"]
    assert interleave(many, []) == many


@on_x86
def test_code_runs() -> None:
    a, again = Assembler(), Label()
    a.mov(Reg.RAX, 0)
    a.bind(again)
    a.add(Reg.RAX, Reg.RDI)
    a.sub(Reg.RDI, 1)
    a.jump_if("jne", again)
    a.ret()
    executable = Executable(a.code())
    total = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)(executable.address)
    assert total(10) == 55
