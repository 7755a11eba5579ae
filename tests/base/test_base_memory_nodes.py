"""Memory nodes: which there are, and as bits."""

from __future__ import annotations

from pathlib import Path

import pytest

from base.memory_nodes import interleaved, mask, nodes


@pytest.mark.parametrize(
    ("text", "expected"), [("0\n", [0]), ("0-3,6\n", [0, 1, 2, 3, 6]), ("\n", [])]
)
def test_nodes_are_read_as_the_kernel_lists_them(
    text: str, expected: list[int], tmp_path: Path
) -> None:
    (tmp_path / "nodes").write_text(text)
    assert nodes(tmp_path / "nodes") == expected


def test_nodes_that_nothing_lists_are_none(tmp_path: Path) -> None:
    assert nodes(tmp_path / "nodes") == []


def test_nodes_are_bits_of_words() -> None:
    assert mask([0, 2, 63]) == [1 | 4 | 1 << 63]
    assert mask([1, 64]) == [2, 1]


def test_the_policy_is_asked_for_only_where_there_are_several_nodes() -> None:
    with interleaved() as done:
        assert not done or len(nodes()) > 1
