"""Network drivers behind one interface, chosen by name."""

from __future__ import annotations

from migrate.runtime.errors import SpecInvalid
from migrate.runtime.networks.bridge import Bridge
from migrate.runtime.networks.driver import Driver, Spanning
from migrate.runtime.networks.overlay import Overlay
from migrate.runtime.networks.routed import Routed
from migrate.runtime.networks.simple import HostNetwork, NoNetwork
from migrate.runtime.records import Network

__all__ = ["DRIVERS", "Driver", "Spanning", "driver_of", "spanning", "takes_addresses"]

_SPANNING: dict[str, Spanning] = {"overlay": Overlay(), "routed": Routed()}
DRIVERS: dict[str, Driver] = {
    "none": NoNetwork(), "host": HostNetwork(), "bridge": Bridge(), **_SPANNING,
}  # fmt: skip


def takes_addresses(network: Network) -> bool:
    """Whether the container has addresses of its own, that somebody hands out."""
    return network.driver not in {"none", "host"}


def driver_of(name: str) -> Driver:
    """The driver of that name; raises SpecInvalid."""
    try:
        return DRIVERS[name]
    except KeyError:
        raise SpecInvalid(
            f"this migrate has no network driver '{name}'",
            mend=f"choose one of {', '.join(DRIVERS)}",
        ) from None


def spanning(name: str) -> Spanning | None:
    """The driver of that name, if its networks are over several hosts that tell each other."""
    return _SPANNING.get(name)
