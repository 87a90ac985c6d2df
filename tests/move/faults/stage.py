"""Two hosts and a container that counts; one cell after the other is carried out on them."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from migrate.checkpoint.errors import EndedWithCriu
from migrate.move.errors import (
    ContainerEnded,
    Interrupted,
    MemoryGone,
    MoveCommitted,
    MoveRolledBack,
    MoveUncertain,
    PagesOwed,
)
from migrate.transfer.agent import HEARTBEAT
from migrate.transfer.receiver import IDLE
from tests.engine import eventually
from tests.hosts import Host, Lan
from tests.hosts.leftovers import PREFIX
from tests.hosts.redis import MIGRATE
from tests.move.faults.cells import LATE, Cell
from tests.move.faults.harm import Struck, strike
from tests.move.faults.holding import arm, disarm, kill, processes, wait_until_held
from tests.move.faults.weights import Weight, weigh
from tests.move.fixtures import (
    RECOVER_LIMIT,
    containers,
    counts_on,
    left_of_moves,
    make_counter_image,
    recover,
)

PATIENCE = "5"  # seconds; see `migrate move --help`
DISK = "192m"  # of each host: it has to be filled
MOVE_LIMIT = 180.0  # seconds
_KEPT = (
    "run/migrate/netns/*", "run/migrate/containers/*", "var/lib/migrate/moves/**/*",
    "var/lib/migrate/containers/*", "sys/fs/cgroup/*/migrate/*/",
)  # fmt: skip
ENDING_LIMIT = HEARTBEAT + IDLE + 15.0  # seconds
_THERE = {PagesOwed.code, MemoryGone.code, MoveCommitted.code}
_HERE = {MoveRolledBack.code, Interrupted.code, ContainerEnded.code, EndedWithCriu.code}
"""Exit statuses that say where the container is."""
NAME = "counter"
_LARGE = "dd if=/dev/urandom of=/data/large bs=1024 count=512"
# It says no number twice, ever: it goes on behind the one in its file when it is started again.
PROGRAM = (
    "i=$(cat /count 2>/dev/null || echo 0); while :; do i=$((i+1)); "
    "echo $i > /next && mv /next /count; echo $i; sleep 0.03; done"
)


class Wrong(AssertionError):
    """Something that must never be."""


class Stage:
    """The hosts; `source` is where the container runs now."""

    def __init__(self, source: Host, target: Host) -> None:
        self.source, self.target = source, target
        self.told = ""  # on standard error, by the last move
        self.carried_out: Counter[str] = Counter()

    @property
    def hosts(self) -> tuple[Host, Host]:
        """Both, in the same order always."""
        first, second = sorted((self.source, self.target), key=lambda host: host.name)
        return first, second

    def start(self) -> None:
        """A new container, with a file that is large enough for rounds of files."""
        self.source.run([MIGRATE, "run", "-d", "--name", NAME, NAME, "/bin/sh", "-c", PROGRAM])
        self.source.run([MIGRATE, "exec", NAME, "sh", "-c", _LARGE])

    def remove(self) -> None:
        """The container, wherever it is."""
        for host in self.hosts:
            if NAME in containers(host):
                host.run([MIGRATE, "rm", "-f", NAME])

    def carry_out(self, cell: Cell) -> None:
        """One move with its fault; raises Wrong when it does not end as it must."""
        if NAME not in containers(self.source):
            self.start()
        try:
            first = self.source
            status = self._move(cell)
            self._one_at_most(cell)
            lost = self._settle(cell, status)
            self._was_told_right(cell, status, moved=self.source is not first)
            self._look(cell, lost=lost)
        except (AssertionError, ValueError, OSError, subprocess.SubprocessError) as error:
            raise Wrong(f"{cell}: {error}") from error
        self.carried_out[cell.fault] += 1
        # A program that was ended between a number and its line lacks it for ever.
        if lost or cell.fault.startswith("fill") or cell.mode == "cold":
            self.remove()

    def _move(self, cell: Cell) -> int:
        """The exit status of the command, the fault being undone; what it said is in `told`."""
        with tempfile.TemporaryFile("w+") as told:
            command = self._begin(cell, told)
            try:
                return self._strike(cell, command)
            finally:
                if command.poll() is None:
                    command.kill()
                    command.wait()
                for host in self.hosts:
                    disarm(host)
                told.seek(0)
                self.told = told.read()

    def _begin(self, cell: Cell, told: IO[str]) -> subprocess.Popen[Any]:
        arm(self.target if cell.at_target else self.source, cell.point)
        return self.source.popen(
            [MIGRATE, "move", "--mode", cell.mode, "--stop-time", "0", "--patience", PATIENCE, NAME,
             self.target.ssh_target],
            stdout=subprocess.DEVNULL, stderr=told,
        )  # fmt: skip

    def _strike(self, cell: Cell, command: subprocess.Popen[Any]) -> int:
        holder, word = (self.target, "agent") if cell.at_target else (self.source, "move")
        held = wait_until_held(holder, word, command)
        undo = strike(cell.fault, Struck(self.source, self.target, held))
        try:
            return command.wait(MOVE_LIMIT)
        finally:
            undo()

    def _one_at_most(self, cell: Cell) -> None:
        running = [host for host in self.hosts if containers(host).get(NAME) == "running"]
        counting = [host.name for host in running if counts_on(host, limit=0.2)]
        assert len(counting) <= 1, f"two copies run: {counting}"

    def _settle(self, cell: Cell, status: int) -> bool:
        """`migrate recover` on both hosts; whether the container's processes are gone for good."""
        for host in (self.source, self.target):
            recover(host)
        places = [host for host in self.hosts if NAME in containers(host)]
        assert len(places) == 1, f"on {[host.name for host in places]}"
        if places[0] is self.target:
            self.source, self.target = self.target, self.source
        told = containers(self.source)[NAME]
        if told == "running":
            return False
        rebooted = cell.fault.startswith("reboot")
        killed = cell.fault == "kill-criu" and status == EndedWithCriu.code
        assert told == "stopped", told
        assert rebooted or killed or cell.mode == "cold", "it does not run any more"
        return True

    def _was_told_right(self, cell: Cell, status: int, *, moved: bool) -> None:
        """The exit status says where it is, in words without a traceback."""
        assert "Traceback" not in self.told, self.told
        if status < 0:
            assert cell.fault in {"kill-command", "reboot-here"}, f"signal {-status}: {self.told}"
            return
        assert status in {0, *_THERE, *_HERE, MoveUncertain.code}, f"status {status}: {self.told}"
        if status in {0, *_THERE}:
            assert moved, f"status {status}, and it did not move: {self.told}"
        elif status in _HERE:
            assert not moved, f"status {status}, and it moved: {self.told}"

    def _look(self, cell: Cell, *, lost: bool) -> None:
        if lost:  # with its host, or with a criu that was killed: it can be started again
            self.source.run([MIGRATE, "start", NAME])
        assert counts_on(self.source), "it stands still"
        self._count(cell)
        for host in self.hosts:
            assert eventually(lambda at=host: not left_of_moves(at)), (
                f"left on {host.name}: {left_of_moves(host)}"
            )
            strays = processes(host, "criu") + processes(host, "migrate", "agent")
            assert not strays or _gone(host), f"processes on {host.name}: {strays}"

    def _count(self, cell: Cell) -> None:
        """Each number once, in order; a full disk, and an end without warning, lose some lines."""
        lines = self.source.run([MIGRATE, "logs", NAME]).stdout.split()
        numbers = [int(line) for line in lines]
        assert numbers == sorted(set(numbers)) or cell.mode == "cold", "numbers twice"
        may_lack = cell.fault.startswith(("fill", "reboot")) or cell.mode == "cold"
        if not may_lack and cell.fault != "kill-criu":
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "numbers lack"

    def clear(self) -> None:
        """Whatever a failed cell has left."""
        for host in self.hosts:
            host.mend()
            kill(processes(host, "migrate", "move"))
            (host.disk / "filler").unlink(missing_ok=True)
            kill(processes(host, "migrate", "agent"))
            host.run([MIGRATE, "recover"], check=False, timeout=RECOVER_LIMIT)
        self.remove()

    def traces(self) -> dict[str, list[str]]:
        """What may not be more than before when all moves are done, by host."""
        return {host.name: _traces(host) for host in self.hosts}

    def weights(self) -> dict[str, Weight]:
        """What each host weighs now, by name."""
        return {host.name: weigh(host) for host in self.hosts}


def _gone(host: Host) -> bool:
    """Whether what helps a move ends soon: after a cut, when it has looked (HEARTBEAT, IDLE)."""
    deadline = time.monotonic() + ENDING_LIMIT
    while processes(host, "criu") + processes(host, "migrate", "agent"):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _traces(host: Host) -> list[str]:
    root = Path(f"/proc/{host.pid}/root")
    table = Path(f"/proc/{host.pid}/mountinfo").read_text().splitlines()
    # What lans have mounted is no host's own: one that has rebooted sees the others' disks.
    found = [place for place in (line.split()[4] for line in table) if PREFIX not in place]
    for pattern in _KEPT:
        with contextlib.suppress(OSError):
            found += [str(path.relative_to(root)) for path in root.glob(pattern)]
    found += host.run(["ls", "/sys/class/net"]).stdout.split()
    found += host.run(["nft", "-s", "list", "ruleset"]).stdout.splitlines()
    found += host.run(["ip", "route"]).stdout.splitlines()
    commands = host.run(["sh", "-c", "cat /proc/[0-9]*/comm"], check=False).stdout.split()
    return sorted(found + [f"process {name}" for name in commands])


@contextlib.contextmanager
def stage(lan: Lan) -> Iterator[Stage]:
    """Two hosts with small disks, and the image."""
    hosts = lan.host("alpha"), lan.host("beta")
    with contextlib.ExitStack() as stack:
        for host in hosts:
            host.halt()
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "none", host.disk],
                check=True,
            )
            stack.callback(subprocess.run, ["umount", "-l", host.disk], check=True)
            host.boot()
            stack.callback(host.halt)
        make_counter_image(lan.shared, *hosts)
        yield Stage(*hosts)


__all__ = ["LATE", "Stage", "Wrong", "stage"]
