"""Two network namespaces with a link between them."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from migrate.kernel import netlink, netns


@contextlib.contextmanager
def linked(directory: Path, net: str, net6: str, mac: str = "") -> Iterator[tuple[Path, Path]]:
    """A server's, whose eth0 has that MAC, and a client's: NET.1 and NET.2, NET6::1 and NET6::2."""
    server, client = directory / "server", directory / "client"
    for path in (server, client):
        netns.create(path)
    address = ["address", mac] if mac else []
    subprocess.run(
        ["nsenter", f"--net={server}", "ip", "link", "add", "eth0", *address, "type", "veth",
         "peer", "name", "eth0", "netns", client],
        check=True,
    )  # fmt: skip
    for number, path in enumerate((server, client), 1):
        pairs = [(f"{net}.{number}/24", ""), (f"{net6}::{number}/64", "")]
        netlink.configure(path, "eth0", pairs)
    yield server, client
    for path in (server, client):
        netns.delete(path)
