"""Overlay mounts: what a container does to its root file system comes back from the diff."""

import io
import os
import shutil
from pathlib import Path

import pytest

from migrate.images.apply import apply_layer
from migrate.images.errors import SnapshotFailed
from migrate.images.overlay import OverlayDriver, OverlaySnapshot
from tests.images.trees import describe

pytestmark = pytest.mark.root


def make_layers(directory: Path, count: int) -> tuple[Path, ...]:
    layers = []
    for number in range(count):
        layer = directory / f"{number:03d}"
        (layer / "shared").mkdir(parents=True)
        (layer / f"shared/{number}").write_text(str(number))
        layers.append(layer)
    return tuple(reversed(layers))


def test_upper_moves(tmp_path: Path) -> None:
    lower = make_layers(tmp_path / "layers", 3)
    lower[0].chmod(0o751)
    here = OverlayDriver().snapshot(lower, tmp_path / "here", tmp_path / "here/rootfs")
    here.mount()
    try:
        root = here.mount_point
        assert root.stat().st_mode & 0o777 == 0o751
        (root / "shared/0").unlink()
        (root / "shared/1").write_text("changed")
        (root / "new").mkdir()
        os.link(root / "shared/1", root / "new/link")
        shutil.rmtree(root / "shared")
        (root / "shared").mkdir()
        (root / "shared/fresh").write_text("fresh")
        layer = io.BytesIO()
        here.write_diff(layer)
        seen = describe(root)
    finally:
        here.unmount()
    there = OverlayDriver().snapshot(lower, tmp_path / "there", tmp_path / "there/rootfs")
    there.upper.mkdir(parents=True)
    layer.seek(0)
    apply_layer(layer, there.upper)
    there.mount()
    try:
        assert describe(there.mount_point) == seen
        assert os.listdir(there.mount_point / "shared") == ["fresh"]
    finally:
        there.unmount()
    there.unmount()


@pytest.mark.parametrize(("count", "folder"), [(120, "a" * 64), (2, "odd:na,me\\ \n")])
def test_long_and_odd_paths(tmp_path: Path, count: int, folder: str) -> None:
    lower = make_layers(tmp_path / folder, count)
    snapshot = OverlayDriver().snapshot(lower, tmp_path / folder / "box", tmp_path / folder / "m")
    snapshot.mount()
    try:
        assert len(os.listdir(snapshot.mount_point / "shared")) == count
    finally:
        snapshot.unmount()


def test_failures_are_told(tmp_path: Path) -> None:
    lower = make_layers(tmp_path / "layers", 1)
    with pytest.raises(SnapshotFailed):
        OverlayDriver().snapshot((), tmp_path / "none", tmp_path / "m").mount()
    with pytest.raises(SnapshotFailed):
        OverlayDriver().snapshot((tmp_path / "gone",), tmp_path / "g", tmp_path / "m").mount()
    busy = OverlayDriver().snapshot(lower, tmp_path / "busy", tmp_path / "busy/rootfs")
    busy.mount()
    with (busy.mount_point / "open").open("w"), pytest.raises(SnapshotFailed):
        busy.unmount()
    busy.unmount()
    assert OverlayDriver().works(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []
    upper = OverlaySnapshot(lower, Path("/proc/upper"), Path("/proc/work"), tmp_path / "m")
    with pytest.raises(SnapshotFailed):
        upper.mount()
