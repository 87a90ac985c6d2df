"""What takes a routed container's packets while it is held: the route leads to a TAP meanwhile.

At the source that is its own TAP until the target has one; then the source's route leads to the
target. So whoever sends to the source goes on doing so: nobody has to be told within the pause.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from migrate.kernel import netlink, rtnetlink
from migrate.runtime.networks import device, routedlink
from migrate.runtime.networks.standin import StandIn
from migrate.runtime.networks.underlay import Underlay
from migrate.runtime.networks.whereabouts import addresses_of
from migrate.runtime.paths import ContainerPaths
from migrate.runtime.records import Network


@dataclass(frozen=True)
class Routes:
    """Routes to other hosts, by this host's interface in the underlay."""

    interface: str

    def lead_to(self, wanted: Iterable[str], host: str, host6: str) -> None:
        """Container addresses by a host, with no route where it has no address of that kind.

        Raises OSError.
        """
        for address in wanted:
            gateway = (host6 or (host if ":" in host else "")) if ":" in address else host
            if gateway:
                rtnetlink.replace_route(
                    address, interface=self.interface, gateway=gateway,
                    protocol=rtnetlink.PROTOCOL_ELSEWHERE,
                )  # fmt: skip


class RoutedStandIn(StandIn):
    """A TAP interface with the container's addresses behind it."""

    def __init__(self, own: ContainerPaths, network: Network, place: Underlay) -> None:
        """Raises OSError where there can be none (no TUN driver)."""
        name = tap_of(own)
        super().__init__(name, "", network.mac, "", "")
        self._own, self._network, self._place = own, network, place
        try:
            for setting, value in (("accept_ra", "0"), ("addr_gen_mode", "1")):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"/proc/sys/net/ipv6/conf/{name}/{setting}").write_text(value)
            routedlink.know(name, network)
        except BaseException:
            self.close()
            raise
        device.await_link(name)

    @staticmethod
    def turn_routes(own: ContainerPaths, network: Network) -> None:
        """Lead the routes to the stand-in, or nowhere while there is none; raises OSError."""
        name = tap_of(own) if netlink.interface_index(tap_of(own)) is not None else ""
        for address in addresses_of(network):
            rtnetlink.replace_route(address, interface=name, protocol=rtnetlink.PROTOCOL_HERE)

    def take_over(self) -> tuple[str, str]:
        """The routes lead here; returns this host's addresses in the underlay."""
        with contextlib.suppress(OSError):
            self.turn_routes(self._own, self._network)
        return self._place.address, self._place.address6

    def point_to(self, host: str, host6: str) -> None:
        """The routes lead to the host that has taken over, if it is a peer."""
        if host in self._place.peers:
            with contextlib.suppress(OSError):
                routes = Routes(self._place.interface)
                routes.lead_to(addresses_of(self._network), host, host6)


def tap_of(own: ContainerPaths) -> str:
    """The name of the interface that stands in."""
    return f"ms{own.identifier[:12]}"
