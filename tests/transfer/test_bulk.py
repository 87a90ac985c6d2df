from __future__ import annotations

import io
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from migrate.errors import MigrateError
from migrate.transfer import links
from migrate.transfer.bulk import BulkSender
from migrate.transfer.errors import (
    AgentMissing,
    AuthenticationFailed,
    ConnectionLost,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    PathRefused,
)
from migrate.transfer.outgoing import CHUNK, ZERO_BLOCK, RateLimiter, zero_runs
from migrate.transfer.ssh_config import CONFIG_VARIABLE
from migrate.transfer.target import Target
from tests.ports import held_port

from .conftest import SshServer


def make_tree(base: Path) -> dict[str, bytes]:
    files = {
        "empty": b"",
        "small": b"hello",
        "a/b/c/deep": os.urandom(1000),
        "large": os.urandom(9 * CHUNK + 12345),
        "zeros": bytes(3 * CHUNK),
        "mixed": os.urandom(ZERO_BLOCK) + bytes(5 * ZERO_BLOCK) + os.urandom(77),
        "name with spaces and \u00fc": b"x" * CHUNK,
    }
    for name, content in files.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with (base / "sparse").open("wb") as file:
        file.truncate(64 * CHUNK)
        file.seek(32 * CHUNK + 5)
        file.write(b"in the middle")
    files["sparse"] = (base / "sparse").read_bytes()
    return files


def assert_same(root: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        assert (root / name).read_bytes() == content, name
        assert stat.S_IMODE((root / name).stat().st_mode) == 0o600
    found = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
    assert found == set(files)


@pytest.mark.parametrize("connections", [1, 3])
def test_files_arrive_whole(far: SshServer, tmp_path: Path, connections: int) -> None:
    base = tmp_path / "from"
    base.mkdir()
    files = make_tree(base)
    token, root = far.new_root()
    seen: list[int] = []
    with BulkSender.open(far.target, token, connections=connections) as sender:
        sender.send_files(base, files, seen.append)
        sender.flush(sync=True)
        assert_same(root, files)
        assert sum(seen) == sum(map(len, files.values())) == sender.file_bytes
        assert sender.payload_bytes < sender.wire_bytes < sum(seen) / 4
    assert (root / "sparse").stat().st_blocks * 512 <= 2 * CHUNK
    assert stat.S_IMODE((root / "a" / "b").stat().st_mode) == 0o700


def test_a_second_version_replaces_the_first(far: SshServer, tmp_path: Path) -> None:
    token, root = far.new_root()
    path = tmp_path / "file"
    with BulkSender.open(far.target, token) as sender:
        for content in (
            os.urandom(5 * CHUNK),
            os.urandom(CHUNK) + bytes(3 * CHUNK) + b"end",
            bytes(CHUNK),
            b"short",
            os.urandom(3 * CHUNK),
        ):
            path.write_bytes(content)
            sender.send_files(tmp_path, ["file"])
            sender.flush()
            assert (root / "file").read_bytes() == content
            sender.send_stream(io.BytesIO(content[: len(content) // 2]), "file")
            sender.flush()
            assert (root / "file").read_bytes() == content[: len(content) // 2]


@pytest.mark.parametrize("size", [0, 10, CHUNK, 4 * CHUNK + 99])
def test_streams_of_unknown_length(far: SshServer, size: int) -> None:
    content = os.urandom(size)
    token, root = far.new_root()
    read_end, write_end = os.pipe()

    def write() -> None:
        with os.fdopen(write_end, "wb") as pipe:
            pipe.write(content)

    threading.Thread(target=write).start()
    with BulkSender.open(far.target, token) as sender:
        sender.send_file_from(read_end, "tar")
        sender.flush()
    os.close(read_end)
    assert (root / "tar").read_bytes() == content


def test_without_an_ssh_command(
    far: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    base = tmp_path / "from"
    base.mkdir()
    files = make_tree(base)
    token, root = far.new_root()
    with BulkSender.open(far.target, token) as sender:
        assert all(isinstance(lane.link, links.ChannelLink) for lane in sender._lanes)
        sender.send_files(base, files)
        sender.flush()
        assert_same(root, files)


def test_rate_limit(far: SshServer) -> None:
    token, _ = far.new_root()
    with BulkSender.open(far.target, token, rate_limit=8 * CHUNK) as sender:
        start = time.monotonic()
        sender.send_stream(io.BytesIO(os.urandom(8 * CHUNK)), "file")
        sender.flush()
        assert 0.7 < time.monotonic() - start < 30


@pytest.mark.parametrize("packs", [False, True])
def test_many_small_files(far: SshServer, tmp_path: Path, packs: bool) -> None:
    names = [f"d{i % 7}/f{i}" for i in range(600)]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    token, root = far.new_root()
    with BulkSender.open(far.target, token, packs=packs) as sender:
        sender.send_files(tmp_path, names)
        sender.flush()
    assert all((root / name).read_text() == name for name in names)


def test_the_receivers_refusal_comes_back(far: SshServer, tmp_path: Path) -> None:
    token, root = far.new_root()
    (root / "link").symlink_to("/tmp")
    with BulkSender.open(far.target, token) as sender:
        sender.send_stream(io.BytesIO(b"x"), "link/file")
        with pytest.raises(PathRefused):
            sender.flush()
        with pytest.raises(PathRefused):
            sender.send_stream(io.BytesIO(b"x"), "file")


def test_a_link_is_not_sent(far: SshServer, tmp_path: Path) -> None:
    token, root = far.new_root()
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "directory").mkdir()
    with BulkSender.open(far.target, token) as sender:
        with pytest.raises(OSError, match="symbolic"):
            sender.send_files(tmp_path, ["link"])
        with pytest.raises(PathRefused):
            sender.send_files(tmp_path, ["directory"])
        sender.flush()
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("token", ["0" * 32, "../../etc", "abc"])
def test_a_wrong_token_is_refused(far: SshServer, token: str) -> None:
    with pytest.raises(PathRefused):
        BulkSender.open(far.target, token)


def test_one_link_dies(far: SshServer) -> None:
    token, _ = far.new_root()
    with BulkSender.open(far.target, token) as sender:
        link = sender._lanes[0].link
        assert isinstance(link, links.ProcessLink)
        link._process.kill()

        def send() -> None:
            for _ in range(20):
                sender.send_stream(io.BytesIO(os.urandom(CHUNK)), "file")
            sender.flush()

        with pytest.raises(ConnectionLost):
            send()


def test_abort_ends_a_sender_that_hangs(far: SshServer) -> None:
    token, _ = far.new_root()
    sender = BulkSender.open(far.target, token, rate_limit=1)
    sender.send_stream(io.BytesIO(os.urandom(2 * CHUNK)), "file")
    start = time.monotonic()
    sender.abort()
    assert time.monotonic() - start < 30
    with pytest.raises(ConnectionLost):
        sender.flush()


def refused(target: Target, token: str = "0" * 32) -> MigrateError:
    with pytest.raises(MigrateError) as caught:
        BulkSender.open(target, token, command="/nonexistent")
    assert caught.value.cause
    assert caught.value.mend
    return caught.value


@pytest.mark.parametrize("fallback", [False, True])
def test_ways_not_to_get_in(
    far: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fallback: bool
) -> None:
    if fallback:
        monkeypatch.setattr("shutil.which", lambda _name: None)
    monkeypatch.setenv("MIGRATE_REMOTE_COMMAND", "")
    monkeypatch.setattr("sys.prefix", "/nonexistent")
    assert type(refused(far.target)) is AgentMissing
    with held_port() as dead:
        assert type(refused(Target("127.0.0.1", "root", dead))) is HostUnreachable
    assert type(refused(Target("no-such-host.invalid"))) is HostUnreachable
    wrong_key = far.write_config(tmp_path / "wrong_key", identity="other_key")
    monkeypatch.setenv(CONFIG_VARIABLE, str(wrong_key))
    assert type(refused(far.target)) is AuthenticationFailed
    other = (far.directory / "other_key.pub").read_text()
    for content, kind in (
        ("", HostKeyUnknown),
        (f"[127.0.0.1]:{far.port} {other}", HostKeyChanged),
    ):
        known = tmp_path / "known_hosts"
        known.write_text(content)
        config = f"UserKnownHostsFile {known}\n" + wrong_key.read_text()
        (tmp_path / "config").write_text(config)
        monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "config"))
        assert type(refused(far.target)) is kind


def test_zero_runs() -> None:
    block = ZERO_BLOCK
    data = bytearray(b"x" * block + bytes(2 * block) + b"y" + bytes(9))
    assert zero_runs(data, len(data)) == [
        (0, block, False),
        (block, 3 * block, True),
        (3 * block, len(data), False),
    ]
    assert zero_runs(bytearray(5), 5) == [(0, 5, True)]
    assert zero_runs(bytearray(b"\0" * 99 + b"1"), 100) == [(0, 100, False)]


def test_the_limiter_stops_waiting() -> None:
    stopped = threading.Event()
    limiter = RateLimiter(1, stopped)
    limiter.take(1000)
    stopped.set()
    limiter.take(1)


def test_streams_that_break(far: SshServer) -> None:
    class Broken:
        def readinto(self, _buffer: memoryview) -> int:
            raise OSError("tar died")

    token, root = far.new_root()
    with BulkSender.open(far.target, token) as sender:
        for _ in range(10):
            with pytest.raises(OSError, match="tar died"):
                sender.send_stream(Broken(), "file")
        sender.send_stream(io.BytesIO(b"whole"), "file")
        sender.flush()
        assert (root / "file").read_bytes() == b"whole"


def test_blocks_into_a_file_that_is_there(far: SshServer) -> None:
    token, root = far.new_root()
    expected = bytearray()
    with BulkSender.open(far.target, token) as sender:
        for size in (3 * CHUNK + 5, 5 * CHUNK, 100, 0, 2 * CHUNK):
            expected = expected[:size].ljust(size, b"\0")
            blocks = []
            for offset in range(0, size, CHUNK):
                data = os.urandom(min(ZERO_BLOCK, size - offset)) + bytes(ZERO_BLOCK)
                blocks.append((offset, data[: size - offset]))
                expected[offset : offset + len(blocks[-1][1])] = blocks[-1][1]
            sender.send_blocks("staged/1", size, [(at, memoryview(data)) for at, data in blocks])
            sender.flush()
            assert (root / "staged/1").read_bytes() == expected
