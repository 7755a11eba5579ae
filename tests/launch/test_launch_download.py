"""Downloads from a local HTTP server that breaks off, refuses, forgets and lies."""

from __future__ import annotations

import errno
import hashlib
import http.server
import json
import os
import resource
import signal
import ssl
import subprocess
import sys
import threading
import urllib.error
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest

from base.errors import InputError
from launch.build.download import download
from launch.supervise.environment import PACKAGE_ROOT
from models.published import PublishedFile

CONTENT = bytes(range(256)) * 8000
"""2 MB."""
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT as /file; `stops` are the bytes after which it breaks off, one a request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.stops: list[int] = []
        self.codes: list[int] = []
        self.ranges = True
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *words: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.path == "/record":
            listed = json.dumps({"files": [{"key": "w.onnx", "checksum": MD5}]}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(listed)
            return
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.server.codes:
            self.send_error(self.server.codes.pop(0))
            return
        begin = 0
        if asked and self.server.ranges:
            begin = int(asked.removeprefix("bytes=").removesuffix("-"))
            if begin >= len(CONTENT):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT) - begin))
        self.end_headers()
        stop = self.server.stops.pop(0) if self.server.stops else len(CONTENT)
        self.wfile.write(CONTENT[begin : begin + stop])


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server()
    thread = threading.Thread(target=served.serve_forever, args=(0.02,))
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def fetch(server: Server, to: Path, checksum: str | None = MD5, attempts: int = 3) -> bool:
    file = PublishedFile(
        "w.onnx", f"{server.url}/file", "weights", checksum, f"{server.url}/record"
    )
    return download(file, to, lambda done, total: None, lambda text: None, (0.0,) * attempts)


def test_whole_then_already_there(server: Server, tmp_path: Path) -> None:
    assert fetch(server, tmp_path / "new")
    assert (tmp_path / "new" / "w.onnx").read_bytes() == CONTENT
    assert not fetch(server, tmp_path / "new")
    assert server.asked == [None]


@pytest.mark.parametrize("ranges", [True, False], ids=["Range", "without Range"])
def test_interrupted_transfers_are_continued(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.stops, server.ranges = [500_000, 700_000], ranges
    assert fetch(server, tmp_path)
    assert (tmp_path / "w.onnx").read_bytes() == CONTENT
    assert server.asked[:2] == [None, "bytes=500000-"]
    assert len(server.asked) == 3


def test_a_later_attempt_continues(server: Server, tmp_path: Path) -> None:
    server.stops = [500_000]
    with pytest.raises(InputError, match="the connection ended after 500000"):
        fetch(server, tmp_path, attempts=0)
    assert not (tmp_path / "w.onnx").exists()
    assert fetch(server, tmp_path)
    assert server.asked == [None, "bytes=500000-"]
    assert (tmp_path / "w.onnx").read_bytes() == CONTENT


@pytest.mark.parametrize("size", [1000, len(CONTENT), len(CONTENT) + 9])
def test_a_rest_of_another_file_is_given_up(server: Server, tmp_path: Path, size: int) -> None:
    (tmp_path / ".w.onnx.part").write_bytes(b"x" * size)
    assert fetch(server, tmp_path)
    assert (tmp_path / "w.onnx").read_bytes() == CONTENT


def test_the_record_has_the_checksum(server: Server, tmp_path: Path) -> None:
    assert fetch(server, tmp_path, checksum=None)


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="what arrived is not sha256:00000000"):
        fetch(server, tmp_path, "sha256:00000000")
    assert [p.name for p in tmp_path.iterdir()] == [".w.onnx.lock"]


def test_a_file_of_the_user_is_never_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "w.onnx").write_bytes(b"mine")
    with pytest.raises(InputError, match="exists, but is not md5"):
        fetch(server, tmp_path)
    assert (tmp_path / "w.onnx").read_bytes() == b"mine"


def test_a_missing_file_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    server.codes = [404] * 3
    with pytest.raises(InputError, match=r"/file: HTTP 404 .* put it at .*w\.onnx"):
        fetch(server, tmp_path)
    assert len(server.asked) == 1


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.codes = [503, 429]
    assert fetch(server, tmp_path)


def test_offline_the_error_names_the_address_and_the_place(tmp_path: Path) -> None:
    gone = Server()
    gone.server_close()
    with pytest.raises(
        InputError, match=r"/file: .*refused; see to the network .behind a proxy .*put it at"
    ):
        fetch(gone, tmp_path, attempts=1)


def test_no_space_leaves_nothing(server: Server, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        # What stops it is a limit of this process: no room would help.
        with pytest.raises(InputError, match=r"raise the limit of a file's size \(ulimit -f\)"):
            fetch(server, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert [p.name for p in tmp_path.iterdir()] == [".w.onnx.lock"]


@pytest.mark.parametrize(
    ("error", "proxy", "cure"),
    [
        (
            urllib.error.URLError(ssl.SSLCertVerificationError(1, "self-signed certificate")),
            "",
            "let SSL_CERT_FILE name the authorities",
        ),
        (urllib.error.URLError(OSError(113, "No route to host")), "", "behind a proxy set http"),
        (
            urllib.error.URLError(OSError(113, "No route to host")),
            "http://me:secret@proxy:3128",
            r"the proxy of http_proxy \(http://proxy:3128\) is right",
        ),
        (urllib.error.HTTPError("", 404, "Not Found", Message(), None), "", "--list shows"),
        (
            urllib.error.HTTPError("", 407, "Auth", Message(), None),
            "",
            "the proxy asks for a login",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "", r"make room \(.* are free\)"),
    ],
    ids=["certificate", "no proxy", "a proxy", "404", "407", "no room"],
)
def test_the_cure_fits_the_cause(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    proxy: str,
    cure: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    for name in ("http_proxy", "no_proxy", "HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    if proxy:
        monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setattr("urllib.request.urlopen", fail)
    with pytest.raises(InputError, match=cure) as caught:
        fetch(server, tmp_path, attempts=1)
    assert "secret" not in str(caught.value)
    assert ("proxy" in str(caught.value)) == ("proxy" in cure)


def test_the_command_offline_is_one_line_and_code_2(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "launch.cli", "fetch", "resnet50", "--to", str(tmp_path)]
    code = (
        "import launch.build.download, sys; launch.build.download.PATIENCE_S = ()\n"
        "launch.build.download.download.__defaults__ = ((),)\n"
        "from launch.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    proxy = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", code, *words[3:]],
        cwd=PACKAGE_ROOT,
        env={**os.environ, **proxy},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "zenodo.org/record/4735647/files/resnet50_v1.onnx" in done.stderr
    assert f"put it at {tmp_path}/resnet50_v1.onnx" in done.stderr
