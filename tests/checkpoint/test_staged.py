"""Contents that travel apart from their tar: what differs is sent, and nothing else is taken."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.checkpoint.errors import StagedFileBad
from migrate.checkpoint.staged import BLOCK, Fingerprints, StagedDirectory
from migrate.errors import MigrateError
from migrate.images.apply import apply_layer
from migrate.images.diff import write_layer
from migrate.images.errors import ImageArchiveBad, LayerUnsafe
from migrate.images.tarread import Kind, Member, TarReader
from migrate.images.tarwrite import END, header
from migrate.kernel.files import directory_descriptor

PIECE = st.tuples(st.integers(0, 20 * BLOCK), st.integers(1, 3 * BLOCK), st.integers(0, 3))
VERSION = st.tuples(st.lists(PIECE, max_size=5), st.integers(0, 20 * BLOCK), st.booleans())


def change(path: Path, version: tuple[list[tuple[int, int, int]], int, bool]) -> None:
    """Write pieces of equal bytes (zeros among them), set the size; perhaps anew, with holes."""
    pieces, size, anew = version
    if anew:
        path.write_bytes(b"")
    with path.open("r+b") as file:
        for offset, length, byte in pieces:
            file.seek(offset)
            file.write(bytes([byte]) * length)
        file.truncate(size)


def give(blocks: Fingerprints, source: Path, target: Path) -> int:
    """What a sender and its receiver do; the bytes that travelled."""
    sent = 0
    with source.open("rb") as file, target.open("r+b") as out:
        size = source.stat().st_size
        out.truncate(size)
        for offset, data in blocks.delta(file.fileno(), size):
            assert offset % BLOCK == 0
            assert 0 < len(data) <= 1 << 20
            assert offset + len(data) <= size
            os.pwrite(out.fileno(), data, offset)
            sent += len(data)
    return sent


@settings(max_examples=60, deadline=None)
@given(st.lists(VERSION, min_size=1, max_size=5))
def test_the_other_side_holds_what_was_read(versions: list) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        source, target = Path(temporary, "source"), Path(temporary, "target")
        source.touch()
        target.touch()
        blocks = Fingerprints()
        for version in versions:
            change(source, version)
            give(blocks, source, target)
            assert target.read_bytes() == source.read_bytes()
            assert give(blocks, source, target) == 0


def test_one_byte_costs_one_block(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(40 * BLOCK + 5))
    target.touch()
    blocks = Fingerprints()
    assert give(blocks, source, target) == 40 * BLOCK + 5
    with source.open("r+b") as file:
        file.seek(17 * BLOCK - 1)
        old = file.read(2)
        file.seek(17 * BLOCK - 1)
        file.write(bytes(byte ^ 1 for byte in old))  # both differ from what was there
    assert give(blocks, source, target) == 2 * BLOCK
    assert target.read_bytes() == source.read_bytes()


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(8 * BLOCK))
    target.touch()
    blocks = Fingerprints()
    with source.open("r+b") as file, target.open("r+b") as out:
        out.truncate(8 * BLOCK)
        file.truncate(3 * BLOCK + 7)
        for offset, data in blocks.delta(file.fileno(), 8 * BLOCK):
            os.pwrite(out.fileno(), data, offset)
    assert target.read_bytes() == source.read_bytes() + bytes(5 * BLOCK - 7)
    give(blocks, source, target)
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.root
def test_a_tree_whose_large_files_went_ahead(tmp_path: Path) -> None:
    """Hard links, holes, owner, mode, times and attributes are as if they had been in the tar."""
    tree, there, ahead = tmp_path / "tree", tmp_path / "there", tmp_path / "staged"
    for directory in (tree, there, ahead):
        directory.mkdir()
    content = os.urandom(300_000)
    (tree / "sub").mkdir()
    (tree / "sub/large").write_bytes(content)
    (tree / "small").write_text("small")
    os.link(tree / "sub/large", tree / "z-link")
    os.link(tree / "sub/large", tree / "a-link")
    os.chown(tree / "sub/large", 7, 8)
    (tree / "sub/large").chmod(0o4751)
    os.setxattr(tree / "sub/large", b"user.x", b"y")
    os.utime(tree / "sub/large", ns=(5, 1_234_567_890_123_456_789))
    numbers = []

    def staged(descriptor: int, status: os.stat_result) -> int | None:
        if status.st_size < 1000:
            return None
        numbers.append(status.st_ino)
        (ahead / "4").write_bytes(os.pread(descriptor, status.st_size, 0))
        return 4

    out = io.BytesIO()
    write_layer(tree, out, overlay=True, staged=staged)
    assert len(numbers) == 1
    assert len(out.getvalue()) < 20_000
    with StagedDirectory(ahead) as directory:
        apply_layer(io.BytesIO(out.getvalue()), there, staged=directory.take)
    assert list(ahead.iterdir()) == []
    large = there / "sub/large"
    status = large.stat()
    assert large.read_bytes() == content
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (7, 8, 0o4751)
    assert status.st_mtime_ns == 1_234_567_890_123_456_789
    assert os.getxattr(large, b"user.x") == b"y"
    assert status.st_nlink == 3
    assert (there / "small").read_text() == "small"


def tar(*members: Member) -> io.BytesIO:
    return io.BytesIO(b"".join(header(member) for member in members) + END)


def ahead_of(tmp_path: Path) -> Path:
    """Beneath it 1 (five bytes), 2 (a link), 3 (a directory), 4 (a pipe), 5 (has another name)."""
    (tmp_path / "outside").write_bytes(b"12345")
    ahead = tmp_path / "staged"
    ahead.mkdir()
    (ahead / "1").write_bytes(b"12345")
    (ahead / "2").symlink_to("../outside")
    (ahead / "3").mkdir()
    os.mkfifo(ahead / "4")
    (ahead / "5").write_bytes(b"12345")
    os.link(ahead / "5", tmp_path / "other")
    return ahead


@pytest.mark.root
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6) | st.just(2**63), st.integers(0, 6)), max_size=4))
def test_what_a_hostile_tar_can_take(wanted: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        ahead, place = ahead_of(Path(temporary)), Path(temporary, "place")
        place.mkdir()
        members = [
            Member(b"f%d" % index, Kind.FILE, size=size, staged=number)
            for index, (number, size) in enumerate(wanted)
        ]
        fine = wanted in ([], [(1, 5)])
        with StagedDirectory(ahead) as directory:
            if fine:
                apply_layer(tar(*members), place, staged=directory.take)
            else:
                with pytest.raises(StagedFileBad):
                    apply_layer(tar(*members), place, staged=directory.take)
        assert [p.read_bytes() for p in place.iterdir()] == ([b"12345"] if fine and wanted else [])
        assert Path(temporary, "outside").read_bytes() == b"12345"
        assert Path(temporary, "other").stat().st_nlink == 2
        assert sorted(p.name for p in ahead.iterdir())[-4:] == ["2", "3", "4", "5"]


@pytest.mark.root
def test_a_staged_directory_that_is_none(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    member = Member(b"f", Kind.FILE, size=5, staged=1)
    with StagedDirectory(tmp_path / "nowhere") as directory, pytest.raises(StagedFileBad):
        apply_layer(tar(member), place, staged=directory.take)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("place")
    for name in ("file", "link"):
        with pytest.raises(StagedFileBad):
            StagedDirectory(tmp_path / name)
    assert list(place.iterdir()) == []


def test_only_a_move_may_name_them(tmp_path: Path) -> None:
    stream = tar(Member(b"f", Kind.FILE, size=5, staged=1))
    with pytest.raises(LayerUnsafe, match="not in this tar"):
        apply_layer(stream, tmp_path)
    stream.seek(0)
    with pytest.raises(LayerUnsafe, match="not in this tar"):
        list(TarReader(stream))


RECORDS = {
    "no size": [b"MIGRATE.staged=1"],
    "no number": [b"MIGRATE.size=1"],
    "negative": [b"MIGRATE.staged=-1", b"MIGRATE.size=1"],
    "a path": [b"MIGRATE.staged=../outside", b"MIGRATE.size=5"],
    "not ascii": [b"MIGRATE.staged=\xc2\xb2", b"MIGRATE.size=5"],
    "sparse": [
        b"MIGRATE.staged=1", b"MIGRATE.size=5", b"GNU.sparse.map=0,0", b"GNU.sparse.size=5",
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", RECORDS)
@pytest.mark.parametrize("letter", [b"x", b"g"])
def test_malformed_records(tmp_path: Path, case: str, letter: bytes) -> None:
    assert refused(tmp_path, records(RECORDS[case], letter), header(Member(b"f", Kind.FILE)))


@pytest.mark.parametrize("kind", [Kind.DIRECTORY, Kind.SYMLINK, Kind.HARD_LINK, Kind.FIFO])
def test_only_empty_regular_files(tmp_path: Path, kind: Kind) -> None:
    both = [b"MIGRATE.staged=1", b"MIGRATE.size=5"]
    assert refused(tmp_path, records(both, b"x"), header(Member(b"f", kind, link=b"x")))
    full = header(Member(b"f", Kind.FILE, size=5)) + b"12345".ljust(512, b"\0")
    assert refused(tmp_path, records(both, b"x"), full)
    assert refused(tmp_path, records(both, b"g"), header(Member(b"f", Kind.FILE)))


def records(lines: list[bytes], letter: bytes) -> bytes:
    body = b"".join(b"%02d %s\n" % (len(line) + 4, line) for line in lines)
    head = bytearray(header(Member(b"pax", Kind.FILE, size=len(body))))
    head[156:157] = letter
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + body + bytes(-len(body) % 512)


def refused(place: Path, *parts: bytes) -> bool:
    taken: list[object] = []
    with pytest.raises(MigrateError) as raised:
        apply_layer(
            io.BytesIO(b"".join(parts) + END), place, staged=lambda *what: taken.append(what)
        )
    assert isinstance(raised.value, ImageArchiveBad)
    return not taken and list(place.iterdir()) == []


def test_to_another_file_system(tmp_path: Path) -> None:
    content = os.urandom(3 * BLOCK) + bytes(9 * BLOCK) + b"end"
    (tmp_path / "1").write_bytes(content)
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as place,
        directory_descriptor(Path(place)) as parent,
        StagedDirectory(tmp_path) as directory,
    ):
        assert Path(place).stat().st_dev != tmp_path.stat().st_dev
        directory.take(1, len(content), parent, b"name")
        assert (Path(place) / "name").read_bytes() == content
        assert (Path(place) / "name").stat().st_blocks * 512 < 6 * BLOCK
    assert list(tmp_path.iterdir()) == []
