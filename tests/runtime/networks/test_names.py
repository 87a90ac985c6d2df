"""Names of containers in each other's /etc/hosts: what is written, and what it may not harm."""

from __future__ import annotations

import os

import pytest

from migrate.runtime import records
from migrate.runtime.networks import definition, names
from migrate.runtime.networks.definition import Definition
from migrate.runtime.networks.names import BEGIN, END, replaced
from migrate.runtime.paths import Paths
from migrate.runtime.records import Network, Record

BLOCK = f"{BEGIN}\n10.0.0.2\tweb\n{END}\n"


@pytest.fixture
def paths(tmp_path) -> Paths:
    made = Paths(tmp_path / "state", tmp_path / "run")
    made.make()
    definition.save(made, Definition("shared", "bridge", "10.0.0.0/24", parent="br0"))
    definition.save(made, Definition("inner", "bridge", "10.1.0.0/24"))
    return made


def member(paths: Paths, name: str, address: str, network: str = "shared", **more) -> Record:
    address6 = more.pop("address6", "")
    record = Record(
        f"id-{name}", name, created=1.0,
        network=Network("bridge", name=network, address=address, address6=address6), **more,
    )  # fmt: skip
    records.save(paths, record)
    (paths.container(record.identifier).rootfs / "etc").mkdir(parents=True)
    return record


def hosts(paths: Paths, record: Record) -> str:
    return (paths.container(record.identifier).rootfs / "etc/hosts").read_text()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f"127.0.0.1 localhost\n::1 localhost\n{BLOCK}"),
        ("1.2.3.4 a", f"1.2.3.4 a\n{BLOCK}"),
        (f"1.2.3.4 a\n{BEGIN}\nold\n{END}\n5.6.7.8 b\n", f"1.2.3.4 a\n{BLOCK}5.6.7.8 b\n"),
        (f"{BEGIN}\n{END}\n", BLOCK),
        (f"1.2.3.4 a\n{BEGIN}\ncut off", f"1.2.3.4 a\n{BLOCK}"),
    ],
)
def test_the_block_and_nothing_else_is_replaced(before, after):
    assert replaced(before, BLOCK) == after
    assert replaced(after, BLOCK) == after


def test_all_of_a_network_know_each_other(paths):
    web = member(paths, "web", "10.0.0.2/24", address6="fd00::2/64")
    other = member(paths, "db", "10.0.0.3/24")
    stranger = member(paths, "else", "10.1.0.2/24", "inner")
    held = member(paths, "held", "10.0.0.4/24", held="ab" * 16)
    names.refresh(paths, web)
    lines = ["10.0.0.3\tdb", "10.0.0.4\theld", "10.0.0.2\tweb", "fd00::2\tweb"]
    for one in (web, other):
        assert hosts(paths, one).splitlines()[3:-1] == lines
    for one in (stranger, held):
        assert not (paths.container(one.identifier).rootfs / "etc/hosts").exists()


def test_who_has_moved_on_a_shared_link_is_still_known(paths):
    web, gone = member(paths, "web", "10.0.0.2/24"), member(paths, "gone", "10.0.0.3/24")
    paths.container(gone.identifier).record.unlink()
    names.moved_away(paths, gone)
    assert "10.0.0.3\tgone" in hosts(paths, web)
    # Its address has a new holder.
    new = member(paths, "new", "10.0.0.3/24")
    names.refresh(paths, new)
    assert "gone" not in hosts(paths, web)


def test_who_is_removed_is_forgotten(paths):
    web, gone = member(paths, "web", "10.0.0.2/24"), member(paths, "gone", "10.0.0.3/24")
    names.learn(paths, "shared", names.known(paths, "shared"))  # it has come from elsewhere
    paths.container(gone.identifier).record.unlink()
    names.removed(paths, gone)
    assert "gone" not in hosts(paths, web)


def test_who_has_left_a_link_of_this_host_alone_is_not(paths):
    stays = member(paths, "stays", "10.1.0.2/24", "inner")
    gone = member(paths, "gone", "10.1.0.3/24", "inner")
    paths.container(gone.identifier).record.unlink()
    names.moved_away(paths, gone)
    assert "gone" not in hosts(paths, stays)


def test_what_another_host_tells_is_checked(paths):
    web = member(paths, "web", "10.0.0.2/24")
    told = {"db": ("10.0.0.3",), "a\nb": ("10.0.0.4",), "evil": ("10.0.0.5 google.com",),
            "far": ("6.6.6.6",),
            "web": ("10.0.0.9",)}  # fmt: skip
    names.learn(paths, "shared", told)
    names.learn(paths, "no-such", told)
    assert names.known(paths, "shared") == {"db": ("10.0.0.3",), "web": ("10.0.0.2",)}
    (paths.networks / "shared.names").write_text("junk")
    names.refresh(paths, web)
    assert "10.0.0.2\tweb" in hosts(paths, web)


@pytest.mark.parametrize("kind", ["link-out", "link-up", "fifo", "directory", "no-etc"])
def test_a_container_can_not_turn_it_on_the_host(paths, tmp_path, kind):
    web = member(paths, "web", "10.0.0.2/24")
    victim = tmp_path / "victim"
    victim.write_text("whole\n")
    etc = paths.container(web.identifier).rootfs / "etc"
    if kind == "link-out":
        (etc / "hosts").symlink_to(victim)
    elif kind == "link-up":
        (etc / "hosts").symlink_to("/".join([".."] * 30 + [str(victim)]))
    elif kind == "fifo":
        os.mkfifo(etc / "hosts")
    elif kind == "directory":
        (etc / "hosts").mkdir()
    else:
        etc.rmdir()
        etc.symlink_to(tmp_path)
    names.refresh(paths, web)
    assert victim.read_text() == "whole\n"
    assert not (tmp_path / "hosts").exists()
