"""Network drivers behind one interface, chosen by name."""

from __future__ import annotations

from migrate.runtime.errors import SpecInvalid
from migrate.runtime.networks.bridge import Bridge
from migrate.runtime.networks.driver import Driver
from migrate.runtime.networks.simple import HostNetwork, NoNetwork

__all__ = ["DRIVERS", "Driver", "driver_of"]

DRIVERS: dict[str, Driver] = {"none": NoNetwork(), "host": HostNetwork(), "bridge": Bridge()}


def driver_of(name: str) -> Driver:
    """The driver of that name; raises SpecInvalid."""
    try:
        return DRIVERS[name]
    except KeyError:
        raise SpecInvalid(
            f"this migrate has no network driver '{name}'",
            mend=f"choose one of {', '.join(DRIVERS)}",
        ) from None
