"""Control groups that a container makes inside its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from migrate.checkpoint import subgroups
from migrate.checkpoint.bring_back import bring_back
from migrate.checkpoint.errors import PlaceUnfit
from migrate.checkpoint.save import save
from migrate.checkpoint.subgroups import Subgroup
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.cgroups.layout import Layout
from migrate.runtime.records import load_process


@pytest.mark.parametrize("group", [
    Subgroup("pids", "../other"), Subgroup("pids", "/etc"), Subgroup("pids", "a//b"),
    Subgroup("pids", "a/./b"), Subgroup("pids", "a\0b"), Subgroup("", "a" * 5000),
    Subgroup("../pids", "a"), Subgroup("net_cls", "a"),
    Subgroup("pids", "a", {"cgroup.procs": "1"}), Subgroup("pids", "a", {"cpu.max": "1"}),
    Subgroup("pids", "a", {"pids.max": "1" * 5000}), Subgroup("", "a", enabled="c" * 5000),
])  # fmt: skip
def test_what_no_dump_writes_is_refused(group: Subgroup):
    with pytest.raises(ValueError, match=r"control group|controller"):
        subgroups.check((group,))


def test_too_many_are_refused():
    with pytest.raises(ValueError, match="too many"):
        subgroups.check(tuple(Subgroup("pids", f"{n}") for n in range(subgroups.MOST + 1)))


def test_all_that_is_read_is_accepted() -> None:
    subgroups.check(
        (Subgroup("", "", enabled="cpu pids"), Subgroup("pids", "a/b", {"pids.max": "5"}))
    )


def test_a_hierarchy_that_this_host_lacks(tmp_path: Path):
    place = ControlGroup("c", Layout({}, tmp_path, frozenset()))
    with pytest.raises(PlaceUnfit, match="'inner'"):
        subgroups.make(place, (Subgroup("pids", "inner"),))


@pytest.mark.root
@pytest.mark.criu
def test_they_come_back_with_limits_owners_and_members(place):
    record = place.counter()
    group = ControlGroup.of(record.identifier)
    root = group.layout.v1.get("pids")
    if root is None:
        pytest.skip("this host has no pids controller of version 1")
    inner = root / group.parent / group.name / "inner"
    (inner / "deeper").mkdir(parents=True)
    (inner / "pids.max").write_text("77")
    init = load_process(place.paths.container(record.identifier)).pid
    (inner / "deeper/cgroup.procs").write_text(str(init))
    (inner / "deeper/cgroup.procs").chmod(0o644)
    for part in (inner / "deeper", inner / "deeper/cgroup.procs"):
        os.chown(part, 7, 8)
    made = subgroups.read(group)
    assert 1 in made[1].pids  # what it starts comes and goes
    assert {found.path for found in made} == {"inner", "inner/deeper"}
    output = place.directory / "checkpoint"
    save(place.paths, record, str(output))
    assert not inner.exists()
    bring_back(place.paths, output)
    after = subgroups.read(group)
    assert [(g.path, g.values, g.owner) for g in after] == [
        (g.path, g.values, g.owner) for g in made
    ]
    assert 1 in after[1].pids
    assert (inner / "pids.max").read_text() == "77\n"
    owner = (inner / "deeper/cgroup.procs").stat()
    assert (owner.st_uid, owner.st_gid) == (7, 8)
    place.counts_on(record)
