"""Tars that play games: links before their targets, bombs, duplicates, and swaps in mid-flight."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from migrate.errors import MigrateError
from migrate.images.apply import apply_layer
from migrate.images.errors import ImageArchiveBad, LayerUnsafe
from migrate.images.importing import import_archive
from migrate.images.overlay import OverlayDriver
from migrate.images.store import Store
from migrate.images.tarread import BLOCK, EXTENDED_LIMIT, Kind, Limits, Member, TarReader
from migrate.images.tarwrite import END, header, padding
from migrate.images.wholetree import VfsDriver
from tests.images.test_hostile import CHR, DIR, LNK, SYM, archive, entry

pytestmark = pytest.mark.root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A place for a layer; beside it a victim that must stay as it is."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim/secret").write_text("untouched")
    (tmp_path / "victim/secret").chmod(0o600)
    made = tmp_path / "root"
    made.mkdir()
    return made


def unhurt(root: Path) -> bool:
    secret = root.parent / "victim/secret"
    return (
        os.listdir(root.parent / "victim") == ["secret"]
        and secret.read_text() == "untouched"
        and secret.stat().st_mode & 0o7777 == 0o600
        and secret.stat().st_nlink == 1
    )


LINK_GAMES = {
    "to a later member": [entry("early", LNK, linkname="late"), entry("late")],
    "to itself": [entry("me", LNK, linkname="me")],
    "in a ring": [entry("a", LNK, linkname="b"), entry("b", LNK, linkname="a")],
    "to a whiteout": [entry(".wh.gone"), entry("x", LNK, linkname="gone")],
    "out by a link's parent": [
        entry("up", SYM, linkname="../victim"), entry("x", LNK, linkname="up/secret"),
    ],
    "out by dots": [entry("d/", DIR), entry("x", LNK, linkname="d/../../victim/secret")],
    "below a file": [entry("f"), entry("x", LNK, linkname="f/inner")],
    "to nothing at all": [entry("x", LNK, linkname="")],
}  # fmt: skip


@pytest.mark.parametrize("game", LINK_GAMES)
def test_hard_links_that_lead_nowhere_good_are_refused(root: Path, game: str) -> None:
    with pytest.raises(LayerUnsafe):
        apply_layer(archive(*LINK_GAMES[game]), root)
    assert list(root.iterdir()) == []
    assert unhurt(root)


def test_a_hard_link_to_a_link_is_one_name_more_and_nothing_is_written_through(root: Path) -> None:
    victim = root.parent / "victim"
    members = [entry("s", SYM, linkname=str(victim / "secret")), entry("h", LNK, linkname="s"),
               entry("h"), entry("s", mode=0o777)]  # fmt: skip
    apply_layer(archive(*members), root)
    assert (root / "h").read_bytes() == (root / "s").read_bytes() == b"evil"
    assert not (root / "h").is_symlink()
    assert unhurt(root)


def test_duplicates_replace_each_other_and_lead_nowhere(root: Path) -> None:
    victim = root.parent / "victim"
    members = [
        entry("x/", DIR), entry("x/a"), entry("x", SYM, linkname=str(victim)), entry("x/secret"),
        entry("y", SYM, linkname="../victim"), entry("y/", DIR), entry("y/secret"),
        entry("z"), entry("z/", DIR), entry("z"), entry("z", LNK, linkname="y/secret"),
        entry("w", CHR, devmajor=1, devminor=3), entry("w"),
    ]  # fmt: skip
    apply_layer(archive(*members), root)
    assert unhurt(root)
    assert (root / f".{victim}/secret").read_bytes() == b"evil"  # an absolute link is the layer's
    assert (root / "y").is_dir()
    assert not (root / "y").is_symlink()
    assert (root / "z").stat().st_nlink == 2
    assert (root / "w").is_file()


def test_whiteouts_of_nothing_hide_nothing(root: Path, tmp_path: Path) -> None:
    members = [entry(".wh.never"), entry("d/.wh.inner"), entry("e/.wh..wh..opq"),
               entry(".wh.twice"), entry(".wh.twice"), entry("kept")]  # fmt: skip
    apply_layer(archive(*members), root)
    for driver in (OverlayDriver(), VfsDriver()):
        snapshot = driver.snapshot((root,), tmp_path / driver.name, tmp_path / driver.name / "m")
        snapshot.mount()
        try:
            # overlay lists such a name where no other layer has its directory; it is not there.
            there = [path for path in snapshot.mount_point.rglob("*") if path.exists()]
            found = sorted(str(path.relative_to(snapshot.mount_point)) for path in there)
        finally:
            snapshot.unmount()
        assert found == ["d", "e", "kept"]


def sparse(name: str, size: int, *segments: tuple[int, int], data: bytes = b"") -> bytes:
    made = Member(name.encode(), Kind.FILE, size=size, segments=list(segments))
    return header(made) + data + padding(len(data))


def test_huge_sparse_files_are_bounded_and_small_ones_take_no_room(root: Path) -> None:
    large = sparse("large", 1 << 40, (1 << 39, 4), ((1 << 40), 0), data=b"data")
    apply_layer(io.BytesIO(large + END), root)
    assert (root / "large").stat().st_size == 1 << 40
    assert (root / "large").stat().st_blocks * 512 < 1 << 20
    (root / "large").unlink()
    for bad in (
        sparse("huge", 1 << 62, (1 << 62, 0)),
        b"".join(sparse(f"f{n}", 1 << 40, (1 << 40, 0)) for n in range(5)),  # together
        sparse("over", 8, (4, 4), (4, 4), data=b"12345678"),
        sparse("back", 100, (50, 4), (0, 4), data=b"12345678"),
        sparse("beyond", 4, (2, 4), data=b"1234"),
        sparse("wrapped", 10**20 - 1, (10**20 - 1, 0)),
    ):
        with pytest.raises((LayerUnsafe, ImageArchiveBad)):
            apply_layer(io.BytesIO(bad + END), root)
        assert list(root.iterdir()) == []


def test_too_long_names(root: Path) -> None:
    for name in ("n" * 256, "d/" * 5000 + "f", "x/" + "n" * 5000, "é" * 200):
        with pytest.raises(MigrateError) as error:
            apply_layer(archive(entry("fine"), entry(name)), root)
        assert len(str(error.value)) < 2000
        assert list(root.iterdir()) == []
    with pytest.raises(MigrateError):
        apply_layer(archive(entry("l", SYM, linkname="t" * 5000)), root)
    for name in ("with\nnewline", "\x1b[2Jescape", "tab\t", " ", "ünï", "a\\b"):
        apply_layer(archive(entry(name)), root)
        assert os.listdir(root) == [name]
        (root / name).unlink()
    with pytest.raises(MigrateError) as error:  # no control characters reach a terminal
        apply_layer(archive(entry("\x1b[2J/../x")), root)
    assert "\x1b" not in str(error.value)


def pax(kind: bytes, records: bytes) -> bytes:
    info = tarfile.TarInfo("PaxHeader")
    info.type, info.size = kind, len(records)
    return info.tobuf(tarfile.USTAR_FORMAT) + records + bytes(-len(records) % BLOCK)


def record(key: bytes, value: bytes) -> bytes:
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest + len(str(rest))))
    return b"%d %s=%s\n" % (length, key, value)


BOMBS: dict[str, Callable[[], bytes]] = {
    "one header": lambda: pax(b"x", record(b"comment", b"x" * EXTENDED_LIMIT)),
    "many headers of one member": lambda: pax(b"x", record(b"comment", b"x" * 60_000)) * 200,
    "many long names": lambda: pax(b"L", b"n" * 60_000 + b"\0") * 200,
    "many global headers": lambda: b"".join(
        pax(b"g", record(b"k%d" % n, b"v" * 1000)) for n in range(200)
    ),
    "a claimed size": lambda: tarfile.TarInfo("x").tobuf()[:124] + b"\x80" + b"\xff" * 11,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_of_headers_are_refused_early(root: Path, bomb: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    with pytest.raises((LayerUnsafe, ImageArchiveBad)):
        apply_layer(io.BytesIO(BOMBS[bomb]() + archive(entry("a")).getvalue()), root)
    assert time.process_time() - begun < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB
    assert list(root.iterdir()) == []


def test_many_records_are_no_burden_for_the_members_after_them() -> None:
    records = b"".join(record(b"k%d" % n, b"") for n in range(1500))
    members = archive(*(entry(f"f{n}") for n in range(5000))).getvalue()
    begun = time.process_time()
    found = sum(1 for _member in TarReader(io.BytesIO(pax(b"g", records) + members)))
    assert found == 5000
    assert time.process_time() - begun < 5


def test_too_many_members_end_the_import(tmp_path: Path) -> None:
    path = tmp_path / "many.tar"
    path.write_bytes(archive(*(entry(f"f{n}") for n in range(300))).getvalue())
    store = Store(tmp_path / "store")
    with pytest.raises(LayerUnsafe, match="more than 200 members"), path.open("rb") as stream:
        store.add_layer(stream, limits=Limits(members=200))
    assert store.layers() == []
    assert list((store.root / "tmp").iterdir()) == []
    assert import_archive(store, path, "many").size > 0


class Meddling(io.BytesIO):
    """A stream whose reader is meddled with when it comes to a certain byte."""

    def __init__(self, data: bytes, at: int, meddle: Callable[[], object]) -> None:
        super().__init__(data)
        self._at, self._meddle = at, meddle

    def read(self, size: int | None = -1, /) -> bytes:
        if self._meddle and self.tell() >= self._at:
            self._meddle()
            self._meddle = None  # type: ignore[assignment]
        return super().read(size)


@pytest.mark.parametrize("position", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("way", ["absolute", "relative"])
def test_a_directory_swapped_for_a_link_in_mid_flight(root: Path, position: int, way: str) -> None:
    victim = root.parent / "victim"

    def swap() -> None:
        if (root / "d").exists():
            (root / "d").rename(root / "aside")
        (root / "d").symlink_to(victim if way == "absolute" else "../victim")

    members = [entry("d/", DIR), entry("d/a", mode=0o777), entry("d/secret", mode=0o777),
               entry("d/sub/secret"), entry("d/hard", LNK, linkname="d/secret"),
               entry("d/.wh.secret"), entry("d/", DIR, mode=0o777)]  # fmt: skip
    data = archive(*members).getvalue()
    starts = [m.offset for m in tarfile.open(fileobj=io.BytesIO(data)).getmembers()]  # noqa: SIM115
    try:
        apply_layer(Meddling(data, starts[position], swap), root)
    except MigrateError:
        assert list(root.iterdir()) == []
    assert unhurt(root)


def test_a_file_swapped_for_a_link_in_mid_flight(root: Path) -> None:
    """Between the writing of a file and the setting of its mode and owner."""
    victim = root.parent / "victim/secret"

    def swap() -> None:
        (root / "f").unlink()
        (root / "f").symlink_to(victim)

    large = entry("f", mode=0o777, uid=1000)
    data = archive(large, data=b"x" * (3 << 20)).getvalue()
    with contextlib.suppress(MigrateError):  # refused, or laid over the link: either is right
        apply_layer(Meddling(data, 1 << 20, swap), root)
    assert unhurt(root)
    assert victim.stat().st_uid == 0
