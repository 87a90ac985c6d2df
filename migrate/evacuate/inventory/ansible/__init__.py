"""An Ansible inventory, read as it stands and never written: INI or YAML, one file.

Not read: group_vars and host_vars directories, inventory plugins and programs, templates.
"""

from __future__ import annotations

from pathlib import Path

from migrate.evacuate.errors import InventoryBad
from migrate.evacuate.inventory.ansible.groups import Tree, evaluate
from migrate.evacuate.inventory.ansible.ini import read_ini
from migrate.evacuate.inventory.ansible.yamlfile import read_yaml
from migrate.evacuate.inventory.hosts import Inventory, check_lines

YAML = {".yml", ".yaml", ".json"}


def read(path: Path, data: bytes) -> Inventory:
    """The hosts of the inventory in `data`; its groups are labels. Raises InventoryBad."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InventoryBad(f"the inventory {path} is no text", cause=str(error)) from error
    if text.startswith("#!"):
        raise InventoryBad(
            f"the inventory {path} is a program",
            cause="dynamic inventories are not read",
            mend="write down what it prints: 'ansible-inventory -i PROGRAM --list --yaml'",
        )
    tree = Tree(path)
    if _is_yaml(path, text):
        read_yaml(tree, text)
    else:
        check_lines(path, text)
        read_ini(tree, text)
    return evaluate(tree)


def _is_yaml(path: Path, text: str) -> bool:
    """By the name, or, where that says nothing, by a first line as only YAML has it."""
    if path.suffix.lower() in YAML:
        return True
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and line[0] not in "#;"), "")
    return first == "---" or (first.endswith(":") and not first.startswith("["))
