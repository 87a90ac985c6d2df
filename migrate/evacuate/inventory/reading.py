"""Where the inventory is, and reading it by what it is: our own TOML, or Ansible's INI or YAML."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from migrate.evacuate.errors import InventoryBad
from migrate.evacuate.inventory.hosts import Inventory, is_address, read_bounded

DEFAULT = Path("/etc/migrate/hosts.toml")
VARIABLE = "MIGRATE_INVENTORY"


@dataclass(frozen=True)
class Place:
    """The inventory's file; `named`: the user has named it, so it must be there to be read."""

    path: Path
    named: bool

    @property
    def is_ours(self) -> bool:
        """Whether it is migrate's own format, which it may change."""
        return self.path.suffix.lower() == ".toml"


def locate(option: str | Path | None = None) -> Place:
    """`option` (of --inventory), else MIGRATE_INVENTORY, else /etc/migrate/hosts.toml."""
    chosen = option or os.environ.get(VARIABLE)
    return Place(Path(chosen), named=True) if chosen else Place(DEFAULT, named=False)


def load_for(texts: Iterable[str], option: str | Path | None = None) -> Inventory:
    """The inventory for these names and addresses; raises InventoryBad.

    Addresses are what they are, whatever is wrong with the inventory.
    """
    place = locate(option)
    try:
        return load(place)
    except InventoryBad:
        if not all(map(is_address, texts)):
            raise
        return Inventory(place.path)


def load(place: Place) -> Inventory:
    """All hosts of the inventory; none where no file was named and there is none.

    Raises InventoryBad.
    """
    try:
        data = read_bounded(place.path)
    except FileNotFoundError:
        if not place.named:
            return Inventory(place.path)
        raise InventoryBad(
            f"there is no inventory {place.path}",
            mend="look at the path; 'migrate host add' makes a new one (FILE.toml)",
        ) from None
    if place.is_ours:
        from migrate.evacuate.inventory.tomlfile import parse

        return Inventory(place.path, parse(place.path, data))
    from migrate.evacuate.inventory.ansible import read

    return read(place.path, data)
