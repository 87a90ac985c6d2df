"""The control group of a container: where `linux.cgroupsPath` says, in every hierarchy."""

from __future__ import annotations

import contextlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from migrate.kernel.devicefilter import Rule, attach
from migrate.oci.errors import BadConfig, Unsupported
from migrate.runtime.cgroups import resources, v2
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.cgroups.layout import detect
from migrate.runtime.cgroups.tree import DEVICES
from migrate.runtime.errors import CgroupFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrate.oci.filesystem import Groups
    from migrate.oci.records import Container

DEFAULT_PARENT = "migrate-oci"


def group_of(path: str, identifier: str, *, systemd: bool) -> ControlGroup:
    """The group of `linux.cgroupsPath` beneath each hierarchy's mount point.

    With `systemd` its form is "slice:prefix:name". Raises BadConfig, Unsupported.
    """
    if systemd:
        from migrate.oci import systemd as units

        parent, name = units.group_of(path, identifier)
        return ControlGroup(name, detect(), parent)
    if path.count(":") == 2:
        raise Unsupported(
            f"cgroupsPath {path!r} is of systemd's form", cause="--systemd-cgroup is not given",
            mend="give it, or use the engine's cgroupfs driver (Podman: --cgroup-manager cgroupfs)",
        )  # fmt: skip
    parts = [p for p in PurePosixPath(path).parts if p != "/"] or [DEFAULT_PARENT, identifier]
    if ".." in parts:
        raise BadConfig("config.json is not valid", cause=f"cgroupsPath {path} leads upwards")
    return ControlGroup(parts[-1], detect(), "/".join(parts[:-1]))


def of_state(state: dict[str, Any]) -> ControlGroup:
    """The group of a container's stored state."""
    return ControlGroup(state["cgroup"]["name"], detect(), state["cgroup"]["parent"])


def describe(group: ControlGroup, *, systemd: bool = False) -> dict[str, Any]:
    """What the stored state keeps of it; `systemd`: it is a unit of that name."""
    return {
        "systemd": systemd, "also": [],
        "name": group.name, "parent": group.parent, "freezer": str(group.freezer),
        "freezerVersion": group.layout.freezer_version,
    }  # fmt: skip


@contextlib.contextmanager
def made(container: Container, group: ControlGroup, spec: dict[str, Any]) -> Iterator[list[str]]:
    """Make and limit it; its directories, to be joined within the block.

    Raises CgroupFailed, SpecInvalid.
    """
    wanted = (spec.get("linux") or {}).get("resources") or {}
    kept = container.state["cgroup"]
    if not kept["systemd"]:
        make(group, wanted)
        yield [str(path) for path in group.directories]
        return
    from migrate.oci import systemd as units

    text = f"migrate-oci container {container.identifier}"
    with units.scope(group.name, group.parent, spec, text) as also:
        container.save(cgroup=kept | {"also": also})
        make(group, wanted)
        yield [*map(str, group.directories), *also]


def remove(container: Container) -> None:
    """Remove the empty group, and systemd's unit; raises CgroupFailed."""
    kept = container.state["cgroup"]
    group = of_state(container.state)
    if kept.get("systemd"):
        from migrate.oci import systemd as units

        units.stop(group.name)
    group.remove()
    remove_parent(group)


def make(group: ControlGroup, wanted: dict[str, Any]) -> None:
    """Make and limit it; raises CgroupFailed, SpecInvalid."""
    settings = resources.settings(wanted, group.layout)
    rules = resources.device_rules(wanted)
    group.create()
    limit_devices(group, rules)
    limit(group, settings)


def _enable(group: ControlGroup, settings: list[resources.Setting]) -> None:
    """The controllers of version 2 that limits need (config-linux.md, "Unified")."""
    layout = group.layout
    wanted = {s.file.partition(".")[0] for s in settings if s.controller not in layout.v1}
    if layout.v2 and (wanted & layout.v2_controllers):
        try:
            v2.enable(layout.v2, group.parent, wanted & layout.v2_controllers)
        except OSError as error:
            raise CgroupFailed("can't enable controllers", cause=str(error)) from error


def limit(group: ControlGroup, settings: list[resources.Setting]) -> None:
    """Write limits; raises CgroupFailed."""
    _enable(group, settings)
    layout = group.layout
    own = {c: root / group.parent / group.name for c, root in layout.v1.items()}
    unified = layout.v2 / group.parent / group.name if layout.v2 else None
    resources.apply(settings, own, unified)


def limit_devices(group: ControlGroup, rules: list[Rule]) -> None:
    """The rules in their order, then the default devices, which always are there."""
    layout = group.layout
    whole = [*rules, *((True, rule) for rule in DEVICES)]
    if "devices" in layout.v1:
        _write_rules(layout.v1["devices"] / group.parent / group.name, whole if rules else [])
    elif layout.v2:
        try:
            attach(layout.v2 / group.parent / group.name, [(False, "a *:* rwm"), *whole])
        except (OSError, LookupError) as error:
            raise CgroupFailed("can't limit devices (bpf(2))", cause=str(error)) from error


def _write_rules(directory: Path, rules: list[Rule]) -> None:
    for allow, rule in rules:
        try:
            (directory / ("devices.allow" if allow else "devices.deny")).write_text(rule)
        except OSError as error:
            raise CgroupFailed(f"can't set the device rule {rule}", cause=str(error)) from error


def update_devices(group: ControlGroup, rules: list[Rule]) -> None:
    """Other rules for a group that has some; raises CgroupFailed."""
    if rules:
        limit_devices(group, rules)


def remove_parent(group: ControlGroup) -> None:
    """The group of all that name no group goes with the last of them."""
    if group.parent == DEFAULT_PARENT:
        for directory in group.directories:
            with contextlib.suppress(OSError):
                directory.parent.rmdir()


def to_mount(group: ControlGroup) -> Groups:
    """What a mount of type cgroup shows: name below it and directory, a hierarchy each."""
    layout = group.layout
    if not layout.v1:
        return [("", str(group.directories[0]))]
    found = [(root.name, str(root / group.parent / group.name))
             for root in dict.fromkeys(layout.v1.values())]  # fmt: skip
    if layout.v2:
        found.append((layout.v2.name, str(layout.v2 / group.parent / group.name)))
    return found
