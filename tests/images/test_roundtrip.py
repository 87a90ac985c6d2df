"""apply(diff(tree)) == tree, for whatever an overlay upper can hold."""

import io
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migrate.images.apply import apply_layer
from migrate.images.diff import write_layer
from tests.images.trees import describe, holes

pytestmark = pytest.mark.root

NAMES = st.one_of(
    st.sampled_from([b"a", b"b", b"usr", b".wh.plain", b".wh..wh..opq", b"\xff\xfe", b"x" * 200]),
    st.binary(min_size=1, max_size=12).filter(
        lambda n: b"/" not in n and b"\0" not in n and n not in {b".", b".."}
    ),
)
META = st.tuples(
    st.sampled_from([0o644, 0o755, 0o4755, 0o1777, 0o000, 0o2750]),
    st.sampled_from([0, 1000, 65534, 2**21 + 5, 2**32 - 2]),
    st.integers(-(2**30) * 10**9, 2**33 * 10**9),
    st.dictionaries(
        st.sampled_from([b"user.a", b"user.a=b", b"trusted.t\n", b"user.\xc3\xa9"]),
        st.binary(max_size=40),
        max_size=2,
    ),
)
PIECES = st.lists(st.tuples(st.integers(0, 40), st.binary(min_size=1, max_size=9000)), max_size=3)
NODE = st.recursive(
    st.one_of(
        st.tuples(st.just("file"), META, PIECES, st.integers(0, 300_000)),
        st.tuples(st.just("link"), META, st.binary(min_size=1, max_size=150)),
        st.tuples(st.just("hard"), META),
        st.tuples(st.just("whiteout"), META),
        st.tuples(st.just("device"), META, st.sampled_from(["c", "b", "p"])),
    ),
    lambda children: st.tuples(
        st.just("dir"), META, st.dictionaries(NAMES, children, max_size=5), st.booleans()
    ),
    max_leaves=14,
)
TREE = st.tuples(st.just("dir"), META, st.dictionaries(NAMES, NODE, max_size=6), st.booleans())


def build(path: bytes, node: tuple, made: list[bytes]) -> None:
    kind, (mode, owner, mtime, xattrs) = node[0], node[1]
    if kind == "dir":
        os.makedirs(path, exist_ok=True)
        for name, child in node[2].items():
            build(os.path.join(path, name), child, made)
        if node[3]:
            os.setxattr(path, b"trusted.overlay.opaque", b"y")
    elif kind == "file":
        with open(path, "wb") as file:
            for page, data in node[2]:
                file.seek(page * 4096)
                file.write(data)
            file.truncate(max(node[3], file.seek(0, 2)))
        made.append(path)
    elif kind == "link":
        os.symlink(node[2].replace(b"\0", b"z"), path)
        made.append(path)
        xattrs = {}
    elif kind == "hard":
        if made:
            os.link(made[-1], path, follow_symlinks=False)
        return
    elif kind == "whiteout":
        os.mknod(path, 0o020000, 0)
        return
    else:
        os.mknod(path, {"c": 0o020000, "b": 0o060000, "p": 0o010000}[node[2]], os.makedev(5, 700))
        made.append(path)
        xattrs = {k: v for k, v in xattrs.items() if k.startswith(b"trusted")}
    os.lchown(path, owner, owner)
    if kind != "link":
        os.chmod(path, mode)
    for key, value in xattrs.items():
        os.setxattr(path, key, value, follow_symlinks=False)
    os.utime(path, ns=(mtime, mtime), follow_symlinks=False)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(TREE)
def test_upper_survives(tree: tuple) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as temporary:
        upper, back = Path(temporary, "upper"), Path(temporary, "back")
        build(os.fsencode(upper), tree, [])
        back.mkdir()
        first, second = io.BytesIO(), io.BytesIO()
        diff_id = write_layer(upper, first, overlay=True)
        apply_layer(io.BytesIO(first.getvalue()), back, need_end=True)
        assert describe(back) == describe(upper)
        assert write_layer(back, second, overlay=True) == diff_id
        assert first.getvalue() == second.getvalue()


def test_plain_tools_read_what_we_write(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/ü").write_text("hello")
    os.utime(tree / "sub/ü", ns=(1, 1_234_567_890_123_456_789))
    with open(tree / "sparse", "wb") as file:
        file.seek(1 << 20)
        file.write(b"x" * 5000)
        file.truncate(3 << 20)
    os.link(tree / "sub/ü", tree / "hard")
    archive = tmp_path / "layer.tar"
    with archive.open("wb") as out:
        write_layer(tree, out, overlay=False)
    assert archive.stat().st_size < 30_000
    gnu = tmp_path / "gnu"
    gnu.mkdir()
    subprocess.run(["tar", "-xpf", archive, "-C", gnu], check=True)
    assert describe(gnu) == describe(tree)
    with tarfile.open(archive) as tar:
        member = tar.getmember("./sparse" if "./sparse" in tar.getnames() else "sparse")
        assert member.size == 3 << 20
        assert tar.extractfile(member).read() == (tree / "sparse").read_bytes()


@pytest.mark.parametrize(
    "form", [["gnu"], ["posix", "--sparse-version=0.0"], ["posix", "--sparse-version=0.1"],
             ["posix", "--sparse-version=1.0"]],
)  # fmt: skip
def test_sparse_forms_of_gnu_tar(tmp_path: Path, form: list[str]) -> None:
    tree, back = tmp_path / "tree", tmp_path / "back"
    tree.mkdir()
    back.mkdir()
    with open(tree / "holes", "wb") as file:
        for piece in range(40):
            file.seek(piece * 100_000 // 4096 * 4096 * 2)
            file.write(b"data")
        file.truncate(20 << 20)
    (tree / ("long-" * 40)).write_text("long name")
    archive = subprocess.run(
        ["tar", "-cS", f"--format={form[0]}", *form[1:], "-C", tree, "."],
        check=True, stdout=subprocess.PIPE,
    ).stdout  # fmt: skip
    apply_layer(io.BytesIO(archive), back)
    assert len(holes(back / "holes")) == 40
    assert describe(back, times=False) == describe(tree, times=False)
