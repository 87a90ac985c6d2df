from __future__ import annotations

import os

import pytest

from migrate.kernel import probes


def test_a_child_tells_what_it_raised():
    def fail():
        raise OSError("no such luck")

    assert probes.in_child(lambda: 3) == ""
    assert probes.in_child(fail) == "no such luck"
    assert probes.in_child(lambda: os._exit(1)) == "no answer"


def test_a_child_that_hangs_is_ended(monkeypatch):
    import time

    monkeypatch.setattr(probes, "CHILD_LIMIT", 0.05)
    begun = time.monotonic()
    assert probes.in_child(lambda: time.sleep(30)) == "no answer"
    assert time.monotonic() - begun < 25


def test_the_probes_answer_and_change_nothing():
    before = {name: os.readlink(f"/proc/self/ns/{name}") for name in ("mnt", "net", "uts")}
    assert isinstance(probes.soft_dirty(), str)
    assert isinstance(probes.pagemap_scan(), str)
    assert isinstance(probes.nftables(), str)
    assert {name: os.readlink(f"/proc/self/ns/{name}") for name in before} == before


@pytest.mark.root
def test_what_every_root_can_do():
    assert probes.namespace("uts") == ""
    assert probes.link_kind("veth") == ""
    assert "not supported" in probes.link_kind("no-such-kind").lower()


@pytest.mark.root
def test_soft_dirty_is_seen_as_the_kernel_was_built():
    """Against the kernel's own configuration where it shows one."""
    import gzip
    from pathlib import Path

    places = [Path("/proc/config.gz"), Path(f"/boot/config-{os.uname().release}")]
    for place in places:
        if place.exists():
            data = place.read_bytes()
            text = (gzip.decompress(data) if place.suffix == ".gz" else data).decode()
            assert ("CONFIG_MEM_SOFT_DIRTY=y" in text) == (probes.soft_dirty() == "")
            return
    pytest.skip("this kernel shows no configuration")
