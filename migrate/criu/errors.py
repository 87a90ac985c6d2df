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


class CriuFailed(MigrateError):
    """CRIU gave up a dump or a restore; the cause is the first error of its log."""

    code = 58
    mend = "'migrate doctor' tests CRIU on this host; the whole log is kept where the cause says"


class CriuDied(MigrateError):
    """The CRIU process ended without an answer."""

    code = 59
    mend = "try again; if it dies again, see the kernel's log for the reason (dmesg)"


class FilterNotBuilt(MigrateError):
    """The library that lets CRIU leave out memory that has travelled already is missing."""

    code = 63
    mend = "install a C compiler ('apt-get install tcc' is enough), then run 'migrate doctor --fix'"


class ImageBad(MigrateError):
    """An image of CRIU's is damaged, truncated, or none at all; nothing was changed."""

    code = 60
    mend = "make the dump again"
