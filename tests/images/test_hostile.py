"""Members that try to reach out of the layer's directory."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from migrate.errors import MigrateError
from migrate.images.apply import apply_layer
from migrate.images.errors import ImageArchiveBad, LayerUnsafe
from migrate.images.rootdir import remove_tree
from migrate.images.store import Store
from migrate.images.tarread import Limits

pytestmark = pytest.mark.root


def entry(name: str, kind: bytes = tarfile.REGTYPE, **more: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in more.items():
        setattr(info, key, value)
    return info


def archive(*entries: tarfile.TarInfo, data: bytes = b"evil") -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info in entries:
            info.size = len(data) if info.type == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(data))
    out.seek(0)
    return out


SYM, LNK, DIR, CHR = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE
HOSTILE = {
    "absolute": [entry("/etc/evil")],
    "dotdot": [entry("../evil")],
    "dotdot inside": [entry("a/../../evil")],
    "whiteout dotdot": [entry("a/.wh...")],
    "whiteout dot": [entry(".wh..")],
    "empty whiteout": [entry(".wh.")],
    "through link": [entry("out", SYM, linkname="../../.."), entry("out/evil")],
    "through two links": [
        entry("d/", DIR), entry("d/up", SYM, linkname=".."), entry("x", SYM, linkname="d/up/.."),
        entry("x/evil"),
    ],
    "whiteout through link": [entry("out", SYM, linkname="../.."), entry("out/.wh.evil")],
    "hard link out": [entry("evil", LNK, linkname="../victim")],
    "hard link absolute": [entry("evil", LNK, linkname="/etc/passwd")],
    "hard link through link": [
        entry("out", SYM, linkname=".."), entry("evil", LNK, linkname="out/victim"),
    ],
    "hard link to nothing": [entry("evil", LNK, linkname="nowhere")],
    "hard link to directory": [entry("d/", DIR), entry("evil", LNK, linkname="d")],
    "link loop": [entry("a", SYM, linkname="b"), entry("b", SYM, linkname="a"), entry("a/evil")],
    "through file": [entry("a"), entry("a/evil")],
    "root as file": [entry(".")],
    "whiteout in disguise": [entry("a", CHR)],
    "owner -1": [entry("a", uid=2**32 - 1)],
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_refused_and_nothing_left(tmp_path: Path, case: str) -> None:
    root = tmp_path / "in" / "root"
    root.mkdir(parents=True)
    (tmp_path / "in" / "victim").write_text("untouched")
    (root.parent / "evil").write_text("mine")
    with pytest.raises(LayerUnsafe):
        apply_layer(archive(entry("first"), *HOSTILE[case]), root)
    assert list(root.iterdir()) == []
    assert sorted(p.name for p in root.parent.iterdir()) == ["evil", "root", "victim"]
    assert (root.parent / "evil").read_text() == "mine"
    assert not Path("/etc/evil").exists()


def test_limits(tmp_path: Path) -> None:
    with pytest.raises(LayerUnsafe, match="members"):
        apply_layer(archive(entry("a"), entry("b")), tmp_path, limits=Limits(members=1))
    with pytest.raises(LayerUnsafe, match="larger"):
        apply_layer(archive(entry("a")), tmp_path, limits=Limits(total_bytes=1000))
    with pytest.raises(LayerUnsafe, match="larger"):
        apply_layer(archive(entry("a")), tmp_path, limits=Limits(apparent_bytes=3))
    huge = entry("a", pax_headers={"comment": "x" * (5 << 20)})
    with pytest.raises(LayerUnsafe, match="header"):
        apply_layer(archive(huge), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cut", [1, 511, 512, 700, 1024])
def test_cut_off(tmp_path: Path, cut: int) -> None:
    data = archive(entry("a"), entry("b"), data=b"x" * 600).getvalue()
    with pytest.raises(ImageArchiveBad):
        apply_layer(io.BytesIO(data[:cut]), tmp_path, need_end=True)
    assert list(tmp_path.iterdir()) == []


def test_every_flipped_byte_is_harmless(tmp_path: Path) -> None:
    data = archive(entry("d/", DIR), entry("d/a", pax_headers={"mtime": "1.5"})).getvalue()
    for position in range(0, 3072, 7):
        damaged = bytearray(data)
        damaged[position] ^= 0x41
        root = tmp_path / str(position)
        root.mkdir()
        try:
            apply_layer(io.BytesIO(bytes(damaged)), root, need_end=True)
        except MigrateError:
            assert list(root.iterdir()) == []


def test_honest_links_and_whiteouts(tmp_path: Path) -> None:
    apply_layer(
        archive(
            entry("usr/bin/", DIR, mode=0o755),
            entry("bin", SYM, linkname="usr/bin"),
            entry("var", SYM, linkname="/usr"),
            entry("bin/tool", mode=0o4755),
            entry("var/lib/x"),
            entry("bin/alias", LNK, linkname="bin/tool"),
            entry(".wh.gone"),
            entry(".wh.again"),
            entry("again/", DIR, mode=0o755),
            entry("usr/.wh..wh..opq"),
            entry("usr/.wh..wh.plnk"),
            entry("twice"),
            entry("twice", DIR),
            entry("dev", CHR, devmajor=1, devminor=3, mode=0o666),
            data=b"fine",
        ),
        tmp_path,
    )
    assert (tmp_path / "usr/bin/tool").read_bytes() == b"fine"
    assert (tmp_path / "usr/bin/tool").stat().st_mode & 0o7777 == 0o4755
    assert (tmp_path / "usr/bin/tool").stat().st_nlink == 2
    assert (tmp_path / "usr/lib/x").exists()
    assert (tmp_path / "gone").lstat().st_rdev == 0
    assert os.getxattr(tmp_path / "again", "trusted.overlay.opaque") == b"y"
    assert os.getxattr(tmp_path / "usr", "trusted.overlay.opaque") == b"y"
    assert sorted(os.listdir(tmp_path / "usr")) == ["bin", "lib"]
    assert (tmp_path / "twice").is_dir()
    assert (tmp_path / "dev").stat().st_rdev == os.makedev(1, 3)


def test_overlay_xattrs_are_dropped(tmp_path: Path) -> None:
    redirect = {"SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.user.kept": "1"}
    apply_layer(archive(entry("a", pax_headers=redirect)), tmp_path)
    assert os.listxattr(tmp_path / "a") == ["user.kept"]


def test_very_deep_trees_leave_nothing_behind(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each link leads 900 directories down: 3600 in all, past PATH_MAX and Python's stack.

    That is also past what pytest can remove, so none of it may be left for that.
    """
    store, replaced = Store(tmp_path / "store"), tmp_path / "replaced"
    request.addfinalizer(lambda: [remove_tree(p) for p in (store.root, replaced) if p.exists()])
    deep = "/".join(["d"] * 900)
    entries = [entry("x" + "/" + deep, DIR), entry("y", SYM, linkname="x/" + deep)]
    for link, before in (("z", "y"), ("w", "z"), ("v", "w")):
        entries += [entry(f"{before}/{deep}", DIR), entry(link, SYM, linkname=f"{before}/{deep}")]
    with pytest.raises(MigrateError):
        store.add_layer(archive(*entries, entry("../out")))
    assert list((store.root / "tmp").iterdir()) == []
    store.add_layer(archive(*entries))
    assert store.prune() > 3600 * 4096
    assert list((store.root / "layers/sha256").iterdir()) == []
    replaced.mkdir()
    apply_layer(archive(*entries, entry("x")), replaced)
    assert (replaced / "x").is_file()
