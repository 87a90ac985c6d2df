"""A claim in hand: renewed in the background, and known to be lost before anyone else can have it.

The time that counts runs from before the renewal was asked for, on a clock that goes on while the
machine sleeps (CLOCK_BOOTTIME): the store counts from later on. A thread that hangs can't hide a
loss, since `lost` looks at the clock.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from types import TracebackType

from migrate.errors import MigrateError
from migrate.evacuate.store.errors import LeaseLost
from migrate.evacuate.store.model import Claim

_SHORTEST_CALL = 0.1  # seconds
Told = Callable[[LeaseLost], None]


def now() -> float:
    """Seconds since boot, those asleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """A claim that holds until `release`, or until it is lost.

    `renew(within)` asks the store, in `within` seconds, for how long the claim holds from the call
    on (0: no longer); `revoke` gives it back. `told` is called once, by the renewing thread, with
    the error that `check` raises from then on.
    """

    def __init__(
        self, claim: Claim, *, held_until: float, seconds: float,
        renew: Callable[[float], float], revoke: Callable[[], None], told: Told | None = None,
    ) -> None:  # fmt: skip
        self.claim = claim
        self._until = held_until
        self._period = seconds / 3
        self._renew, self._revoke, self._told = renew, revoke, told
        self._why = ""
        self._gone = False
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._keep, name=f"lease {claim.name}"[:60], daemon=True
        )
        self._thread.start()

    @property
    def lost(self) -> bool:
        """Whether somebody else may have the claim by now; never again false once true."""
        if not self._gone and now() >= self._until:
            self._gone = True
        return self._gone

    def check(self) -> None:
        """To be called before anything new is started: raises LeaseLost."""
        if self.lost:
            raise self._error()

    def release(self) -> None:
        """Give the claim and its reservations back. A store that can't be reached lets them end."""
        self._ended.set()
        if self._thread is not threading.current_thread():
            self._thread.join()
        self._gone, self._why = True, self._why or "it was released"
        with contextlib.suppress(MigrateError):
            self._revoke()

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.release()

    def _error(self) -> LeaseLost:
        return LeaseLost(
            f"the claim on {self.claim.kind} {self.claim.name} is lost",
            cause=self._why or "it could not be renewed in time",
        )

    def _keep(self) -> None:
        """Renew three times in the life of a lease, and more often after a failure."""
        pause = self._period
        while not self._ended.wait(max(0.0, min(pause, self._until - now()))):
            try:
                self._renew_once()
                pause = self._period
            except MigrateError as error:
                self._why = f"it could not be renewed in time: {error.what}" + (
                    f" ({error.cause})" if error.cause else ""
                )
                pause = self._period / 4
            if self.lost:
                if not self._ended.is_set() and self._told is not None:
                    self._told(self._error())
                return

    def _renew_once(self) -> None:
        begun = now()
        if self.lost:
            return  # the store may still have it, but a claim lost stays lost
        # Not beyond the end: whoever is to be told of a loss is told then.
        seconds = self._renew(max(_SHORTEST_CALL, min(self._period, self._until - begun)))
        if seconds <= 0:
            self._why = "the store does not have it any more"
            self._gone = True
        elif not self.lost:
            self._why = ""
            self._until = begun + seconds
