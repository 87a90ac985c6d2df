"""What can go wrong with a benchmark (codes 110-111)."""

from __future__ import annotations

from migrate.errors import MigrateError


class BenchImpossible(MigrateError):
    """The benchmark can't run here."""

    code = 110


class BenchMissed(MigrateError):
    """A measured figure is worse than the one that must hold."""

    code = 111
    mend = "run it again on a quiet machine; if it stays, something has become slower"
