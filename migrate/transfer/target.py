"""Where a host is: `user@host:port`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from migrate.transfer.errors import TargetInvalid

# Names that ssh would take for an option or the shell for more than a word are no host names.
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}\$?")
_SHAPE = re.compile(
    r"(?:(?P<user>.+)@)?(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^:@\[\]]+))(?::(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True)
class Target:
    """A host as the user named it; what is None comes from the SSH configuration."""

    host: str
    user: str | None = None
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Target:
        """`[user@]host[:port]`, IPv6 in brackets; raises TargetInvalid."""
        match = _SHAPE.fullmatch(text)
        if match is None:
            raise TargetInvalid(f"'{text}' does not name a host")
        user, host = match["user"], match["v6"] or match["host"]
        if match["v6"] is not None:
            _check_ipv6(text, match["v6"])
        elif not _HOST.fullmatch(host):
            raise TargetInvalid(f"'{host}' is no host name")
        if user is not None and not _USER.fullmatch(user):
            raise TargetInvalid(f"'{user}' is no user name")
        port = int(match["port"]) if match["port"] else None
        if port is not None and not 0 < port < 65536:
            raise TargetInvalid(f"{port} is no port", cause="ports go from 1 to 65535")
        return cls(host, user, port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.user}@" if self.user else ""
        return user + host + (f":{self.port}" if self.port else "")

    @property
    def ssh_arguments(self) -> list[str]:
        """Options and destination for OpenSSH's ssh."""
        user = ["-l", self.user] if self.user else []
        port = ["-p", str(self.port)] if self.port else []
        return [*user, *port, "--", self.host]


def _check_ipv6(text: str, address: str) -> None:
    try:
        ipaddress.IPv6Address(address)
    except ValueError as error:
        raise TargetInvalid(f"'{text}' holds no IPv6 address", cause=str(error)) from error
