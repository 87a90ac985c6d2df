"""Errors of the way between two hosts: codes 75-89."""

from __future__ import annotations

from migrate.errors import MigrateError


class ProtocolError(MigrateError):
    """The other side sent bytes that are not the wire protocol (docs/protocol.md)."""

    code = 75
    mend = "see that both hosts run the same version ('migrate host setup' installs it there)"


class ConnectionLost(MigrateError):
    """The connection ended while something was still being asked or sent."""

    code = 76
    mend = "see that the other host and the network are up, then run 'migrate recover'"


class HostUnreachable(MigrateError):
    """No SSH server answers at that address."""

    code = 77
    mend = "check the name, the port and the network, and that sshd runs there"


class AuthenticationFailed(MigrateError):
    """The SSH server accepts none of our keys."""

    code = 78
    mend = "add your public key to ~/.ssh/authorized_keys there (ssh-copy-id)"


class HostKeyUnknown(MigrateError):
    """The host's key is in no known_hosts file."""

    code = 79


class HostKeyChanged(MigrateError):
    """The host shows another key than the one in known_hosts."""

    code = 80


class AgentMissing(MigrateError):
    """migrate is not installed at the other host."""

    code = 81


class AgentIncompatible(MigrateError):
    """The other host's migrate speaks a protocol that this one does not."""

    code = 82
    mend = "install this version there: 'migrate host setup user@host'"


class MethodUnknown(MigrateError):
    """The agent does not know the method that was asked for."""

    code = 83
    mend = "install this version there: 'migrate host setup user@host'"


class ArgumentsInvalid(MigrateError):
    """An argument of a method is missing or has the wrong type."""

    code = 84
    mend = "see that both hosts run the same version ('migrate host setup' installs it there)"


class DataDamaged(MigrateError):
    """Bytes on a data connection do not fit their checksum, or end too early."""

    code = 85
    mend = "try again; if it happens twice, test the memory and the network of both hosts"


class PathRefused(MigrateError):
    """A name that leads out of the directory that was agreed, or through a link."""

    code = 86
    mend = "the other side is broken or hostile: nothing was written outside the directory"


class TargetInvalid(MigrateError):
    """The text does not name a host."""

    code = 87
    mend = "write it as user@host, user@host:port or user@[IPv6 address]:port"


class TimeLimitExceeded(MigrateError):
    """The other side did not answer within the time given for it."""

    code = 88
    mend = "see whether the other host is overloaded or the network is stuck, and try again"


class SshConfigUnsupported(MigrateError):
    """The SSH configuration asks for something that the control connection can't do."""

    code = 89
    mend = "give this host a simpler entry in ~/.ssh/config, or name its address directly"
