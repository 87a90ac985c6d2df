"""What can go wrong with CRIU itself (codes 55-64)."""

from __future__ import annotations

from migrate.errors import MigrateError


class CriuMissing(MigrateError):
    """There is no CRIU on this host that migrate may use."""

    code = 55
    mend = "run 'make setup', or 'migrate doctor --fix' on an installed host, to provide it"


class CriuTooOld(MigrateError):
    """The CRIU at hand is older than the operation needs."""

    code = 56
    mend = "run 'make setup' to provide CRIU 4.2.1 in a private prefix"


class CriuProbeFailed(MigrateError):
    """CRIU starts, but can't dump and restore a process with a TCP connection on this host."""

    code = 57
    mend = "run 'migrate doctor' to see which kernel feature is missing"
