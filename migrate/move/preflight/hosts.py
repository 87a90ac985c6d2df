"""What in two hosts' facts stands against a move between them."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator

from migrate.checkpoint.preflight import Verdict
from migrate.checkpoint.subgroups import Subgroup
from migrate.errors import MigrateError
from migrate.kernel import lsm
from migrate.move.errors import SameHost, TargetUnfit
from migrate.move.facts import Facts
from migrate.move.preflight.target import CPU_SUBJECT

CLOCKS_APART = 10.0  # seconds that the hosts' clocks may differ


def same_host(here: Facts, there: Facts) -> Verdict:
    """A container can't move to where it is."""
    same = here.host_id == there.host_id
    found = (SameHost("the target is this very host"),) if same else ()
    return Verdict("hosts", "that the target is another host", found, skippable=False)


def with_memory(here: Facts, there: Facts, skip: Collection[str]) -> list[Verdict]:
    """Checks of a move that keeps memory."""
    checks = (
        ("architecture", "the hosts' machine code", _architecture, False),
        ("criu", "CRIU on both hosts", _criu, False),
        ("cpu", CPU_SUBJECT, _cpu, True),
        ("clock", "the hosts' clocks", _clock, True),
    )
    return [
        Verdict(name, subject, tuple(check(here, there)), skippable, skippable and name in skip)
        for name, subject, check, skippable in checks
    ]


def room(there: Facts, *, memory: int, disk: int, skip: Collection[str]) -> list[Verdict]:
    """Whether the target has the memory and disk; sizes in bytes."""
    return [
        Verdict("memory", "the target's free memory", tuple(_memory(there, memory)),
                skipped="memory" in skip),
        Verdict("disk", "the target's free disk space", tuple(_disk(there, disk)),
                skipped="disk" in skip),
    ]  # fmt: skip


def _architecture(here: Facts, there: Facts) -> Iterator[MigrateError]:
    if here.machine != there.machine:
        yield TargetUnfit(
            f"the target is {there.machine}, this host {here.machine}",
            cause="memory images hold machine code of one architecture",
            mend="choose a host of the same architecture, or --mode cold",
        )


def _criu(here: Facts, there: Facts) -> Iterator[MigrateError]:
    for side, facts in (("this host", here), ("the target", there)):
        if not facts.criu:
            yield TargetUnfit(
                f"{side} has no CRIU",
                cause="none was set up there",
                mend="run 'migrate host setup' for the target, 'migrate doctor --fix' here",
            )
    if here.criu and there.criu and version_numbers(there.criu) < version_numbers(here.criu):
        yield TargetUnfit(
            f"the target's CRIU is too old: {there.criu}",
            cause=f"images written by CRIU {here.criu} need that version or a newer one",
            mend="run 'migrate host setup' for the target",
        )


def _cpu(here: Facts, there: Facts) -> Iterator[MigrateError]:
    lacking = sorted(set(here.cpu_flags) - set(there.cpu_flags))
    if here.machine == there.machine and lacking:
        yield TargetUnfit(
            "the target's CPU lacks features that this one has",
            cause=f"missing: {' '.join(lacking[:12])}",
            mend="choose a host with these features, or --mode cold",
        )


def _clock(here: Facts, there: Facts) -> Iterator[MigrateError]:
    if not there.clock:
        return  # an older migrate
    apart = there.clock - here.clock
    if abs(apart) > CLOCKS_APART:
        yield TargetUnfit(
            f"the target's clock is {abs(apart):.0f} s {'fast' if apart > 0 else 'slow'}",
            cause="programs in the container would see time jump: leases, certificates and timers "
            "by the wall clock",
            mend="set the hosts' clocks (systemd-timesyncd, chrony)",
        )


def own_groups(there: Facts, groups: Collection[Subgroup]) -> Verdict:
    """Whether the target can make the control groups that the container has made inside its own."""
    found = sorted({group.path for group in groups if group.controller not in there.control_groups})
    obstacle = TargetUnfit(
        f"the target can't make the container's own control group '{found[0]}'",
        cause="its migrate is too old, or it has no hierarchy of that version and controller",
        mend="choose a host with the same control groups and this version of migrate",
    ) if found else None  # fmt: skip
    return Verdict(
        "control-groups", "control groups that were made inside the container",
        (obstacle,) if obstacle else (), skippable=False,
    )  # fmt: skip


def labels(here: Facts, there: Facts, found: Collection[str], skip: Collection[str]) -> Verdict:
    """Whether processes can be confined at the target as they are here: `found`, their labels."""
    return Verdict(
        "labels", "what AppArmor or SELinux confines its processes as",
        tuple(_labels(here, there, found)), skipped="labels" in skip,
    )  # fmt: skip


def _labels(here: Facts, there: Facts, found: Collection[str]) -> Iterator[MigrateError]:
    names = {lsm.APPARMOR: "AppArmor", lsm.SELINUX: "SELinux"}
    if not there.lsm or here.lsm not in names:
        return  # an older migrate; nothing is confined here
    for label in found:
        if there.lsm != here.lsm:
            yield TargetUnfit(
                f"{names[here.lsm]} confines a process as '{label}', and the target has "
                f"{names.get(there.lsm, 'no such module')}",
                cause="CRIU restores each process with the label that it had",
                mend=f"choose a host with {names[here.lsm]}, or --mode cold",
            )
        elif here.lsm == lsm.APPARMOR and label not in there.lsm_profiles:
            yield TargetUnfit(
                f"the target has not loaded the AppArmor profile '{label}'",
                cause="CRIU restores each process with the profile that it had",
                mend="copy it from /etc/apparmor.d here and load it there: apparmor_parser -r FILE",
            )


def _memory(there: Facts, needed: int) -> Iterator[MigrateError]:
    if there.memory_free < needed:
        yield TargetUnfit(
            "the target has too little free memory",
            cause=f"{needed >> 20} MiB needed, {there.memory_free >> 20} MiB free",
            mend="free memory there, or choose another host",
        )


def _disk(there: Facts, needed: int) -> Iterator[MigrateError]:
    if there.disk_free < needed:
        yield TargetUnfit(
            "the target's disk is too full",
            cause=f"{needed >> 20} MiB needed, {there.disk_free >> 20} MiB free",
            mend="free space there, or choose another host",
        )


def version_numbers(version: str) -> tuple[int, ...]:
    """The numbers of a dotted version, to compare by; parts that are no number are left out."""
    numbers = []
    for part in version.split("."):
        with contextlib.suppress(ValueError):
            numbers.append(int(part))
    return tuple(numbers)
