"""What can go wrong with a move (codes 90-109)."""

from __future__ import annotations

from migrate.checkpoint.errors import EndedWithCriu
from migrate.errors import MigrateError, is_lack_of_memory


class MoveRefused(MigrateError):
    """Preflight found several obstacles; nothing was touched."""

    code = 90


class MoveRolledBack(MigrateError):
    """The move failed; the container runs on the source as before."""

    code = 91
    mend = "mend what the cause names, then move again"


class MoveUncertain(MigrateError):
    """It is not known whether the target has taken over; the source's copy is held frozen."""

    code = 92


class MoveUnknown(MigrateError):
    """No move of that id is known on this host."""

    code = 93


class MoveCommitted(MigrateError):
    """The move has been committed at the target: there is no way back."""

    code = 94
    mend = "run 'migrate recover' on the source host, which finishes the move"


class SameHost(MigrateError):
    """Source and target are one host."""

    code = 95
    mend = "name another host"


class TargetUnfit(MigrateError):
    """The target lacks something that the container needs."""

    code = 96


class ContainerUnfit(MigrateError):
    """Something in the container stands against its move."""

    code = 97


class MoveAborted(MigrateError):
    """The move was aborted at the target and can't go on."""

    code = 98
    mend = "move again"


class PeerChanged(MigrateError):
    """Another host answers at the address of the move's other side."""

    code = 99
    mend = "find the host that the move went to; 'migrate recover --at user@host' asks it instead"


class JournalBad(MigrateError):
    """A move's journal can't be read."""

    code = 100
    mend = "look at the file and at both hosts; don't start the container before you know"


class Interrupted(MigrateError):
    """The user stopped the move before it was committed; the container runs on the source."""

    code = 101
    mend = "move again when you like"


class HostSetupFailed(MigrateError):
    """migrate could not be installed at another host; what was there is whole."""

    code = 105
    mend = "mend what the cause names, then run 'migrate host setup' again"


class HostPythonUnfit(MigrateError):
    """The other host has no Python that migrate can run on, or none that we have packages for."""

    code = 106
    mend = "install python3 >= 3.11 there (Debian 12 and later have it)"


class TraceUnwritable(MigrateError):
    """The file for a move's trace can't be written."""

    code = 104
    mend = "give --trace a file in a directory that you may write to"


class ContainerEnded(MigrateError):
    """The container's program came to its end while it was to be moved."""

    code = 102
    mend = "see 'migrate logs' and 'migrate ps -a' for its output and exit status"


class PagesOwed(MigrateError):
    """The container runs at the target, and some of its memory is still on the source only."""

    code = 107


class MemoryGone(MigrateError):
    """Memory that a container needs was lost with its frozen copy on the source."""

    code = 108


class MemoryDiffers(MigrateError):
    """With --verify: the copy at the target does not hold what the source holds."""

    code = 109
    mend = "tell the developers: this must not happen"


class RefusedByPolicy(MigrateError):
    """The target's policy does not take this container from this sender."""

    code = 17
    mend = "ask who runs that host: /etc/migrate/policy.toml there says what it takes from whom"


class PolicyBad(MigrateError):
    """The target's policy can't be used; it takes nothing until it can."""

    code = 18
    mend = "mend or remove the file on that host"


class NotTheAgent(MigrateError):
    """A key that may run nothing but the agent was used for something else."""

    code = 19
    mend = "use another key for it"


def not_written(name: str, error: BaseException, refused: BaseException) -> MoveRolledBack:
    """What a move tells that was undone because of `error`, as far as this host let it."""
    first = error.what if isinstance(error, MigrateError) else repr(error)
    return MoveRolledBack(
        f"'{name}' did not move, and this host could not write that down",
        cause=f"{refused!r}, after: {first}",
        mend=f"mend that, then run 'migrate recover {name}', which lets it run if it does not yet",
    )


def rolled_back(name: str, error: BaseException, *, ended: bool) -> BaseException:
    """What a move that was undone because of `error` tells; an unforeseen error stays as it is.

    `ended`: the container's first process runs no more.
    """
    here = f"'{name}' did not move, and runs here as before"
    if ended and not isinstance(error, EndedWithCriu):
        cause = error.what if isinstance(error, MigrateError) else str(error)
        return ContainerEnded(f"'{name}' did not move: it has ended meanwhile", cause=cause)
    if isinstance(error, KeyboardInterrupt):
        return Interrupted(
            f"the move of '{name}' was interrupted",
            cause="it was stopped before COMMIT; the container runs here as before",
        )
    if isinstance(error, EndedWithCriu | MoveRolledBack):
        return error  # nothing runs here as before; it says itself what does
    if isinstance(error, MigrateError):
        cause = f"{error.what}: {error.cause}" if error.cause else error.what
        return MoveRolledBack(here, cause=cause, mend=error.mend or None)
    if is_lack_of_memory(error):
        return MoveRolledBack(here, cause=f"this command can get no more memory: {error!r}")
    return MoveRolledBack(here, cause=str(error)) if isinstance(error, OSError) else error
