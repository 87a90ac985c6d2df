"""An Ansible inventory in YAML.

Source: docs.ansible.com, ansible.builtin.yaml inventory; ansible/ansible,
lib/ansible/plugins/inventory/yaml.py. Scalars are kept as they are written (`yes`, not true), and
tags that are none of plain YAML's, as !vault, have no value.
"""

from __future__ import annotations

from typing import Any

from migrate.evacuate.inventory.ansible.groups import Tree, Variables, is_read
from migrate.evacuate.inventory.ansible.ranges import expand
from migrate.evacuate.inventory.hosts import bad

NODES_LIMIT = 100_000
"""Nodes of the document, those that aliases repeat counted each time."""
DEPTH_LIMIT = 40


def read_yaml(tree: Tree, text: str) -> None:
    """Put what the text says into `tree`; raises InventoryBad with the place."""
    document = _load(tree, text)
    if document is None:
        return
    if not isinstance(document, dict):
        raise bad(tree.path, "the top", "it is no mapping of groups")
    if "plugin" in document:
        raise bad(
            tree.path, "'plugin'",
            "dynamic inventories are not read; 'ansible-inventory -i FILE --list --yaml' writes"
            " down what they give",
        )  # fmt: skip
    waiting = [(name, group, "") for name, group in document.items()]
    while waiting:
        name, group, parent = waiting.pop()
        waiting += _group(tree, name, group, parent)


def _load(tree: Tree, text: str) -> Any:
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        """SafeLoader, scalars as written."""

    def as_written(loader: Any, node: Any) -> Any:
        return loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None

    for kind in ("bool", "int", "float", "timestamp", "binary"):
        Loader.add_constructor(f"tag:yaml.org,2002:{kind}", as_written)
    Loader.add_constructor(None, lambda _loader, _node: None)
    try:
        _check_size(tree, yaml.parse(text, Loader=Loader))
        return yaml.load(text, Loader=Loader)  # noqa: S506 -- a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "some place"
        cause = " ".join(filter(None, (error.context, error.problem)))
        raise bad(tree.path, place, cause[:300]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise bad(tree.path, "some place", f"it is no YAML: {error}"[:300]) from error


def _check_size(tree: Tree, events: Any) -> None:
    """Bound nodes and depth, with what aliases repeat: later steps may expand them."""
    import yaml

    known: dict[str | None, tuple[int, int]] = {}
    open_nodes: list[list[int]] = [[0, 0]]  # nodes and height of each
    anchors: list[str | None] = []
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append([1, 0])
            anchors.append(event.anchor)
            known.pop(event.anchor, None)
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            nodes, height = open_nodes.pop()
            anchor = anchors.pop()
        elif isinstance(event, yaml.ScalarEvent):
            nodes, height, anchor = 1, 0, event.anchor
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in known:  # or it would hold itself
                raise bad(
                    tree.path, _line(event), f"the alias *{str(event.anchor)[:40]} is undefined"
                )
            (nodes, height), anchor = known[event.anchor], None
        else:
            continue
        if anchor:
            known[anchor] = (nodes, height)
        above = open_nodes[-1]
        above[0], above[1] = above[0] + nodes, max(above[1], height + 1)
        if above[0] > NODES_LIMIT or above[1] + len(open_nodes) > DEPTH_LIMIT:
            raise bad(
                tree.path, _line(event),
                f"more than {NODES_LIMIT} nodes, or deeper than {DEPTH_LIMIT}",
            )  # fmt: skip


def _line(event: Any) -> str:
    return f"line {event.start_mark.line + 1}"


def _section(tree: Tree, name: str, group: dict[Any, Any], key: str) -> dict[Any, Any]:
    """`hosts`, `vars` or `children` of a group; a single word stands for one without more."""
    found = group.get(key)
    if found is None:
        return {}
    if isinstance(found, str) and key != "vars":
        return {found: None} if found else {}
    if not isinstance(found, dict):
        raise bad(tree.path, f"group {name[:80]}, {key}", "it is no mapping")
    return found


def _group(tree: Tree, name: Any, group: Any, parent: str) -> list[tuple[Any, Any, str]]:
    """Take in one group; its children are returned, to be taken in next."""
    place = f"group {str(name)[:80]}"
    if not isinstance(name, str):
        raise bad(tree.path, place, "its name is no word")
    made = tree.group(name, place)
    if parent:
        tree.group(parent, place).children[name] = None
    if group is None or group == "":
        return []
    if not isinstance(group, dict):
        raise bad(tree.path, place, "it is no mapping of hosts, vars and children")
    _set_all(tree, made.variables, _section(tree, name, group, "vars"), place)
    for pattern, variables in _section(tree, name, group, "hosts").items():
        _hosts(tree, name, pattern, variables)
    return [
        (child, below, name) for child, below in _section(tree, name, group, "children").items()
    ]


def _hosts(tree: Tree, group: str, pattern: Any, variables: Any) -> None:
    place = f"group {group[:80]}, host {str(pattern)[:80]}"
    if not isinstance(pattern, str) or not (variables is None or isinstance(variables, dict)):
        raise bad(tree.path, place, "a host is a name with a mapping of variables, or with nothing")
    try:
        names, port = expand(pattern)
    except ValueError as error:
        raise bad(tree.path, place, str(error)) from error
    for name in names:
        own = tree.host(name, group, place)
        if port:
            own["ansible_port"] = port
        _set_all(tree, own, variables or {}, place)


def _set_all(tree: Tree, into: Variables, variables: dict[Any, Any], place: str) -> None:
    for key, value in variables.items():
        if not isinstance(key, str) or not is_read(key) or value is None:
            continue
        if not isinstance(value, str):
            raise bad(tree.path, f"{place}, {key[:80]}", "its value is no single word")
        into[key] = value
