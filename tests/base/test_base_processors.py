"""Facts of a processor, read from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

from base.processors import L2_BYTES, cache_bytes, caches, processor_flags, processor_name


def _cache(folder: Path, index: int, level: str, kind: str, size: str) -> None:
    place = folder / f"index{index}"
    place.mkdir()
    for name, text in (("level", level), ("type", kind), ("size", size)):
        (place / name).write_text(f"{text}\n")


def test_second_level_caches_count_for_each_core(tmp_path: Path) -> None:
    assert cache_bytes(3, tmp_path) == 3 * L2_BYTES
    _cache(tmp_path, 0, "1", "Data", "48K")
    assert cache_bytes(1, tmp_path) == L2_BYTES
    _cache(tmp_path, 1, "2", "Unified", "2M")
    _cache(tmp_path, 2, "3", "Unified", "307200K")
    assert cache_bytes(3, tmp_path) == 3 * (2 << 20)
    assert [(cache.level, cache.size) for cache in caches(tmp_path)] == [
        ("1", "48K"),
        ("2", "2M"),
        ("3", "307200K"),
    ]


def test_a_cache_without_a_size_is_left_out(tmp_path: Path) -> None:
    _cache(tmp_path, 0, "2", "Unified", "")
    assert caches(tmp_path) == []
    assert cache_bytes(2, tmp_path) == 2 * L2_BYTES


def test_flags_are_those_of_the_first_processor(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    assert processor_flags(cpuinfo) is None
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx2\n\nprocessor\t: 1\nflags\t\t: amx\n")
    assert processor_flags(cpuinfo) == frozenset({"fpu", "avx2"})
    cpuinfo.write_text("processor\t: 0\nFeatures\t: asimd\n")
    assert processor_flags(cpuinfo) is None


def test_a_processor_has_a_name() -> None:
    arm = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: {}\n"
    assert processor_name("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n") == "Some CPU @ 2 GHz"
    assert processor_name(arm.format("0xd40")) == "Arm Neoverse-V1"
    assert processor_name(arm.format("0x123")) == "Arm part 0x123"
    assert processor_name("") == "unknown processor"
