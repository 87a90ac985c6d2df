"""What can go wrong with the inventory of hosts (codes 12, 13, 50) and with plan files (124)."""

from __future__ import annotations

from migrate.errors import MigrateError


class PlanBad(MigrateError):
    """A plan file is not what `migrate evacuate` wrote, or was edited into something else."""

    code = 124
    mend = "mend the place that is named, or make the plan anew"


class InventoryBad(MigrateError):
    """The inventory of hosts can't be read or written."""

    code = 12
    mend = "mend the file; 'migrate host ls --offline' shows whether it can be read"


class InventoryReadOnly(MigrateError):
    """The inventory belongs to Ansible: migrate only reads it."""

    code = 13
    mend = "change that file itself, or keep an inventory of migrate's own: --inventory FILE.toml"


class HostUnknown(MigrateError):
    """The name is in no inventory, and no address either."""

    code = 50
    mend = "'migrate host ls --offline' lists the hosts, 'migrate host add' adds one"
