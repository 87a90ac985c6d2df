from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migrate.errors import MigrateError
from migrate.transfer.errors import DataDamaged, PathRefused, ProtocolError
from migrate.transfer.frames import (
    ARRIVAL_FLAG,
    HEADER_SIZE,
    MAX_PAYLOAD,
    UNKNOWN_SIZE,
    ZSTD_FLAG,
    AnswerDecoder,
    Header,
    Kind,
    frame,
    hole_payload,
    pages_table,
    parse_done,
    parse_error,
)
from migrate.transfer.packs import Packing
from migrate.transfer.receiver import MAX_OPEN_FILES, make_root, receive

TOKEN = "0123456789abcdef" * 2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path, TOKEN)


def run(root: Path, stream: bytes) -> tuple[int, list[tuple[Header, bytes]]]:
    """The exit status and the answers to a whole stream."""
    near, far = socket.socketpair()
    status: list[int] = []

    def serve() -> None:
        status.append(receive(far.fileno(), far.fileno(), root))
        far.shutdown(socket.SHUT_RDWR)

    def send() -> None:
        try:
            near.sendall(stream)
            near.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    threads = [threading.Thread(target=work) for work in (serve, send)]
    for thread in threads:
        thread.start()
    decoder, answers = AnswerDecoder(), []
    while data := near.recv(65536):
        answers += decoder.feed(data)
    for thread in threads:
        thread.join()
    near.close()
    far.close()
    return status[0], answers


def refused(root: Path, stream: bytes) -> MigrateError:
    status, answers = run(root, stream)
    assert answers[-1][0].kind is Kind.ERROR
    error = parse_error(answers[-1][1])
    assert status == error.code
    return error


def opened(name: bytes, size: int = 5, number: int = 1) -> bytes:
    return frame(Kind.OPEN, name, file=number, offset=size)


def data(content: bytes, offset: int = 0, number: int = 1) -> bytes:
    return frame(Kind.DATA, content, file=number, offset=offset)


def test_a_file(root: Path) -> None:
    stream = opened(b"a/b") + data(b"he") + data(b"llo", 2) + frame(Kind.FLUSH, offset=9)
    status, answers = run(root, stream)
    assert status == 0
    assert [header.kind for header, _ in answers] == [Kind.READY, Kind.DONE]
    assert answers[1][0].offset == 9
    assert parse_done(answers[1][1]) == (1, 5)
    assert (root / "a" / "b").read_bytes() == b"hello"


@pytest.mark.parametrize("name", [b"../fifo", b"file", b"file/x", b"link/fifo", b"", b"/fifo"])
def test_a_fifo_that_is_refused(root: Path, name: bytes) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (root / "file").write_bytes(b"whole")
    (root / "link").symlink_to(outside)
    error = refused(root, frame(Kind.WATCH, name))
    assert isinstance(error, PathRefused)
    assert list(outside.iterdir()) == []
    assert (root / "file").read_bytes() == b"whole"


def test_a_log_of_arrivals_that_is_no_file(root: Path) -> None:
    (root / "7.arrived").symlink_to(root / "elsewhere")
    payload = pages_table([(0, 4096)], []) + b"x" * 4096
    stream = opened(b"7", 4096) + frame(Kind.PAGES, payload, file=1, flags=ARRIVAL_FLAG)
    assert isinstance(refused(root, stream), PathRefused)
    assert not (root / "elsewhere").exists()


def packed(*files: tuple[bytes, bytes]) -> bytes:
    packing = Packing()
    for path, content in files:
        packing.add(path, 0o755, content)
    made = packing.take()
    assert made
    return made.payload


def test_many_files_in_a_frame(root: Path) -> None:
    (root / "b").write_bytes(b"longer than before")
    payload = packed((b"a/x", b"hello"), (b"b", b""), (b"c", bytes(5000)))
    status, answers = run(root, frame(Kind.PACK, payload) + frame(Kind.FLUSH, offset=3))
    assert status == 0
    assert parse_done(answers[1][1]) == (3, 5005)
    assert (root / "a" / "x").read_bytes() == b"hello"
    assert (root / "b").read_bytes() == b""
    assert (root / "c").read_bytes() == bytes(5000)


@pytest.mark.parametrize("path", [b"../x", b"/x", b"", b"a/../x", b"link/x"])
def test_a_packed_path_that_is_refused(root: Path, path: bytes) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (root / "link").symlink_to(outside)
    assert isinstance(refused(root, frame(Kind.PACK, packed((path, b"x")))), PathRefused)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("cut", [1, 7, 9, 12])
def test_a_packed_file_that_is_cut_off(root: Path, cut: int) -> None:
    error = refused(root, frame(Kind.PACK, packed((b"name", b"content"))[:cut]))
    assert isinstance(error, ProtocolError)


def test_a_hole_in_an_older_version(root: Path) -> None:
    (root / "f").write_bytes(b"x" * 10_000)
    stream = opened(b"f", 9000) + frame(Kind.HOLE, hole_payload(8000), file=1, offset=500)
    assert run(root, stream)[0] == 0
    assert (root / "f").read_bytes() == b"x" * 500 + bytes(8000) + b"x" * 500


@pytest.mark.parametrize(
    "name",
    [
        b"", b"/etc/x", b"../x", b"a/../../x", b"a/./b", b"a//b", b"a/", b"..", b".", b"a\0b",
        b"x" * 5000, b"link", b"link/x", b"dangling", b"absolute/etc", b"directory", b"fifo",
        b"file/x",
    ],
)  # fmt: skip
def test_escapes(root: Path, name: bytes) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (root / "link").symlink_to("../outside")
    (root / "dangling").symlink_to("../outside/new")
    (root / "absolute").symlink_to("/")
    (root / "directory").mkdir()
    (root / "file").write_text("")
    os.mkfifo(root / "fifo")
    assert isinstance(refused(root, opened(name) + data(b"hello")), PathRefused)
    assert list(outside.iterdir()) == []


def flipped(stream: bytes, place: int) -> bytes:
    damaged = bytearray(stream)
    damaged[place] ^= 1
    return bytes(damaged)


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        (opened(b"f") + flipped(data(b"hello"), HEADER_SIZE + 2), DataDamaged),
        (opened(b"f") + flipped(data(b"hello"), 15), DataDamaged),  # the offset
        (opened(b"f") + data(b"hello")[:-1], DataDamaged),
        (opened(b"f") + data(b"hello")[:10], DataDamaged),
        (b"GET / HTTP/1.1\r\nHost: somewhere.example\r\n\r\n", ProtocolError),
        (flipped(opened(b"f"), 4)[:4] + b"\x63" + opened(b"f")[5:], ProtocolError),
        (frame(Kind.READY), ProtocolError),
        (data(b"hello"), ProtocolError),
        (opened(b"f") + opened(b"g"), ProtocolError),
        (opened(b"f", 2**63), ProtocolError),
        (opened(b"f") + data(b"x", UNKNOWN_SIZE), ProtocolError),
        (opened(b"f") + frame(Kind.HOLE, b"123", file=1), ProtocolError),
        (opened(b"f") + frame(Kind.HOLE, hole_payload(2**64 - 1), file=1), ProtocolError),
        (opened(b"f") + frame(Kind.CLOSE, file=1, offset=2**63), ProtocolError),
        (frame(Kind.DATA, bytes(MAX_PAYLOAD + 1), file=1), ProtocolError),
        (
            b"".join(opened(b"f%d" % n, 0, n) for n in range(MAX_OPEN_FILES + 1)),
            ProtocolError,
        ),
    ],
)
def test_hostile_frames(root: Path, stream: bytes, kind: type[MigrateError]) -> None:
    assert type(refused(root, stream)) is kind


@given(st.binary(max_size=200), st.integers(0, 60), st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_never_crashes_it(root: Path, noise: bytes, place: int, whole: bool) -> None:
    stream = opened(b"f") + data(b"hello") + frame(Kind.FLUSH)
    stream = noise if whole else stream[:place] + noise + stream[place:]
    status, answers = run(root, stream)
    assert (status == 0) == (answers[-1][0].kind is not Kind.ERROR)
    assert {path.name for path in root.parent.iterdir()} == {TOKEN}


def test_deep_paths(root: Path) -> None:
    assert run(root, opened(b"/".join([b"d"] * 200)))[0] == 0
    assert isinstance(refused(root, opened(b"/".join([b"e"] * 1500))), PathRefused)
    assert not (root / "e").exists()


def test_roots_that_are_refused(tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir(mode=0o777)
    open_to_all.chmod(0o755)
    real = make_root(tmp_path, TOKEN)
    (tmp_path / "link").symlink_to(real)
    (tmp_path / "file").write_text("")
    for name in ("open", "link", "file", "missing"):
        assert isinstance(refused(tmp_path / name, opened(b"f")), PathRefused)
    with pytest.raises(PathRefused):
        make_root(tmp_path, "../x")
    with pytest.raises(FileExistsError):
        make_root(tmp_path, TOKEN)


def test_a_full_disk_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    assert refused(root, opened(b"f") + data(b"hello")).name == "disk-full"


PAGES = [
    ("no table", b"\0" * 7, ProtocolError),
    ("a table longer than the frame", pages_table([(0, 4096)], [])[:-1], ProtocolError),
    ("an odd address", pages_table([(1, 4096)], []) + bytes(4096), ProtocolError),
    ("an address past all files", pages_table([(2**63 - 4096, 4096)], []), ProtocolError),
    ("a run of nothing", pages_table([], [(4096, 0)]), ProtocolError),
    ("more than a frame holds", pages_table([(0, 8 << 20)], []), ProtocolError),
    ("too few bytes", pages_table([(0, 8192)], []) + bytes(4096), ProtocolError),
    ("too many bytes", pages_table([(0, 4096)], []) + bytes(8192), ProtocolError),
]


@pytest.mark.parametrize(("payload", "error"), [p[1:] for p in PAGES], ids=[p[0] for p in PAGES])
def test_pages_that_can_not_be(root: Path, payload: bytes, error: type[MigrateError]) -> None:
    stream = opened(b"1", UNKNOWN_SIZE) + frame(Kind.PAGES, payload, file=1)
    assert isinstance(refused(root, stream), error)


def test_compressed_pages_that_lie(root: Path) -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(64 << 20))
    for content in (b"no zstd at all", bomb):
        payload = pages_table([(0, 4096)], []) + content
        stream = opened(b"1", UNKNOWN_SIZE) + frame(Kind.PAGES, payload, file=1, flags=ZSTD_FLAG)
        assert isinstance(refused(root, stream), DataDamaged)


def test_it_ends_when_its_move_is_over_and_nobody_tells(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender's host was cut off and has forgotten the connection: no end ever comes."""
    monkeypatch.setattr("migrate.transfer.receiver.IDLE", 0.02)
    near, far = socket.socketpair()
    status: list[int] = []
    with near, far:
        thread = threading.Thread(
            target=lambda: status.append(receive(far.fileno(), far.fileno(), root))
        )
        thread.start()
        thread.join(0.1)
        assert thread.is_alive(), "it waits as long as its directory is there"
        root.rmdir()
        thread.join(20)
    assert status == [0]
