"""What is fuzzed: functions that take any bytes, and may raise errors for people only.

Each runs in a directory of its own, and looks afterwards whether anything was written beside it.
Most take the bytes as they are; where a checksum or a length would turn all of them away at the
door, they choose what is behind the door.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import struct
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrate.errors import InternalError, MigrateError
from migrate.images.rootdir import empty_directory
from migrate.runtime.records import Network

MOST = 1 << 16  # bytes of an input


@dataclass(frozen=True)
class Target:
    """`run` takes an input in an empty directory; `seeds` are valid or nearly so."""

    run: Callable[[bytes, Path], None]
    seeds: Callable[[], list[bytes]]


class Escaped(AssertionError):
    """Something was written beside the directory."""


class Place:
    """A directory for inputs, one after the other; a context manager."""

    def __init__(self) -> None:
        self._whole = tempfile.TemporaryDirectory(prefix="migrate-fuzz-")
        self._top = Path(self._whole.name)
        self._inside = self._top / "outer/inside"

    def __enter__(self) -> Place:
        self._inside.mkdir(parents=True)
        (self._top / "victim").write_text("whole")
        return self

    def __exit__(self, *_error: object) -> None:
        self._whole.cleanup()

    def attempt(self, target: Target, data: bytes) -> None:
        """One input; raises what is a finding."""
        try:
            target.run(data[:MOST], self._inside)
        except InternalError:  # a defect in disguise
            raise
        except MigrateError:
            pass
        beside = {*os.listdir(self._top), *os.listdir(self._top / "outer")}
        if beside != {"outer", "victim", "inside"}:
            raise Escaped(str(beside))
        if (self._top / "victim").read_text() != "whole":
            raise Escaped("victim was written")
        if os.listdir(self._inside):
            empty_directory(self._inside)


# -- the control connection


def _control(data: bytes, _place: Path) -> None:
    from migrate.transfer.protocol import FrameDecoder

    decoder = FrameDecoder()
    for start in range(0, len(data), 97):
        decoder.feed(data[start : start + 97])
    decoder.finish()


def _control_seeds() -> list[bytes]:
    from migrate.transfer.protocol import Event, Failure, Hello, Request, Response, encode

    return [encode(message) for message in (
        Hello(1, ("move-1",), "migrate"), Request(1, "host.facts", {}),
        Request(2, "move.settle", {"move": "0" * 32}), Response(1, {"a": [1, None]}),
        Failure(3, {"code": 4, "what": "x"}), Event(4, "round", {"bytes": 7}),
    )]  # fmt: skip


_METHODS = (
    "move.check", "move.prepare", "move.add_layer", "move.restore", "move.verify", "move.commit",
    "move.settle", "move.owed", "move.forget", "host.cordon", "host.uncordon", "host.steps",
)  # fmt: skip


def _agent(data: bytes, place: Path) -> None:
    """A byte chooses the method, the rest is its arguments as msgpack."""
    import msgpack

    from migrate.move import methods
    from migrate.runtime.paths import Paths
    from migrate.transfer.agent import Context, _Entry, _Output

    try:
        arguments = msgpack.unpackb(data[1:], strict_map_key=True, max_map_len=64)
    except Exception:  # noqa: BLE001 -- the protocol's own decoder is fuzzed apart
        return
    if not data or not isinstance(arguments, dict):
        return
    near, far = socket.socketpair()
    with near, far:
        session: dict[str, Any] = {}
        context = Context(_Output(far.fileno()), far.fileno(), session)
        name = _METHODS[data[0] % len(_METHODS)]
        entry = _Entry(name, methods.methods(Paths(place / "state", place / "run"))[name])
        try:
            with contextlib.suppress(OSError):
                entry.call(context, {str(key): value for key, value in arguments.items()})
        finally:
            methods.on_close(session)()


def _agent_seeds() -> list[bytes]:
    import msgpack

    state = json.dumps({"format": 1, "record": {"identifier": "a", "name": "b", "created": 1.0}})
    move = "0123456789abcdef" * 2
    arguments: list[dict[str, Any]] = [
        {"state": state.encode()},
        {"move": move, "generation": 1, "mode": "pre-copy", "was_running": True, "sender": "s",
         "state": state.encode()},
        {"diff_id": "sha256:" + "0" * 64}, {}, {}, {"frames": [b"x" * 60]}, {"move": move},
        {"move": "../../etc"}, {"move": move}, {"why": "w", "by": "b"}, {}, {},
    ]  # fmt: skip
    return [bytes([n]) + msgpack.packb(given) for n, given in enumerate(arguments)]


def _news(data: bytes, place: Path) -> None:
    """What another host tells of a network, as far as it is kept on disk."""
    from migrate.move import telling
    from migrate.runtime.networks import whereabouts
    from migrate.runtime.networks.definition import Definition
    from migrate.runtime.paths import Paths

    network = Definition(
        "blue", "overlay", "10.99.0.0/16", "fd99::/64", peers=("10.77.0.2", "10.77.0.3")
    )
    paths = Paths(place / "state", place / "run")
    paths.make()
    paths.networks.mkdir(parents=True, exist_ok=True)
    news = telling.decode_news(data)
    whereabouts.check(network, news)
    change = whereabouts.update(paths, network.name, news, ["c1"])
    assert whereabouts.known(paths, network.name) == change.known


def _news_seeds() -> list[bytes]:
    import msgspec

    from migrate.runtime.networks.whereabouts import Located, News

    mac, both = "02:00:00:00:00:05", ("10.99.0.5", "fd99::5")
    here = Located("c1", mac, both, "10.77.0.2", generation=3)
    other = Located("c2", mac, ("10.99.0.6",), "10.77.0.3", "fe80::1")
    return [msgspec.msgpack.encode(news) for news in (
        News(here=(here, other)), News(gone=("c1",)), News(here=(other,), all_of="10.77.0.3"),
    )]  # fmt: skip


def _namespace(data: bytes, _place: Path) -> None:
    """What is to be put into a network namespace, up to the kernel's own checks."""
    import msgspec

    from migrate.checkpoint.netns import contents

    with contextlib.suppress(msgspec.DecodeError, ValueError):  # as state.decode has it
        found = msgspec.json.decode(data, type=contents.Contents)
        contents.check(found)
        list(contents.added(found, Network()))


def _namespace_seeds() -> list[bytes]:
    import msgspec

    from migrate.checkpoint.netns.contents import Contents
    from migrate.kernel.links import Link
    from migrate.kernel.netlinkwire import pack
    from migrate.kernel.netobjects import Object
    from migrate.kernel.ruleset import Entry

    route = struct.pack("=BBBBBBBBI", 2, 24, 0, 0, 254, 3, 0, 1, 0)
    return [msgspec.json.encode(found) for found in (
        Contents(),
        Contents(
            {"ipv4/ip_forward": "1", "ipv4/conf/eth0/rp_filter": "1"},
            (Link(2, "eth0", "veth", b"\2" * 6, 1500, 1000, 1),
             Link(3, "br0", "bridge", b"\2" * 6, 1500, 1000, 1, options=pack([(1, bytes(4))]))),
            {"route": (Object(route, pack([(1, bytes(4)), (4, bytes(4))])),)},
            (Entry(0, 2, pack([(1, b"t\0")])), Entry(3, 2, pack([(1, b"t\0"), (3, b"c\0")]))),
        ),
    )]  # fmt: skip


# -- the data connection


def _data(data: bytes, place: Path) -> None:
    """Each piece of the input is a frame with a right checksum, its fields small or huge."""
    from migrate.transfer.frames import Kind, frame
    from migrate.transfer.receiver import receive

    frames, at = [], 0
    numbers = (0, 1, 4096, 1 << 20, (1 << 63) - 1, (1 << 64) - 1)
    while at + 6 <= len(data) and len(frames) < 32:
        kind, flags, mode, file, offset, size = data[at : at + 6]
        payload = data[at + 6 : at + 6 + size]
        at += 6 + size
        place_in_file = numbers[offset % len(numbers)]
        frames.append(frame(
            Kind(kind % len(Kind) + 1), payload, flags=flags % 16, mode=mode, file=file % 3,
            offset=place_in_file,
        ))  # fmt: skip
    near, far = socket.socketpair()
    with near, far:
        sender = threading.Thread(target=_send_all, args=(near, b"".join(frames)))
        sender.start()
        try:
            receive(far.fileno(), far.fileno(), place)
        finally:
            far.shutdown(socket.SHUT_RDWR)
            sender.join()


def _send_all(channel: socket.socket, stream: bytes) -> None:
    with contextlib.suppress(OSError):
        channel.sendall(stream)
        channel.shutdown(socket.SHUT_WR)
        while channel.recv(65536):
            pass


def _data_seeds() -> list[bytes]:
    def piece(kind: int, payload: bytes = b"", offset: int = 0) -> bytes:
        return bytes([kind - 1, 0, 0, 0, offset, len(payload)]) + payload

    opened = piece(2, b"a/b", 5)
    pages = struct.pack(">II", 1, 0) + struct.pack(">QI", 0, 4096) + b"x" * 40
    return [
        opened + piece(3, b"content") + piece(5, offset=5) + piece(6),
        opened + piece(4, struct.pack(">Q", 4096)) + piece(6),
        opened + piece(9, pages), piece(2, b"../escape", 5), piece(10, b"fifo"),
        piece(11, b"\0\1a" * 5), piece(2, b"/etc/passwd", 1), piece(6) * 3,
    ]  # fmt: skip


# -- archives


def _tar(*members: tuple[str, bytes | str], kind: bytes = tarfile.REGTYPE) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.type, info.size = kind, len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
    return out.getvalue()


def _layer(data: bytes, place: Path) -> None:
    from migrate.images.apply import apply_layer
    from migrate.images.tarread import Limits

    apply_layer(io.BytesIO(data), place, limits=Limits(1 << 20, 1 << 24, 1000))


def _layer_seeds() -> list[bytes]:
    return [
        _tar(("a/b", b"content"), ("a/c", "b")), _tar(("out", "../.."), ("out/evil", b"x")),
        _tar(("../evil", b"x")), _tar((".wh.a", b""), ("d/.wh..wh..opq", b"")),
        _tar(("x" * 300, b"long")), _tar(("dev", b""), kind=tarfile.CHRTYPE), b"", b"\0" * 1024,
    ]  # fmt: skip


def _checkpoint(data: bytes, place: Path) -> None:
    """The tar within an archive whose compression is whole."""
    import zstandard

    from migrate.checkpoint.archive import unpack

    source, stage = place / "checkpoint", place / "stage"
    stage.mkdir()
    source.write_bytes(zstandard.ZstdCompressor(level=1, write_checksum=True).compress(data))
    unpack(source, stage)


def _checkpoint_seeds() -> list[bytes]:
    manifest = {
        "format": 1, "software": "migrate", "created": 1.0, "container": {"id": "a", "name": "b"},
        "members": [{"name": "state.json", "size": 2, "sha256": "0" * 64}],
    }  # fmt: skip
    return [
        _tar(("manifest.json", json.dumps(manifest).encode()), ("state.json", b"{}")),
        _tar(("manifest.json", b"{}")), _tar(("state.json", b"{}")), b"",
    ]  # fmt: skip


def _state(data: bytes, _place: Path) -> None:
    from migrate.checkpoint.state import decode

    decode(data)


def _state_seeds() -> list[bytes]:
    spec = {"process": {"args": ["sh"], "cwd": "/"}, "root": {"path": "rootfs"}}
    record = {"identifier": "ab", "name": "n", "created": 1.0, "binds": [], "network": {}}
    whole = {"record": record, "spec": spec, "log_pipes": {}, "mounts": []}
    return [json.dumps(value).encode() for value in (whole, {"format": 9}, [], {"record": record})]


# -- CRIU's images


def _pagemap(data: bytes, place: Path) -> None:
    from migrate.criu.pagemap_images import prepare_lazy, read, write

    path = place / "pagemap-1.img"
    path.write_bytes(data)
    messages = read(path)
    write(path, messages)
    assert len(read(path)) == len(messages)
    prepare_lazy(place)


def _pagemap_seeds() -> list[bytes]:
    from pycriu.images import pagemap_pb2

    from migrate.criu.pagemap_images import _serialized

    head = pagemap_pb2.pagemap_head(pages_id=1)
    entries = [
        pagemap_pb2.pagemap_entry(vaddr=4096 * n, compat_nr_pages=1, nr_pages=1, flags=4)
        for n in (1, 5, 9)
    ]
    return [_serialized([head]), _serialized([head, *entries]), b""]


# -- files that people write


def _toml(data: bytes, _place: Path) -> None:
    from migrate.evacuate.inventory.tomlfile import parse

    parse(Path("hosts.toml"), data)


def _ansible_ini(data: bytes, _place: Path) -> None:
    from migrate.evacuate.inventory import ansible

    ansible.read(Path("hosts"), data)


def _ansible_yaml(data: bytes, _place: Path) -> None:
    from migrate.evacuate.inventory import ansible

    ansible.read(Path("hosts.yml"), data)


def _plan(data: bytes, _place: Path) -> None:
    from migrate.evacuate.planning.planfile import load

    with contextlib.suppress(UnicodeDecodeError):
        load(data.decode())


def _plan_seeds() -> list[bytes]:
    from migrate.evacuate.model import Plan, Stays, Step
    from migrate.evacuate.planning.planfile import dump

    step = Step("ab12", "web", "beta", "pre-copy", 1 << 20, 1.5, 0.1, "a note")
    whole = Plan("alpha", "id", {"beta": "root@beta"}, (step,), (Stays("cd", "db", {"": "no"}),))
    return [dump(whole).encode(), b"version = 1\n", b"[[move]]\n"]


def _journal(data: bytes, place: Path) -> None:
    from migrate.evacuate.execution.journal import Journal

    (place / "journal").write_bytes(data)
    journal = Journal(place)
    assert isinstance(journal.is_open, bool)
    assert isinstance(journal.moved, dict)


def _journal_seeds() -> list[bytes]:
    outcome = {"container": "ab", "name": "n", "origin": "a", "target": "b", "state": "moved"}
    lines: list[dict[str, Any]] = [
        {"kind": "begun", "at": 1.0, "source": "a", "addresses": {"b": "root@b"}},
        {"kind": "outcome", "at": 2.0, "outcome": outcome}, {"kind": "ended", "at": 3.0},
    ]  # fmt: skip
    return [b"\n".join(json.dumps(line).encode() for line in lines) + b"\n", b"{}\n", b""]


def _spec(data: bytes, _place: Path) -> None:
    from migrate.oci.checking import check

    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return
    check(found)


def _spec_seeds() -> list[bytes]:
    plain = {
        "ociVersion": "1.2.0", "root": {"path": "r"},
        "process": {"args": ["sh"], "cwd": "/", "rlimits": [
            {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}]},
        "mounts": [{"destination": "/proc", "type": "proc", "options": ["ro"]}],
        "hooks": {"prestart": [{"path": "/bin/true", "timeout": 1}]},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}], "sysctl": {"net.a": "1"},
                  "devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 2}]},
    }  # fmt: skip
    return [json.dumps(plain).encode(), b"{}", b"[]"]


def _texts(*texts: str) -> Callable[[], list[bytes]]:
    return lambda: [text.encode() for text in texts]


TARGETS = {
    "control": Target(_control, _control_seeds),
    "agent": Target(_agent, _agent_seeds),
    "network-news": Target(_news, _news_seeds),
    "namespace": Target(_namespace, _namespace_seeds),
    "data": Target(_data, _data_seeds),
    "layer": Target(_layer, _layer_seeds),
    "checkpoint": Target(_checkpoint, _checkpoint_seeds),
    "state": Target(_state, _state_seeds),
    "pagemap": Target(_pagemap, _pagemap_seeds),
    "inventory": Target(_toml, _texts(
        '[hosts.alpha]\naddress = "root@10.0.0.1:22"\nlabels = { zone = "a" }\n', "[hosts]\n", "")),
    "ansible-ini": Target(_ansible_ini, _texts(
        "[web]\na[1:3].example ansible_user=x ansible_port=22\n[all:vars]\nk=v\n",
        "a\n[x:children]\n")),
    "ansible-yaml": Target(_ansible_yaml, _texts(
        "all:\n  hosts:\n    a:\n      ansible_host: b\n  children:\n    c: {}\n", "[]\n")),
    "plan": Target(_plan, _plan_seeds),
    "journal": Target(_journal, _journal_seeds),
    "spec": Target(_spec, _spec_seeds),
}  # fmt: skip


def seeds(name: str) -> Iterator[bytes]:
    """The target's own, and the corpus that is kept."""
    yield from TARGETS[name].seeds()
    for path in sorted((CORPUS / name).glob("*")):
        yield path.read_bytes()


CORPUS = Path(__file__).with_name("corpus")
"""Inputs that were findings once, a directory a target."""
