"""Cordoning a host of the inventory, this one or another."""

from __future__ import annotations

import msgspec

from migrate.evacuate.inventory.asking import call, printable
from migrate.evacuate.inventory.hosts import Host
from migrate.runtime import cordon
from migrate.runtime.cordon import Cordon
from migrate.runtime.paths import Paths
from migrate.transfer.errors import ProtocolError


def set_cordon(host: Host, *, by: str = "", why: str = "") -> Cordon:
    """Let a host take no containers; raises what `call` raises, ProtocolError, OSError."""
    if not host.address:
        return cordon.cordon(Paths.from_environment(), by=by, why=why)
    answer = call(host, "host.cordon", by=by, why=why)
    try:
        return msgspec.convert(printable(answer), Cordon)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"'{host.name}' answers no cordon", cause=str(error)[:300]) from error


def lift_cordon(host: Host) -> bool:
    """Let it take containers again; whether it was cordoned. Raises what `call` raises, OSError."""
    if not host.address:
        return cordon.uncordon(Paths.from_environment())
    return call(host, "host.uncordon") is True
