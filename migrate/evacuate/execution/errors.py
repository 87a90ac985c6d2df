"""What can go wrong while a host is emptied (codes 51, 52, 120, 121)."""

from __future__ import annotations

from migrate.errors import MigrateError


class EvacuationJournalBad(MigrateError):
    """The journal of an evacuation can't be read."""

    code = 51
    mend = "look at the file; without it, 'migrate evacuate' plans anew and --return knows nothing"


class NothingToReturn(MigrateError):
    """No journal here says that an evacuation has moved something away from the host."""

    code = 52
    mend = "give the command where the evacuation was carried out"


class EvacuationIncomplete(MigrateError):
    """Not every container could go; each runs on one host, as the report says."""

    code = 120
    mend = "mend what the report names, then give the same command again: it goes on from there"


class HookFailed(MigrateError):
    """A hook ended with a failure; the container was not moved."""

    code = 121
    mend = "see the hook's own output; it gets the state as JSON on its standard input"
