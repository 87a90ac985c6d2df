"""update(apply(known), changes) == tree, whatever is done to a tree in between."""

import contextlib
import io
import os
import shutil
import socket
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migrate.images import changes
from migrate.images.apply import apply_layer
from migrate.images.changes import Known, signature, update_tree, write_changes, write_known
from migrate.images.errors import ImageArchiveBad, LayerUnsafe
from migrate.images.tarread import Kind, Member
from migrate.images.tarwrite import END, header
from tests.images.test_roundtrip import TREE, build
from tests.images.trees import await_tick, describe

pytestmark = pytest.mark.root

LARGE = 200_000
PLAIN = (0o755, 7, 10**18, {b"trusted.a": b"1"})
FILE = ("file", PLAIN, [(0, b"new")], 0)
MADE = [
    FILE, ("link", PLAIN, b"a"), ("whiteout", PLAIN), ("device", PLAIN, "p"),
    ("file", PLAIN, [(3, b"sparse")], LARGE),
    ("dir", PLAIN, {b"a": FILE, b"b": ("dir", PLAIN, {b"x": FILE}, True)}, False),
    ("dir", PLAIN, {b".wh.plain": FILE, b"usr": ("whiteout", PLAIN)}, True),
]  # fmt: skip
WAYS = ["remove", "replace", "rename", "new", "mode", "attribute", "strip", "link", "write",
        "opaque"]  # fmt: skip
SOME = st.integers(0, 40)
DEEDS = st.lists(
    st.tuples(
        st.sampled_from(WAYS), SOME, SOME,
        st.sampled_from([b"a", b"b", b"usr", b".wh.plain", b"\xff"]), st.sampled_from(MADE),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


def do(upper: Path, deed: tuple) -> None:
    """One change, as a program in the container makes it."""
    what, first, second, name, node = deed
    places = sorted(os.path.join(folder, each) for folder, directories, files
                    in os.walk(os.fsencode(upper)) for each in (*directories, *files))  # fmt: skip
    folders = [os.fsencode(upper), *(p for p in places if stat.S_ISDIR(os.lstat(p).st_mode))]
    if not places:
        places = [os.path.join(os.fsencode(upper), b"none")]
    place = places[first % len(places)]
    fresh = os.path.join(folders[second % len(folders)], name)
    with contextlib.suppress(OSError):  # what can't be done is not
        if what in {"remove", "replace"}:
            remove(place)
        if what == "replace":
            build(place, node, [])
        elif what == "new" and not os.path.lexists(fresh):
            build(fresh, node, [])
        elif what == "rename":
            os.rename(place, fresh)
        elif what == "mode" and not os.path.islink(place):
            os.chmod(place, 0o640)
        elif what == "attribute":
            os.setxattr(place, b"trusted.new", b"v", follow_symlinks=False)
        elif what == "strip":
            for key in os.listxattr(place, follow_symlinks=False):
                os.removexattr(place, key, follow_symlinks=False)
        elif what == "link":
            os.link(place, fresh, follow_symlinks=False)
        elif what == "opaque":
            os.setxattr(folders[second % len(folders)], b"trusted.overlay.opaque", b"y")
        elif what == "write" and stat.S_ISREG(os.lstat(place).st_mode):
            with open(place, "ab") as file:
                file.write(b"more")


def remove(place: bytes) -> None:
    if stat.S_ISDIR(os.lstat(place).st_mode):
        shutil.rmtree(place)
    else:
        os.unlink(place)


def is_large(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_size >= LARGE


def send_ahead(upper: Path, back: Path) -> Known:
    back.mkdir()
    first = io.BytesIO()
    known = write_known(upper, first, overlay=True, left_out=is_large)
    apply_layer(io.BytesIO(first.getvalue()), back, need_end=True)
    return known


def send_changes(upper: Path, back: Path, known: Known) -> bytes:
    rest = io.BytesIO()
    write_changes(upper, rest, known, lambda before, now: before == signature(now), overlay=True)
    update_tree(io.BytesIO(rest.getvalue()), back)
    return rest.getvalue()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(TREE, DEEDS)
def test_what_was_done_meanwhile(tree: tuple, deeds: list[tuple]) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as temporary:
        upper, back = Path(temporary, "upper"), Path(temporary, "back")
        build(os.fsencode(upper), tree, [])
        known = send_ahead(upper, back)
        await_tick(Path(temporary))
        for deed in deeds:
            do(upper, deed)
        send_changes(upper, back, known)
        assert describe(back) == describe(upper)


def test_what_is_as_it_was_is_not_sent(tmp_path: Path) -> None:
    upper, back = tmp_path / "upper", tmp_path / "back"
    (upper / "d/e").mkdir(parents=True)
    for number in range(300):
        (upper / f"d/{number}").write_bytes(os.urandom(1000))
    (upper / "large").write_bytes(bytes(LARGE))
    known = send_ahead(upper, back)
    assert not (back / "large").exists()
    assert len(send_changes(upper, back, known)) < 8000 + LARGE  # that one, and its directory
    assert describe(back) == describe(upper)
    (upper / "large").unlink()
    shutil.rmtree(back)
    known = send_ahead(upper, back)
    await_tick(tmp_path)
    (upper / "d/7").write_bytes(b"new")
    (upper / "d/8").unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        (upper / "d/9").unlink()
        listening.bind(str(upper / "d/9"))  # sockets stay behind
        assert len(send_changes(upper, back, known)) < 10_000
        (upper / "d/9").unlink()
    os.utime(upper / "d", ns=((back / "d").stat().st_mtime_ns,) * 2)
    assert describe(back) == describe(upper)


def test_of_too_many_only_some_are_sent_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MOST_ENTRIES", 30)
    upper, back = tmp_path / "upper", tmp_path / "back"
    for number in range(50):
        (upper / f"d{number // 5}").mkdir(parents=True, exist_ok=True)
        (upper / f"d{number // 5}/{number}").write_text(str(number))
    known = send_ahead(upper, back)
    assert len(known.entries) == 30
    assert 0 < len(list(back.rglob("*"))) < 30
    send_changes(upper, back, known)
    assert describe(back) == describe(upper)


HOSTILE = {
    "out": Member(b"../x", Kind.FILE, removed=True),
    "absolute": Member(b"/x", Kind.FILE, removed=True),
    "through a link": Member(b"out/kept", Kind.FILE, removed=True),
    "hard link out": Member(b"x", Kind.HARD_LINK, link=b"../kept"),
    "whiteout in disguise": Member(b"x", Kind.CHARACTER),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_changes(tmp_path: Path, case: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "out").symlink_to("../")
    (tmp_path / "kept").write_text("kept")
    with pytest.raises((LayerUnsafe, ImageArchiveBad)):
        update_tree(io.BytesIO(header(HOSTILE[case]) + END), root)
    assert (tmp_path / "kept").read_text() == "kept"


def test_only_changes_may_remove(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    removal = header(Member(b"x", Kind.FILE, removed=True)) + END
    with pytest.raises(LayerUnsafe, match="would remove"):
        apply_layer(io.BytesIO(removal), tmp_path / "root")
    (tmp_path / "root/x").mkdir()
    (tmp_path / "root/x/y").write_text("")
    update_tree(io.BytesIO(removal), tmp_path / "root")
    update_tree(io.BytesIO(removal), tmp_path / "root")  # nothing there: nothing to do
    assert list((tmp_path / "root").iterdir()) == []
    with pytest.raises(ImageArchiveBad):
        update_tree(io.BytesIO(removal[:-600]), tmp_path / "root")
    (tmp_path / "root/kept").mkdir()
    update_tree(io.BytesIO(header(Member(b".", Kind.FILE, removed=True)) + END), tmp_path / "root")
    assert (tmp_path / "root/kept").is_dir()
