"""`migrate exec`: statuses, streams, users, terminals."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
import time
from collections.abc import Iterator

import pytest

from tests.engine import Engine

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def box(engine: Engine) -> Iterator[str]:
    engine.detached("--name", "box", "-e", "FROM=run", "-w", "/tmp", "sleep", "1000")
    yield "box"
    engine.ok("rm", "-f", "box")


def test_status_streams_and_environment(engine: Engine, box: str):
    done = engine.call("exec", "-e", "MORE=exec", box, "sh", "-c",
                       "cat; echo $FROM $MORE $PWD; echo e >&2; exit 3", stdin=-3)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (3, "run exec /tmp\n", "e\n")
    assert engine.ok("exec", "-w", "/etc", box, "pwd") == "/etc"
    assert engine.call("exec", box, "sh", "-c", "kill -9 $$").returncode == 137


def test_input_is_passed_on(engine: Engine, box: str):
    process = engine.start("exec", "-i", box, "wc", "-c", stdin=-1)
    out, _error = process.communicate(input="x" * 100000, timeout=60)
    assert out.strip() == "100000"


def test_user_capabilities_and_descriptors(engine: Engine, box: str):
    look = "id; cat /proc/self/status; ls /proc/$$/fd; tty"
    text = engine.call("exec", "-u", "alice", box, "sh", "-c", look).stdout
    assert "uid=1000(alice) gid=1000(alice) groups=50(staff)" in text
    assert "NoNewPrivs:\t1" in text
    assert "CapEff:\t0000000000000000" in text
    assert set(text.split("x86_Thread")[-1].split("\n")[-6:-1]) >= {"0", "1", "2"}
    mounts = engine.ok("exec", box, "cat", "/proc/self/mountinfo")
    assert mounts == engine.ok("exec", box, "cat", "/proc/1/mountinfo")
    groups = engine.ok("exec", box, "cat", "/proc/self/cgroup")
    assert all(line.endswith(":/") for line in groups.splitlines())


def test_what_can_not_be_executed(engine: Engine, box: str):
    assert engine.call("exec", box, "no-such").returncode == 127
    assert engine.call("exec", box, "/etc/passwd").returncode == 126
    assert "own interpreter" in engine.call("exec", box, "/proc/self/exe").stderr
    engine.fails("exec", "-u", "nobody-here", box, "true", code=38)
    engine.fails("exec", "no-such-box", "true", code=35)


def _talk(engine: Engine, *arguments: str, steps: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    """`arguments` on a terminal of 33 rows and 77 columns; exit status and what was shown.

    `steps` are what is waited for, and what is typed then.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    before = termios.tcgetattr(slave)
    process = engine.start(*arguments, stdin=slave, stdout=slave, stderr=slave)
    shown, fresh, end = b"", b"", time.monotonic() + 60
    while time.monotonic() < end:
        if select.select([master], [], [], 0.1)[0]:
            fresh += os.read(master, 4096)
        elif process.poll() is not None:
            break
        elif steps and steps[0][0] in fresh:
            os.write(master, steps.pop(0)[1])
            shown, fresh = shown + fresh, b""
    status = process.wait(20)
    assert termios.tcgetattr(slave) == before, "the terminal's modes were not restored"
    os.close(master)
    os.close(slave)
    return status, shown + fresh


def test_a_terminal_of_the_container(engine: Engine, box: str):
    steps = [(b"# ", b"tty; stty size; sleep 50\n"), (b"33 77", b"\x03"),
             (b"# ", b"echo st=$?; exit 6\n")]  # fmt: skip
    status, shown = _talk(engine, "exec", "-t", box, "sh", steps=steps)
    assert status == 6, shown
    assert b"/dev/pts/0" in shown
    assert b"st=130" in shown


def test_a_terminal_ends_with_its_program(engine: Engine, box: str):
    done = engine.call("exec", "-t", box, "sh", "-c", "sleep 3 & echo x; exit 2", stdin=-3)
    assert (done.returncode, done.stdout) == (2, "x\n")
    assert engine.call("exec", "-t", box, "no-such", stdin=-3).returncode == 127
