"""Every storage driver shows the same tree, and gives the same changes back as a layer."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.images.apply import apply_layer
from migrate.images.drivers import NAMES, checked, driver_named, first_working
from migrate.images.errors import SnapshotFailed, StorageDriverBad
from migrate.images.rootdir import remove_tree
from migrate.images.snapshots import Snapshot, SnapshotDriver
from migrate.images.wholetree import BtrfsDriver, TreeSnapshot, forget_shared
from migrate.kernel import btrfs
from tests.btrfs import mounted_btrfs
from tests.images.trees import describe

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """On btrfs, where all three drivers work."""
    with mounted_btrfs(tmp_path_factory.mktemp("drivers")) as mounted:
        yield mounted


@pytest.fixture(scope="module")
def layers(place: Path) -> tuple[Path, ...]:
    """Three layers, top first, with all that layers can say to each other."""
    bottom, middle, top = (place / f"layers/{n}" for n in ("bottom", "middle", "top"))
    for layer in (bottom, middle, top):
        layer.mkdir(parents=True)
    bottom.chmod(0o755)
    top.chmod(0o751)
    for name in ("kept", "gone", "changed", "dir-to-file/x", "opaque/lost", "file-to-dir",
                 "deep/a/b/c", "other/one", "other/two"):  # fmt: skip
        (bottom / name).parent.mkdir(parents=True, exist_ok=True)
        (bottom / name).write_text(f"bottom {name}")
    os.link(bottom / "kept", bottom / "linked")
    (bottom / "link").symlink_to("deep/a")
    os.mkfifo(bottom / "fifo")
    os.mknod(bottom / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.setxattr(bottom / "kept", "user.note", b"kept")
    (bottom / "kept").chmod(0o4755)
    os.chown(bottom / "other/one", 1000, 1001)
    with (bottom / "holes").open("wb") as file:
        file.truncate(8 << 20)
        file.seek(4 << 20)
        file.write(b"x" * 5000)
    os.mknod(middle / "gone", stat.S_IFCHR, 0)
    (middle / "changed").write_text("middle")
    (middle / "opaque").mkdir()
    os.setxattr(middle / "opaque", "trusted.overlay.opaque", b"y")
    (middle / "opaque/fresh").write_text("fresh")
    (middle / "dir-to-file").write_text("a file now")
    (top / "gone-again").write_text("top")
    (top / "file-to-dir").mkdir()
    (top / "file-to-dir/inside").write_text("inside")
    (top / "deep/a").mkdir(parents=True)
    os.mknod(top / "deep/a/b", stat.S_IFCHR, 0)
    os.utime(top / "deep", ns=(1, 1_600_000_000_000_000_001))
    return top, middle, bottom


def made(driver: SnapshotDriver, layers: tuple[Path, ...], where: Path) -> Snapshot:
    return driver.snapshot(layers, where, where / "mounted", where.parent / "shared")


def change(root: Path) -> None:
    """What a container may do to its files."""
    (root / "kept").write_text("rewritten")
    (root / "linked").unlink()
    (root / "link").unlink()
    shutil.rmtree(root / "other")
    (root / "other").mkdir()
    (root / "other/three").write_text("three")
    (root / "file-to-dir/inside").rename(root / "moved")
    (root / "deep/a/new").mkdir(mode=0o700)
    (root / "deep/a/new/file").write_text("new")
    os.link(root / "deep/a/new/file", root / "hard")
    os.chown(root / "changed", 5, 6)
    os.setxattr(root / "opaque/fresh", "user.more", b"1")
    (root / "dir-to-file").unlink()
    (root / "dir-to-file").mkdir()
    status = (root / "gone-again").stat()  # same size, same time, other content
    (root / "gone-again").write_text("TOP")
    os.utime(root / "gone-again", ns=(status.st_atime_ns, status.st_mtime_ns))
    (root / ".wh.literal").write_text("a name, no whiteout")
    (root / "unix").mkdir()
    with (root / "sparse").open("wb") as file:
        file.truncate(4 << 20)


@pytest.fixture(scope="module")
def expected(place: Path, layers: tuple[Path, ...]) -> tuple[dict, dict]:
    """The tree as the kernel's overlay shows it, before and after the changes."""
    (place / "truth").mkdir()
    truth = made(driver_named("overlay"), layers, place / "truth/box")
    truth.mount()
    try:
        before = describe(truth.mount_point, times=False)
        change(truth.mount_point)
        return before, describe(truth.mount_point, times=False)
    finally:
        truth.unmount()


@pytest.mark.parametrize("source", NAMES)
@pytest.mark.parametrize("target", NAMES)
def test_changes_go_from_each_driver_to_each(
    place: Path, layers: tuple[Path, ...], expected: tuple[dict, dict], source: str, target: str
) -> None:
    root = place / f"{source}-{target}"
    root.mkdir()
    here = made(driver_named(source), layers, root / "here")
    here.mount()
    try:
        assert describe(here.mount_point, times=False) == expected[0]
        change(here.mount_point)
        packed = io.BytesIO()
        here.write_diff(packed)
        seen = describe(here.mount_point)
    finally:
        here.unmount()
    there = made(driver_named(target), layers, root / "there")
    (root / "there/upper").mkdir(parents=True)
    packed.seek(0)
    apply_layer(packed, root / "there/upper")
    there.mount()
    try:
        assert describe(there.mount_point, times=False) == expected[1]
        assert describe(there.mount_point) == seen
        again = io.BytesIO()
        there.write_diff(again)  # what has come is still told from the layers
    finally:
        there.unmount()
    assert members(again) == members(packed)
    there.mount()  # a second time nothing is laid over
    assert describe(there.mount_point) == seen
    there.unmount()
    there.unmount()


def members(packed: io.BytesIO) -> set[str]:
    """Names of what is no directory, as drivers differ in which of those they name.

    A directory made anew is opaque in an upper; a tree says of each name that it is gone.
    """
    packed.seek(0)
    with tarfile.open(fileobj=packed) as tar:
        names = {member.name for member in tar.getmembers() if not member.isdir()}
    return {n for n in names if not n.startswith("other/.wh.") and not n.endswith(".wh..wh..opq")}


def test_an_unchanged_tree_has_an_empty_diff(place: Path, layers: tuple[Path, ...]) -> None:
    for name in ("vfs", "btrfs"):
        (place / f"same-{name}").mkdir()
        snapshot = made(driver_named(name), layers, place / f"same-{name}/box")
        snapshot.mount()
        packed = io.BytesIO()
        snapshot.write_diff(packed)
        snapshot.unmount()
        packed.seek(0)
        with tarfile.open(fileobj=packed) as tar:
            assert tar.getnames() == ["."]


def test_btrfs_shares_and_a_crash_is_made_good(place: Path, layers: tuple[Path, ...]) -> None:
    root = place / "crash"
    root.mkdir()
    first = made(BtrfsDriver(), layers, root / "first")
    first.mount()
    first.unmount()
    assert btrfs.is_subvolume(first.own)
    assert len(list((root / "shared").iterdir())) == 1
    (root / "second/tree.new/root").mkdir(parents=True)  # cut off while it was made
    (root / "second/tree/root").mkdir(parents=True)
    second = made(BtrfsDriver(), layers, root / "second")
    second.mount()
    assert (second.mount_point / "kept").exists()
    second.unmount()
    forget_shared(root / "shared")
    remove_tree(root / "second")  # with the subvolume in it
    assert list((root / "shared").iterdir()) == []
    assert (first.own / "kept").exists()


def test_what_does_not_work_is_refused(
    place: Path, tmp_path: Path, layers: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert first_working(place) == "overlay"
    assert checked("btrfs", place) == "btrfs"
    with pytest.raises(StorageDriverBad, match="does not work"):
        checked("btrfs", tmp_path)
    with pytest.raises(StorageDriverBad, match="no storage driver"):
        driver_named("zfs")
    with pytest.raises(StorageDriverBad, match="no storage driver works"):
        first_working(Path("/proc"))
    with pytest.raises(SnapshotFailed):
        made(driver_named("vfs"), (), tmp_path / "none").mount()
    damaged = made(driver_named("vfs"), layers, tmp_path / "damaged")
    assert isinstance(damaged, TreeSnapshot)
    damaged.prepare()
    (tmp_path / "damaged/tree/stamp").write_text("never")
    with pytest.raises(SnapshotFailed):
        damaged.write_diff(io.BytesIO())
