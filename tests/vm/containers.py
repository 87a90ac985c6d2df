"""Containers of the machines' own programs, and what can be asked about them."""

from __future__ import annotations

import json
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.vm.machine import MIGRATE, Machine
from tests.vm.pair import PROGRAMS

IMAGE = "empty"


def make_image(machine: Machine) -> None:
    """Import an image of empty directories, and links as on every Debian: /usr is bound."""
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        with tarfile.open(file.name, "w") as tar:
            for name in ("usr", "bench", "data", "etc", "tmp", "proc", "sys", "dev"):
                member = tarfile.TarInfo(name)
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
            for name in ("bin", "lib", "lib64"):
                member = tarfile.TarInfo(name)
                member.type, member.linkname = tarfile.SYMTYPE, f"usr/{name}"
                tar.addfile(member)
        machine.copy(Path(file.name), "/tmp/empty.tar")
    machine.run([MIGRATE, "image", "import", "/tmp/empty.tar", IMAGE])


def start(machine: Machine, name: str, options: list[str], command: list[str]) -> None:
    """Run `command` in a container; /usr is the machine's, /bench holds the tests' programs."""
    machine.run([
        MIGRATE, "run", "-d", "--name", name, "-v", "/usr:/usr:ro", "-v",
        f"{PROGRAMS}:/bench:ro", "-e", "PYTHONDONTWRITEBYTECODE=1", *options, IMAGE, *command,
    ])  # fmt: skip


def move(source: Machine, target: Machine, name: str, *options: str) -> dict[str, Any]:
    """The result, and in `events` what was told on the way."""
    told = source.run([MIGRATE, "move", name, target.ssh_target, "--json", *options]).stdout
    lines = [json.loads(line) for line in told.splitlines()]
    result: dict[str, Any] = lines[-1]["result"]
    return {**result, "events": lines[:-1]}


def output(machine: Machine, name: str) -> list[str]:
    """The lines that the container has written."""
    return machine.run([MIGRATE, "logs", name]).stdout.splitlines()


def goes_on(machine: Machine, name: str, limit: float = 120.0) -> None:
    """Wait until it has written twenty lines more."""
    begun = len(output(machine, name))
    deadline = time.monotonic() + limit
    while len(output(machine, name)) < begun + 20:
        assert time.monotonic() < deadline, f"{name} stands still on {machine.name}"
        time.sleep(0.2)


def wrong(machine: Machine, name: str) -> list[str]:
    """What the program complains of."""
    return [line for line in output(machine, name) if "WRONG" in line]


def traces(machine: Machine) -> list[str]:
    """What a container or a move leaves if it leaves anything."""
    script = (
        "ls /var/lib/migrate/containers /run/migrate/netns /var/lib/migrate/moves/incoming "
        "/var/lib/migrate/moves/outgoing 2>/dev/null | grep -v -e : -e '^$'; "
        "ls /var/lib/migrate/moves | grep journal; ip -br link | grep ^m[gs]; "
        "ls -d /sys/fs/cgroup/migrate/*/ 2>/dev/null; "
        "grep -e /run/migrate/ -e migrate-pages /proc/mounts; true"
    )
    return machine.run(["sh", "-c", script]).stdout.split()
