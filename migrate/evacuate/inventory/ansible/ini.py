"""An Ansible inventory in INI.

Source: docs.ansible.com, "How to build your inventory"; ansible/ansible,
lib/ansible/plugins/inventory/ini.py. Values are kept as they are written; only a pair of quotes
around one is taken off.
"""

from __future__ import annotations

import re
import shlex

from migrate.evacuate.inventory.ansible.groups import Group, Tree, Variables, is_read
from migrate.evacuate.inventory.ansible.ranges import expand
from migrate.evacuate.inventory.hosts import bad

_SECTION = re.compile(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:[#;].*)?")


def read_ini(tree: Tree, text: str) -> None:
    """Put what the text says into `tree`; raises InventoryBad with the line."""
    _Reader(tree).read(text)


class _Reader:
    """Line by line: the section that is being read, and what must still be defined."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._name, self._kind = "ungrouped", "hosts"
        self._defined = set(tree.groups)
        self._mentioned: dict[str, str] = {}  # group -> place

    def read(self, text: str) -> None:
        for number, raw in enumerate(text.split("\n"), 1):
            line = raw.strip()
            if line and line[0] not in "#;":
                self._line(line, f"line {number}")
        for name, place in self._mentioned.items():
            if name not in self._defined:
                raise bad(self._tree.path, place, f"there is no group '{name[:80]}'")

    def _line(self, line: str, place: str) -> None:
        section = _SECTION.fullmatch(line)
        if section:
            self._enter(section[1], section[2] or "hosts", place)
        elif self._kind == "hosts":
            self._hosts(line, place)
        elif self._kind == "children":
            name = line.partition("#")[0].strip()
            self._group(name, place)
            self._mentioned.setdefault(name, place)
            self._group(self._name, place).children[name] = None
        else:
            key, equals, value = line.partition("=")
            if not equals:
                raise bad(self._tree.path, place, "no KEY=VALUE below [GROUP:vars]")
            _set(self._group(self._name, place).variables, key.strip(), _unquoted(value.strip()))

    def _group(self, name: str, place: str) -> Group:
        return self._tree.group(name, place)

    def _enter(self, name: str, kind: str, place: str) -> None:
        if kind not in {"hosts", "children", "vars"}:
            raise bad(self._tree.path, place, f"[GROUP:{kind[:40]}] is none of :vars and :children")
        self._group(name, place)
        self._name, self._kind = name, kind
        if kind == "vars":
            self._mentioned.setdefault(name, place)
        else:
            self._defined.add(name)

    def _hosts(self, line: str, place: str) -> None:
        try:
            pattern, *words = shlex.split(line, comments=True) or [""]
            names, port = expand(pattern)
        except ValueError as error:
            raise bad(self._tree.path, place, str(error)) from error
        for name in names:
            variables = self._tree.host(name, self._name, place)
            if port:
                variables["ansible_port"] = port
            for word in words:
                key, equals, value = word.partition("=")
                if not equals or not key:
                    raise bad(self._tree.path, place, f"'{word[:80]}' is no KEY=VALUE")
                _set(variables, key, value)


def _set(variables: Variables, key: str, value: str) -> None:
    if is_read(key):
        variables[key] = value


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value
