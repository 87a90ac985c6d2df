"""Pagemap images, sound and hostile."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.criu import pagemap_images as pm
from migrate.criu.errors import ImageBad

pytestmark = [pytest.mark.criu]  # for pycriu, which comes with CRIU

HEAD = struct.pack("<II", 0x5456_4319, 0x5608_4025)


def image(path, *entries):
    from pycriu.images import pagemap_pb2

    messages = [pagemap_pb2.pagemap_head(pages_id=1)]
    messages += [
        pagemap_pb2.pagemap_entry(
            vaddr=a << 12, compat_nr_pages=n & 0xFFFF_FFFF, nr_pages=n, flags=f
        )
        for a, n, f in entries
    ]
    pm.write(path, messages)


def test_what_the_images_hold_is_restored_at_once(tmp_path):
    path = tmp_path / "pagemap-1.img"
    image(path, (1, 2, 6), (5, 1, 4), (9, 1, 2), (10, 1, 3))
    image(tmp_path / "pagemap-2.img", (1, 2, 4))
    (tmp_path / "pages-1.img").write_bytes(b"")
    before = (tmp_path / "pagemap-2.img").stat().st_ino
    assert pm.prepare_lazy(tmp_path) == 1
    head, *entries = pm.read(path)
    assert head.pages_id == 1
    assert [(e.vaddr >> 12, pm.pages_of(e), e.flags) for e in entries] == [
        (1, 2, 4), (5, 1, 4), (9, 1, 2), (10, 1, 3)
    ]  # fmt: skip
    assert (tmp_path / "pagemap-2.img").stat().st_ino == before
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "pagemap-1.img", "pagemap-2.img", "pages-1.img", "parent"
    ]  # fmt: skip


def test_a_parent_without_pages(tmp_path):
    image(tmp_path / "pagemap-1.img", (1, 2, 6))
    image(tmp_path / "pagemap-shmem-77.img", (1, 2, 4))
    pm.prepare_lazy(tmp_path)
    parent = tmp_path / "parent"
    assert sorted(p.name for p in parent.iterdir()) == ["pagemap-1.img", "pages-1.img"]
    assert [message.pages_id for message in pm.read(parent / "pagemap-1.img")] == [1]
    assert (parent / "pages-1.img").stat().st_size == 0
    assert parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "entries", [[(5, 2, 4), (6, 1, 4)], [(1, 0, 4)], [(1, 1 << 50, 4)], [(2, 1, 4), (1, 1, 4)]]
)
def test_absurd_ranges_are_refused(tmp_path, entries):
    image(tmp_path / "pagemap-1.img", *entries)
    with pytest.raises(ImageBad, match="damaged"):
        pm.prepare_lazy(tmp_path)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_raise(tmp_path_factory, raw):
    directory = tmp_path_factory.mktemp("images")
    path = directory / "pagemap-1.img"
    for content in (raw, HEAD + raw):
        path.write_bytes(content)
        try:
            pm.read(path)
        except ImageBad:
            pass
        else:
            assert pm.prepare_lazy(directory) >= 0


def test_a_link_is_not_followed(tmp_path):
    image(tmp_path / "image", (1, 1, 6))
    (tmp_path / "pagemap-1.img").symlink_to(tmp_path / "image")
    with pytest.raises(OSError, match="symbolic links"):
        pm.prepare_lazy(tmp_path)
