"""What can go wrong with the fleet's store (codes 6-8, 103, 122, 123)."""

from __future__ import annotations

from migrate.errors import MigrateError


class RoomTaken(MigrateError):
    """A target's memory is reserved by others, so that not enough of it is left."""

    code = 6
    mend = "choose another target, or wait until the moves there have ended"


class GenerationTaken(MigrateError):
    """The container has changed hosts meanwhile: what is known of it is out of date."""

    code = 7
    mend = "plan again: ask the hosts where the container is now"


class StoreUnreadable(MigrateError):
    """What the store holds, or answered, is not what migrate writes there."""

    code = 8


class StoreUnreachable(MigrateError):
    """The store can't be read or written; nothing may be started without it."""

    code = 103


class ClaimTaken(MigrateError):
    """Somebody else works on that host or container."""

    code = 122


class LeaseLost(MigrateError):
    """The store may have given our claim to somebody else; nothing new may be started."""

    code = 123
    mend = (
        "moves under way end as they would have; see 'migrate fleet' for who has it now, then"
        " plan again"
    )
