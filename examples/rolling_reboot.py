#!/usr/bin/env python3
"""Reboot the hosts of an inventory one after another, while their containers run on elsewhere.

    rolling_reboot.py --inventory hosts.toml --dry-run
    rolling_reboot.py --inventory hosts.toml alpha beta

Each host is emptied to the others, told to reboot, awaited, and filled again. The first failure
ends it, with a list of what is where. The same command then goes on from there: a small file says
which hosts are done and which boot the one in hand had; all else the journals of migrate know.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from migrate import api
from migrate.errors import MigrateError
from migrate.kernel.files import write_atomically
from migrate.transfer.errors import ConnectionLost
from migrate.transfer.ssh import open_session
from migrate.transfer.target import Target

STATE_LIMIT = 1 << 20  # bytes of the file that is read
PAUSE = 0.5  # seconds between questions to a host that is down


class Trouble(Exception):
    """What the operator has to see to, in words."""


class Progress(msgspec.Struct):
    """How far the round is. `before`: by host, the boot that it was in when its turn came."""

    before: dict[str, str] = {}
    done: list[str] = []

    @classmethod
    def load(cls, path: Path) -> Progress:
        """What an earlier run has left, or a new round."""
        try:
            with path.open("rb") as file:
                return msgspec.json.decode(file.read(STATE_LIMIT), type=cls)
        except FileNotFoundError:
            return cls()
        except msgspec.DecodeError as error:
            raise Trouble(f"{path} can't be read ({error}): remove it for a new round") from error

    def save(self, path: Path) -> None:
        write_atomically(path, msgspec.json.encode(self))


class Lines(api.View):
    """Progress as lines."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def note(self, words: str) -> None:
        say(f"  {words}")

    def intent(self, plan: api.Plan) -> None:
        show(plan)

    def course(self, course: api.Course) -> None:
        name, state = course.task.name, str(course.state)
        if self._told.get(name) != state:
            self._told[name] = state
            say(f"  {name} -> {course.task.target}: {state}")

    def moment(self, courses: Sequence[api.Course]) -> None:
        """Nothing: lines come when something changes."""


def say(words: str) -> None:
    print(words, flush=True)


def show(plan: api.Plan) -> None:
    """Who goes where, and who stays."""
    for step in plan.steps:
        say(f"  {step.name} to {step.target}, {step.mode}, about {step.seconds:.1f} s")
    for stays in plan.stay:
        why = "; ".join(f"{host}: {words}" if host else words for host, words in stays.why.items())
        say(f"  {stays.name} stays, and ends with a reboot: {why}")
    for warning in plan.warnings:
        say(f"  warning: {warning}")


def boot_of(address: str) -> str:
    """What is another after each reboot: the kernel's boot id, and when its pid 1 was started.

    Hosts that are containers of one machine share its boot id, and have a pid 1 each.
    """
    with open_session(Target.parse(address), timeout=10) as ssh:
        status, out, _err = ssh.run("cat /proc/sys/kernel/random/boot_id /proc/1/stat")
    boot_id, _newline, stat = out.decode(errors="replace").partition("\n")
    fields = stat.rpartition(")")[2].split()  # proc(5): from the third on
    if status != 0 or len(fields) < 20:
        raise Trouble(f"{address} does not tell its boot id")
    return f"{boot_id} {fields[19]}"


def await_boot(address: str, limit: float, other_than: str = "") -> str:
    """The boot in which it answers, but not the one that is to end; `limit` in seconds."""
    deadline = time.monotonic() + limit
    last = "it does not go down"
    while True:  # it is asked once at least
        try:
            if (boot := boot_of(address)) != other_than:
                return boot
        except (MigrateError, Trouble) as error:
            last = str(error)
        if time.monotonic() >= deadline:
            raise Trouble(f"{address} has not come back within {limit:g} s: {last}")
        time.sleep(PAUSE)


def tell_to_reboot(address: str, command: str) -> None:
    with open_session(Target.parse(address)) as ssh:
        try:
            status, out, err = ssh.run(command)
        except ConnectionLost:
            return  # it went down before it could answer; its next boot will tell
    if status != 0:
        words = (err or out).decode(errors="replace").strip()
        raise Trouble(f"'{command}' at {address} ended with {status}: {words[:500]}")


class Round:
    """One round over the hosts, or what is left of it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._progress = Progress.load(options.state)
        answers = api.hosts(options.inventory)
        self._hosts = options.hosts or list(answers)
        for name in set(self._hosts) - set(answers):
            raise Trouble(f"there is no host '{name}' in the inventory")
        for name, answer in answers.items():
            self._check(name, answer)

    def _check(self, name: str, answer: api.HostState | MigrateError) -> None:
        """Nothing is begun while something is amiss already."""
        if name in self._progress.before and name not in self._progress.done:
            return  # in hand: it may be down, and is cordoned
        if isinstance(answer, MigrateError):
            raise answer
        if name in self._hosts and not answer.address:
            raise Trouble(f"{name} is this host: it can't see to its own return; name the others")
        if name in self._hosts and answer.cordoned:
            raise Trouble(f"{name} is cordoned already: uncordon it, or name the others")

    def _order(self, host: str) -> api.Order:
        options = self._options
        downtime = options.max_downtime / 1000 if options.max_downtime else None
        wish = api.Wish(options.parallel, downtime, on_failure="stop")
        return api.order(host, wish=wish, inventory=options.inventory)

    def plan(self) -> None:
        """What would be done if each host were the first."""
        for host in self._left():
            say(f"{host}: to be emptied and rebooted with '{self._options.reboot_command}'")
            plan, _state = api.plan_evacuation(self._order(host), store=self._options.store)
            show(plan)

    def carry_out(self) -> None:
        for host in set(self._hosts) & set(self._progress.done):
            say(f"{host}: done before, in this round ({self._options.state})")
        for host in self._left():
            self._reboot(host)
            self._progress.done.append(host)
            self._progress.save(self._options.state)
            say(f"{host}: done")
        self._options.state.unlink(missing_ok=True)

    def _left(self) -> list[str]:
        return [host for host in self._hosts if host not in self._progress.done]

    def _reboot(self, host: str) -> None:
        options, order = self._options, self._order(host)
        address = order.source.address
        boot = await_boot(address, options.reboot_timeout)
        before = self._progress.before.setdefault(host, boot)
        self._progress.save(options.state)
        if before == boot:
            self._empty(host, order)
            say(f"{host}: rebooting")
            tell_to_reboot(address, options.reboot_command)
            await_boot(address, options.reboot_timeout, other_than=boot)
        say(f"{host}: back; its containers return")
        self._fill(host, order)

    def _empty(self, host: str, order: api.Order) -> None:
        say(f"{host}: its containers leave")
        api.raise_incomplete(api.evacuate(order, store=self._options.store, view=Lines()))

    def _fill(self, host: str, order: api.Order) -> None:
        try:
            report = api.return_to(order, store=self._options.store, view=Lines())
        except api.NothingToReturn as error:
            say(f"  {error.what}")
            api.uncordon(host, inventory=self._options.inventory)
        else:
            api.raise_incomplete(report)


def tell_where(inventory: Path | None) -> None:
    """Every container, as the hosts say now."""
    for name, state in api.hosts(inventory).items():
        if isinstance(state, MigrateError):
            say(f"  {name}: {state.what}")
            continue
        here = ", ".join(f"{g.name} ({g.status})" for g in state.guests if g.status != "moved")
        say(f"  {name}{', cordoned' if state.cordoned else ''}: {here or 'no containers'}")


@contextlib.contextmanager
def alone(state: Path) -> Iterator[None]:
    """Two rounds at once would take two hosts down at once."""
    with state.with_suffix(".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Trouble(f"another round is on its way: it holds {file.name}") from None
        yield


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    state = Path(os.environ.get("MIGRATE_STATE", "/var/lib/migrate"), "rolling-reboot.json")
    parser = argparse.ArgumentParser(
        description="Reboot hosts one after another; their containers run on elsewhere.",
        epilog="Example: rolling_reboot.py --inventory hosts.toml --parallel 4 alpha beta",
    )
    add = parser.add_argument
    add("hosts", nargs="*", metavar="HOST", help="these, in this order; without: all")
    add("--inventory", type=Path, help="else MIGRATE_INVENTORY, else /etc/migrate/hosts.toml")
    add("--store", default=os.environ.get("MIGRATE_STORE"), help="as of 'migrate evacuate'")
    add("--parallel", type=int, default=2, help="moves at once (2)")
    add("--max-downtime", type=float, metavar="MS", help="of each container")
    add("--reboot-command", default="systemctl reboot", help="run at the host by SSH")
    add("--reboot-timeout", type=float, default=600, metavar="SECONDS", help="(600)")
    add("--state", type=Path, default=state, metavar="FILE", help=f"({state})")
    add("--dry-run", action="store_true", help="print the plans, touch nothing")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """0: all done; 1: stopped, the same command goes on; 130: interrupted, likewise."""
    options = options_of(arguments)
    try:
        if options.dry_run:
            Round(options).plan()
        else:
            with alone(options.state):
                Round(options).carry_out()
    except (MigrateError, Trouble, OSError) as error:
        status, words = 1, str(error)
    except KeyboardInterrupt:
        status, words = 130, "interrupted"
    else:
        return 0
    say(f"stopped: {words}")
    with contextlib.suppress(MigrateError):
        tell_where(options.inventory)
    if not options.dry_run:
        say("mend that, then give the same command again: it goes on from here")
    return status


if __name__ == "__main__":
    sys.exit(main())
