"""The real probe: does this CRIU dump and restore a live TCP connection on this kernel?

`criu check` says "Looks good" for versions that then fail (design.md, "Facts measured"), so a
process that holds an established connection is dumped and restored, and must go on answering
with its memory intact. All of it happens in a pid, mount and network namespace of its own:
whatever fails, the kernel clears away with that namespace's init.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from migrate.kernel import interfaces, mounts, namespaces, processes

TIME_LIMIT = 30.0
"""Seconds for the whole probe; a good one takes half a second."""
ANSWER_LIMIT = 5.0
LAZY_FEATURE = "uffd-noncoop"
_WORK = Path("/run/probe")


@dataclass(frozen=True)
class Probed:
    """Whether the probe passed; `cause` is empty, or says what failed."""

    passed: bool
    cause: str = ""


def version(criu: Path) -> str:
    """What `criu --version` says, such as "4.2.1"; "" when it does not start."""
    try:
        done = subprocess.run(
            [criu, "--version"], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    words = [line.split()[-1] for line in done.stdout.splitlines() if line.startswith("Version:")]
    return words[0] if words else ""


def has_feature(criu: Path, name: str) -> bool:
    """What `criu check --feature NAME` says, of the program and this kernel together."""
    try:
        done = subprocess.run(
            [criu, "check", "--feature", name], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def probe(criu: Path) -> Probed:
    """Run the probe with `criu` in a process of its own; needs root. Raises nothing."""
    package_parent = str(Path(__file__).parents[2])
    try:
        done = subprocess.run(
            [sys.executable, "-m", "migrate.criu.probe", str(criu)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=TIME_LIMIT, env=dict(os.environ, PYTHONPATH=package_parent),
        )  # fmt: skip
        answer = json.loads(done.stdout)
        return Probed(bool(answer["passed"]), str(answer["cause"]))
    except subprocess.TimeoutExpired:
        return Probed(False, f"the probe did not end within {TIME_LIMIT:g} s")
    except (OSError, ValueError, KeyError, TypeError):
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return Probed(False, f"the probe broke off: {lines[-1]}")


def _victim(port: int) -> None:
    """Answer every byte with the count so far, until the peer closes."""
    count = 0
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while connection.recv(1):
            count += 1
            connection.sendall(bytes([count]))


def _start_victim(port: int) -> int:
    """A fresh program: a forked one would map files through the mounts of the old namespace."""
    return subprocess.Popen(
        [sys.executable, "-m", "migrate.criu.probe", "--victim", str(port)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    ).pid  # fmt: skip


def _ask(server: socket.socket, expected: int) -> None:
    server.sendall(b"?")
    answer = server.recv(1)
    if answer != bytes([expected]):
        raise RuntimeError(f"the connection answered {answer!r} instead of {expected}")


def _criu(criu: str, verb: str, *options: str) -> None:
    log = _WORK / f"{verb}.log"
    done = subprocess.run(
        [criu, verb, "--images-dir", str(_WORK), "--log-file", str(log), "-v4",
         "--tcp-established", "--network-lock", "skip", "--manage-cgroups=ignore", *options],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        check=False, timeout=TIME_LIMIT / 3,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"criu {verb} failed: {_first_error(log, done.returncode)}")


def _first_error(log: Path, code: int) -> str:
    with contextlib.suppress(OSError):
        for line in log.read_text(errors="replace").splitlines():
            # Harmless without CAP_SYS_RESOURCE (design.md), and always there.
            if "Error" in line and "RLIMIT_NOFILE" not in line:
                return line
    return f"exit code {code}, nothing in its log"


def _dump_and_restore(criu: str) -> None:
    """The body of the probe, as init of its namespaces."""
    mounts.mount("", "/", flags=mounts.MS_REC | mounts.MS_PRIVATE)
    mounts.mount("proc", "/proc", "proc")
    mounts.mount("tmpfs", "/run", "tmpfs", data="mode=755")
    _WORK.mkdir()
    interfaces.bring_up("lo")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pid = _start_victim(listener.getsockname()[1])
        listener.settimeout(ANSWER_LIMIT)
        server = listener.accept()[0]
    with server:
        server.settimeout(ANSWER_LIMIT)
        _ask(server, 1)
        _criu(criu, "dump", "--tree", str(pid))
        os.waitpid(pid, 0)
        _criu(criu, "restore", "--restore-detached")
        _ask(server, 2)


def _main(criu: str) -> int:
    namespaces.unshare(
        namespaces.CLONE_NEWNS | namespaces.CLONE_NEWPID | namespaces.CLONE_NEWNET
        | namespaces.CLONE_NEWIPC
    )  # fmt: skip
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    processes.set_parent_death_signal(signal.SIGKILL)
    cause = ""
    try:
        _dump_and_restore(criu)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        cause = str(error)
    print(json.dumps({"passed": not cause, "cause": cause}), flush=True)  # noqa: T201
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "--victim":
        _victim(int(sys.argv[2]))
    else:
        sys.exit(_main(sys.argv[1]))
