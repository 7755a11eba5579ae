"""Locks, where a file system has none."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from pathlib import Path

import pytest

from base.files import locked, written_aside


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_locks_everyone_builds_and_is_warned_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with caplog.at_level(logging.WARNING, "base"):
        for text in ("first", "second"):
            with locked(tmp_path / "built") as alone, written_aside(tmp_path / "built") as aside:
                aside.write_text(text)
            assert not alone
    assert (tmp_path / "built").read_text() == "second"
    (warning,) = caplog.messages
    assert warning.startswith(f"{tmp_path}: its file system has no locks ({os.strerror(number)})")


def test_another_failure_to_lock_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="memory"), locked(tmp_path / "built"):
        pass
