"""A small tmpfs without tar: what is written tar can read, and all that is not simple is tar's."""

from __future__ import annotations

import ctypes
import gzip
import io
import os
import socket
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from migrate.criu.skeleton import filter as dump_filter

pytestmark = pytest.mark.root  # devices, owners

CREATE = [
    "tar", "--create", "--gzip", "--no-unquote", "--no-wildcards", "--one-file-system",
    "--check-links", "--preserve-permissions", "--sparse", "--numeric-owner", "--directory",
]  # fmt: skip
EXTRACT = ["tar", "--extract", "--gzip", "--no-unquote", "--no-wildcards", "--directory"]
RUN = """
import ctypes, sys
words = [word.encode() for word in sys.argv[1:]]
ctypes.CDLL(None).execvp(words[0], (ctypes.c_char_p * (len(words) + 1))(*words, None))
sys.exit(77)
"""
NO_TAR = 77
Told = dict[str, tuple[int, int, int, int, int, bytes]]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    patch = pytest.MonkeyPatch()
    patch.setattr(dump_filter, "home", lambda: tmp_path_factory.mktemp("criu"))
    place = tmp_path_factory.mktemp("library")
    patch.setattr(dump_filter, "home", lambda: place)
    assert dump_filter.build()
    yield dump_filter.preloading()["LD_PRELOAD"]
    patch.undo()


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    made: list[Path] = []

    def make(name: str, option: str = "mode=755") -> Path:
        place = tmp_path / name
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", option, "tmpfs", place], check=True)
        made.append(place)
        return place

    yield make
    for place in made:
        subprocess.run(["umount", "-R", place], check=True)


def run(library: str, words: list[str], *, tar: bool, **streams: object) -> int:
    """CRIU's way of calling tar, with the library; the exit status. `tar`: whether there is one."""
    environment = {"LD_PRELOAD": library, "PATH": os.environ["PATH"] if tar else "/nowhere"}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", RUN, *words], env=environment, check=False, **streams,  # type: ignore[call-overload]
    )  # fmt: skip
    return int(done.returncode)


def create(library: str, place: Path, *, tar: bool = False) -> bytes:
    archive = place.parent / "archive"
    with archive.open("w+b") as out:
        status = run(library, [*CREATE, str(place), "."], tar=tar, stdout=out)
        assert status == 0 or out.seek(0, os.SEEK_END) == 0
    return archive.read_bytes()


def extract(library: str, archive: bytes, place: Path, *, tar: bool = False) -> int:
    file = place.parent / "archive"
    file.write_bytes(archive)
    with file.open("rb") as given:
        return run(library, [*EXTRACT, str(place)], tar=tar, stdin=given)


def is_ours(archive: bytes) -> bool:
    """Whether nothing is compressed: gzip does not do that to what is a tar's first block."""
    return archive[:4] == b"\x1f\x8b\x08\0" and archive[10] in (0, 1)


def seen(top: Path) -> Told:
    told = {}
    for path in [top, *top.rglob("*")]:
        status = path.lstat()
        if stat.S_ISSOCK(status.st_mode):
            continue
        content = b""
        if path.is_symlink():
            content = os.readlink(path).encode()
        elif stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        told[str(path.relative_to(top))] = (
            status.st_mode, status.st_uid, status.st_gid, status.st_rdev, int(status.st_mtime),
            content,
        )  # fmt: skip
    return told


def fill(top: Path) -> None:
    """Every kind that is ours to do."""
    (top / "a" / "b").mkdir(parents=True)
    (top / "a").chmod(0o1777)
    (top / "a" / "b" / "text").write_bytes(os.urandom(100_000))
    os.chown(top / "a" / "b" / "text", 1234, 4321)
    (top / "a" / "b" / "text").chmod(0o6755)
    (top / "empty").touch(mode=0o400)
    (top / ("n" * 98)).write_text("the longest name")
    (top / "link").symlink_to("x" * 99)
    os.lchown(top / "link", 7, 8)
    os.mkfifo(top / "fifo", 0o640)
    for name, kind in (("characters", stat.S_IFCHR), ("blocks", stat.S_IFBLK)):
        os.mknod(top / name, 0o604 | kind, os.makedev(259, 70000))
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(top / "socket"))
    for number, path in enumerate([*top.rglob("*"), top]):
        os.utime(path, (5, 1_000_000_000 + number), follow_symlinks=False)
    os.chown(top, 3, 4)
    top.chmod(0o2711)


def test_what_it_writes_it_and_tar_read(library: str, tmpfs: Callable[[str], Path]) -> None:
    one, ours, theirs = tmpfs("one"), tmpfs("ours"), tmpfs("theirs")
    fill(one)
    before = seen(one)
    archive = create(library, one)
    assert is_ours(archive)
    assert not os.path.lexists(one.parent / "nowhere")
    assert extract(library, archive, ours) == 0
    assert seen(ours) == before
    subprocess.run([*EXTRACT, str(theirs)], input=archive, check=True)
    assert seen(theirs) == before
    with tarfile.open(fileobj=io.BytesIO(archive)) as read:
        assert "./socket" not in read.getnames()


def test_nothing_in_it(library: str, tmpfs: Callable[[str], Path]) -> None:
    one, other = tmpfs("one"), tmpfs("other")
    os.utime(one, (1, 1))
    archive = create(library, one)
    assert is_ours(archive)
    assert extract(library, archive, other) == 0
    assert seen(other) == seen(one)


def test_what_tar_writes_tar_reads(library: str, tmpfs: Callable[[str], Path]) -> None:
    one, other = tmpfs("one"), tmpfs("other")
    fill(one)
    archive = subprocess.run([*CREATE, str(one), "."], check=True, capture_output=True).stdout
    assert not is_ours(archive)
    assert extract(library, archive, other) == NO_TAR
    assert list(other.iterdir()) == []
    assert extract(library, archive, other, tar=True) == 0
    assert seen(other) == seen(one)


def two_names(top: Path) -> None:
    os.link(top / "empty", top / "again")


def two_names_of_a_link(top: Path) -> None:
    os.link(top / "link", top / "again", follow_symlinks=False)


def holes(top: Path) -> None:
    with (top / "holes").open("wb") as file:
        file.truncate(8 << 20)
        file.seek(4 << 20)
        file.write(b"x")


def large(top: Path) -> None:
    (top / "large").write_bytes(os.urandom(300_000))


def long_name(top: Path) -> None:
    (top / ("n" * 99)).touch()


def long_link(top: Path) -> None:
    (top / "long").symlink_to("x" * 100)


def deep(top: Path) -> None:
    top.joinpath(*"abcdefghijklmnopqrstuvw").mkdir(parents=True)


def high_owner(top: Path) -> None:
    os.chown(top / "empty", 1 << 22, 0)


def before_time(top: Path) -> None:
    os.utime(top / "empty", (-5, -5))


def mounted_over(top: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", top / "a" / "b"], check=True)
    (top / "a" / "b" / "other").touch()


@pytest.mark.parametrize(
    "more",
    [two_names, two_names_of_a_link, holes, large, long_name, long_link, deep, high_owner,
     before_time, mounted_over],
)  # fmt: skip
def test_what_is_left_to_tar(
    library: str, tmpfs: Callable[[str], Path], more: Callable[[Path], None]
) -> None:
    one, other = tmpfs("one"), tmpfs("other")
    fill(one)
    more(one)
    before = seen(one)
    if more is mounted_over:
        before.pop("a/b/other")
        before.pop("a/b")
    assert create(library, one) == b""
    archive = create(library, one, tar=True)
    assert not is_ours(archive)
    assert extract(library, archive, other, tar=True) == 0
    after = seen(other)
    if more is mounted_over:
        after.pop("a/b")
    assert after == before


def test_a_full_disk_is_told_by_tar(library: str, tmpfs: Callable[..., Path]) -> None:
    one, disk = tmpfs("one"), tmpfs("disk", "size=16k")
    fill(one)
    with (disk / "out").open("w+b") as out, (one.parent / "errors").open("w+b") as errors:
        words = [*CREATE, str(one), "."]
        assert run(library, words, tar=True, stdout=out, stderr=errors) not in (0, NO_TAR)
        errors.seek(0)
        assert b"No space left on device" in errors.read()


def test_no_room_where_it_is_put_back(library: str, tmpfs: Callable[..., Path]) -> None:
    one, small = tmpfs("one"), tmpfs("small", "size=16k")
    fill(one)
    assert is_ours(create(library, one))
    with (one.parent / "errors").open("w+b") as errors:
        (one.parent / "archive").write_bytes(create(library, one))
        with (one.parent / "archive").open("rb") as given:
            words = [*EXTRACT, str(small)]
            status = run(library, words, tar=True, stdin=given, stderr=errors)
        assert status not in (0, NO_TAR)
        errors.seek(0)
        assert errors.read().startswith(b"tar: ./a/b/text: Wrote only")


def stored(*members: tuple[str, bytes, str | bytes]) -> bytes:
    """A gzip stream of a tar that is not compressed."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.mode = kind, 0o755
            if isinstance(content, str):
                member.linkname = content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    packed = bytearray(gzip.compress(out.getvalue(), 0))
    packed[3] = 0
    return bytes(packed)


FILE, DIRECTORY, LINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE
TOP = (".", DIRECTORY, "")


@pytest.mark.parametrize(
    "members",
    [
        [("./../out", FILE, b"x")],
        [("../out", FILE, b"x")],
        [("{outside}/out", FILE, b"x")],
        [("./..", DIRECTORY, "")],
        [("./a", LINK, ".."), ("./a/out", FILE, b"x")],
        [("./a", LINK, "{outside}"), ("./a/out", FILE, b"x")],
        [("./a", LINK, "{outside}/out"), ("./a", FILE, b"x")],
        [("./a", FILE, b"x"), ("./a", tarfile.LNKTYPE, "./a")],
        [("./a//b", FILE, b"x")],
        [("./a/", FILE, b"x")],
    ],
)
def test_hostile_archives(
    library: str, tmpfs: Callable[[str], Path], members: list[tuple[str, bytes, str | bytes]]
) -> None:
    outside, place = tmpfs("outside"), tmpfs("place")
    told = [
        (
            name.format(outside=outside),
            kind,
            what.format(outside=outside) if isinstance(what, str) else what,
        )
        for name, kind, what in members
    ]
    assert extract(library, stored(("./good", FILE, b"x"), *told), place) == NO_TAR
    assert list(outside.iterdir()) == []
    assert not (place.parent / "out").exists()


def test_damaged_archives(library: str, tmpfs: Callable[[str], Path]) -> None:
    place = tmpfs("place")
    good = stored(("./", DIRECTORY, ""), ("./a", FILE, b"x" * 2000))
    for end in (0, 3, 10, 14, 15, 600, len(good) - 1):
        assert extract(library, good[:end], place) == NO_TAR
    for at in (0, 1, 2, 3, 10, 12, 15, 120, 300, 2000, len(good) - 1, len(good) - 8):
        damaged = bytearray(good)
        damaged[at] ^= 0x55
        assert extract(library, bytes(damaged), place) == NO_TAR
    assert extract(library, good + b"more", place) == NO_TAR
    assert list(place.iterdir()) == []
    assert extract(library, good, place) == 0
    assert (place / "a").read_bytes() == b"x" * 2000


def test_other_programs_are_started_as_ever(library: str, tmp_path: Path) -> None:
    assert run(library, ["true"], tar=True) == 0
    assert run(library, ["tar", "--version"], tar=True, stdout=subprocess.DEVNULL) == 0
    assert run(library, ["tar", "--create"], tar=False) == NO_TAR
    assert run(library, [*EXTRACT, str(tmp_path), "more"], tar=False) == NO_TAR
    assert ctypes.CDLL(library)  # every symbol of it is found
