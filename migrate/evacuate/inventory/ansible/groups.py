"""Groups, children and variables of an Ansible inventory, and the hosts that come of them.

Source: docs.ansible.com, "How to build your inventory": of variables the host's own win, then those
of the deepest group; among groups of one depth those with the higher `ansible_group_priority`,
then those later in the alphabet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from migrate.evacuate.inventory.hosts import (
    HOSTS_LIMIT,
    Host,
    Inventory,
    bad,
    checked,
    name_fault,
)
from migrate.transfer.target import Target

GROUPS_LIMIT = 1000
LABEL_PREFIX = "migrate_label_"
PRIORITY = "ansible_group_priority"
_BUILT_IN = ("all", "ungrouped")
_OVER_SSH = {"ssh", "smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh",
             "ansible.builtin.paramiko_ssh"}  # fmt: skip
_READ = {"ansible_host", "ansible_ssh_host", "ansible_port", "ansible_ssh_port", "ansible_user",
         "ansible_ssh_user", "ansible_connection", PRIORITY}  # fmt: skip
Variables = dict[str, str]


@dataclass
class Group:
    """One group as the file has it; dictionaries keep the order and drop repetitions."""

    variables: Variables = field(default_factory=dict)
    hosts: dict[str, None] = field(default_factory=dict)
    children: dict[str, None] = field(default_factory=dict)


class Tree:
    """What has been read so far, within bounds: 1,000 hosts and 1,000 groups."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.groups: dict[str, Group] = {name: Group() for name in _BUILT_IN}
        self.hosts: dict[str, Variables] = {}

    def group(self, name: str, place: str) -> Group:
        """The group of that name, made if it is new; raises InventoryBad."""
        if name not in self.groups:
            if len(self.groups) >= GROUPS_LIMIT:
                raise bad(self.path, place, f"more than {GROUPS_LIMIT} groups")
            if not 0 < len(name) <= 100 or not name.isprintable() or set(name) & set(" =:[]"):
                raise bad(self.path, place, f"{name[:80]!r} is no group's name")
            self.groups[name] = Group()
        return self.groups[name]

    def host(self, name: str, group: str, place: str) -> Variables:
        """The variables of a host that is in `group`, too; raises InventoryBad."""
        self.group(group, place).hosts[name] = None
        if name not in self.hosts:
            if fault := name_fault(name):
                raise bad(self.path, place, fault)
            if len(self.hosts) >= HOSTS_LIMIT:
                raise bad(self.path, place, f"more than {HOSTS_LIMIT} hosts")
            self.hosts[name] = {}
        return self.hosts[name]


def is_read(name: str) -> bool:
    """Whether a variable of that name is of any use here."""
    return name in _READ or name.startswith(LABEL_PREFIX)


def evaluate(tree: Tree) -> Inventory:
    """The hosts with address and labels; raises InventoryBad."""
    order = _parents_first(tree)
    depth = {name: int(name != "all") for name in tree.groups}
    above: dict[str, set[str]] = {name: {name, "all"} for name in tree.groups}
    for name in order:
        for child in tree.groups[name].children:
            depth[child] = max(depth[child], depth[name] + 1)
            above[child] |= above[name]
    member_of: dict[str, set[str]] = {name: {"all"} for name in tree.hosts}
    for name, group in tree.groups.items():
        for host in group.hosts:
            member_of[host] |= above[name]
    rank = {name: (depth[name], _priority(tree, name), name) for name in order}
    hosts, left_out = {}, {}
    for name, own in tree.hosts.items():
        groups = sorted(member_of[name], key=rank.__getitem__)
        variables = {k: v for g in groups for k, v in tree.groups[g].variables.items()} | own
        if why := _unreachable(variables):
            left_out[name] = why
        else:
            hosts[name] = _host(tree.path, name, variables, groups)
    return Inventory(tree.path, hosts, left_out)


def _parents_first(tree: Tree) -> list[str]:
    """All groups, each after those that it is a child of; raises InventoryBad for a circle."""
    waits_for = dict.fromkeys(tree.groups, 0)
    for group in tree.groups.values():
        for child in group.children:
            waits_for[child] += 1
    if waits_for["all"]:
        raise bad(tree.path, "group all", "it is a child of another")
    order = [name for name, count in waits_for.items() if not count]
    for name in order:  # it grows
        for child in tree.groups[name].children:
            waits_for[child] -= 1
            if not waits_for[child]:
                order.append(child)
    if len(order) < len(tree.groups):
        circle = sorted(tree.groups.keys() - set(order))
        raise bad(tree.path, f"group {circle[0]}", "it is, over its children, a child of its own")
    return order


def _priority(tree: Tree, name: str) -> int:
    text = tree.groups[name].variables.get(PRIORITY, "1")
    if not text.isdecimal() or len(text) > 9:
        raise bad(tree.path, f"group {name}, {PRIORITY}", f"'{text[:80]}' is no number")
    return int(text)


def _unreachable(variables: Mapping[str, str]) -> str:
    kind = variables.get("ansible_connection", "ssh")
    if kind in _OVER_SSH or kind == "local":
        return ""
    return f"its ansible_connection is '{kind[:40]}', not ssh"


def _host(path: Path, name: str, variables: Variables, groups: list[str]) -> Host:
    place = f"host {name}"
    _refuse_templates(path, place, variables)
    labels = {f"group.{group}": "" for group in groups if group not in _BUILT_IN}
    labels |= dict(_own_labels(variables))
    address = ""
    if variables.get("ansible_connection") != "local":
        address = _address(path, place, name, variables)
    return checked(path, place, Host(name, address, labels))


def _own_labels(variables: Variables) -> Iterator[tuple[str, str]]:
    for key, value in variables.items():
        if key.startswith(LABEL_PREFIX):
            yield key.removeprefix(LABEL_PREFIX), value


def _refuse_templates(path: Path, place: str, variables: Variables) -> None:
    for key, value in variables.items():
        if "{{" in value or "{%" in value:
            raise bad(path, f"{place}, {key}", f"templates are not evaluated: {value[:80]}")


def _address(path: Path, place: str, name: str, variables: Variables) -> str:
    def value(word: str) -> str:
        return variables.get(f"ansible_{word}") or variables.get(f"ansible_ssh_{word}") or ""

    port = value("port")
    if port and not (port.isdecimal() and port.isascii() and len(port) <= 5):
        raise bad(path, f"{place}, ansible_port", f"'{port[:80]}' is no port")
    host = value("host").removeprefix("[").removesuffix("]")
    return str(Target(host or name, value("user") or None, int(port) if port else None))
