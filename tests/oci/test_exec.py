"""exec and the terminal: runc-exec(8), runc's docs/terminals.md."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.engine import eventually
from tests.oci.runtime import Runtime
from tests.oci.terminal import listening, received

pytestmark = pytest.mark.root


@pytest.fixture
def web(oci: Runtime) -> str:
    return oci.running()


def test_exec_gives_the_programs_streams_and_exit_status(oci: Runtime, web: str):
    done = oci.call("exec", web, "sh", "-c", "cat; echo e >&2; exit 7", input="in")
    assert (done.returncode, done.stdout, done.stderr) == (7, "in", "e\n")
    assert oci.call("exec", web, "sh", "-c", "kill -9 $$").returncode == 137


def test_exec_joins_all_namespaces_and_the_control_group(oci: Runtime, web: str):
    pid = oci.state(web)["pid"]
    text = "for n in pid mnt net uts ipc cgroup; do readlink /proc/self/ns/$n; done"
    told = oci.ok("exec", web, "sh", "-c", text)
    kinds = ("pid", "mnt", "net", "uts", "ipc", "cgroup")
    assert told.split() == [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in kinds]
    own, first = (oci.ok("exec", web, "cat", f"/proc/{who}/cgroup") for who in ("self", "1"))
    assert own == first


def test_exec_options(oci: Runtime, web: str):
    told = oci.ok(
        "exec", "--user", "1000:50", "-g", "60", "--additional-gids", "70", "-e", "A=b", "--cwd",
        "/tmp", "--cap", "CAP_SYS_TIME", web, "sh", "-c",
        "id -u; id -G; pwd; echo $A; grep CapBnd /proc/self/status",
    )  # fmt: skip
    user, groups, place, variable, bounding = told.splitlines()
    assert (user, groups, place, variable) == ("1000", "50 60 70", "/tmp", "b")
    assert int(bounding.split()[1], 16) >> 25 & 1


def test_exec_no_new_privs(oci: Runtime):
    identifier = oci.running(oci.spec("sleep", "1000", noNewPrivileges=False))
    look = ("grep", "NoNewPrivs", "/proc/self/status")
    assert oci.ok("exec", identifier, *look).split()[1] == "0"
    assert oci.ok("exec", "--no-new-privs", identifier, *look).split()[1] == "1"


def _process(oci: Runtime, **fields: Any) -> Path:
    path = oci.directory / "process.json"
    path.write_text(json.dumps({"args": ["pwd"], "cwd": "/etc", "env": ["PATH=/bin"]} | fields))
    return path


def test_exec_process_file(oci: Runtime, web: str):
    user = {"uid": 1000, "gid": 1000, "additionalGids": [50]}
    path = _process(oci, args=["sh", "-c", "pwd; id -u; id -G; echo $X"], user=user,
                    env=["PATH=/bin", "X=y"])  # fmt: skip
    told = oci.ok("exec", "--process", path, web)
    assert told.splitlines() == ["/etc", "1000", "1000 50", "y"]


def test_exec_process_file_that_is_not_valid_is_refused(oci: Runtime, web: str):
    assert "process.args" in oci.fails("exec", "--process", _process(oci, args=[]), web, status=255)
    assert "can't read" in oci.fails("exec", "--process", "/nowhere", web, status=255)


def test_exec_process_file_has_the_containers_for_what_it_does_not_say(oci: Runtime, web: str):
    """runc: capabilities and rlimits."""
    place = oci.directory / "process.json"
    look = ["sh", "-c", "grep CapEff /proc/self/status; ulimit -n"]
    place.write_text(json.dumps({"args": look, "cwd": "/", "env": ["PATH=/bin"]}))
    told = oci.ok("exec", "--process", place, web)
    assert told == oci.ok("exec", web, *look)
    assert int(told.split()[1], 16) > 0


def test_exec_detached_writes_a_pid_file_and_leaves_the_process(oci: Runtime, web: str):
    pid_file = oci.directory / "pid"
    oci.detached("exec", "--detach", "--pid-file", pid_file, web, "sleep", "999")
    pid = int(pid_file.read_text())
    # Its descriptors are closed before its new words can be read (fs/exec.c).
    words = Path(f"/proc/{pid}/cmdline")
    assert eventually(lambda: words.read_bytes() == b"sleep\x00999\x00")
    both = sorted([oci.state(web)["pid"], pid])
    assert eventually(lambda: sorted(json.loads(oci.ok("ps", "--format", "json", web))) == both)


def test_exec_of_what_is_not_there_has_status_255_and_runcs_words(oci: Runtime, web: str):
    for program, words in (
        ("nosuch", "executable file not found in $PATH"), ("/nosuch", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
    ):  # fmt: skip
        text = oci.fails("exec", web, program, status=255)
        assert "exec failed: unable to start container process" in text
        assert words in text
    oci.fails("exec", web, status=255)


def test_exec_preserves_descriptors(oci: Runtime, web: str):
    reader, writer = os.pipe()
    done = oci.call("exec", "--preserve-fds", "1", web, "sh", "-c", "echo there >&3",
                    preexec_fn=lambda: os.dup2(writer, 3), close_fds=False)  # fmt: skip
    os.close(writer)
    assert done.returncode == 0, done.stderr
    assert os.read(reader, 100) == b"there\n"
    os.close(reader)


def test_exec_in_a_paused_or_stopped_container_is_an_error(oci: Runtime, web: str):
    oci.ok("pause", web)
    assert "paused" in oci.fails("exec", web, "true", status=255)
    oci.ok("resume", web)
    oci.ok("kill", web, "KILL")
    assert eventually(lambda: oci.state(web)["status"] == "stopped")
    assert "stopped" in oci.fails("exec", web, "true", status=255)


def test_exec_with_a_terminal_of_the_container(oci: Runtime, web: str):
    assert oci.ok("exec", "--tty", web, "tty").startswith("/dev/pts/")


@pytest.fixture
def console(tmp_path: Path) -> socket.socket:
    return listening(tmp_path / "c")


def _read_all(master: int) -> str:
    found = b""
    while True:
        try:
            data = os.read(master, 1000)
        except OSError:  # EIO: the last user of the terminal has gone
            data = b""
        if not data:
            os.close(master)
            return found.decode()
        found += data


def test_console_socket_gets_the_master(oci: Runtime, console: socket.socket):
    """config.md, "Process": terminal, consoleSize; config-linux.md, "Default Devices": console."""
    text = "tty; stty size; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && ls -l /dev/console"
    spec = oci.spec("sh", "-c", text, terminal=True, consoleSize={"height": 30, "width": 90})
    identifier = oci.create(spec, "--console-socket", oci.directory / "c")
    master = received(console)
    oci.ok("start", identifier)
    lines = _read_all(master).splitlines()
    assert lines[0].startswith("/dev/pts/")
    assert lines[1] == "30 90"
    assert lines[2].startswith("crw")


def test_console_socket_of_exec(oci: Runtime, web: str, console: socket.socket):
    oci.detached("exec", "--detach", "--tty", "--console-socket", oci.directory / "c", web, "tty")
    assert _read_all(received(console)).startswith("/dev/pts/")


def test_terminal_without_a_console_socket_is_refused(oci: Runtime, web: str):
    assert "--console-socket" in oci.refused(oci.spec("true", terminal=True))
    assert "--console-socket" in oci.fails("exec", "--detach", "--tty", web, "true", status=255)
    bundle = oci.bundle(oci.spec("true"))
    text = oci.fails("create", "--console-socket", "/x", "-b", bundle, oci.identifier())
    assert "process.terminal" in text


def test_run_in_the_foreground_relays_a_terminal(oci: Runtime):
    done = oci.call("run", "-b", oci.bundle(oci.spec("tty", terminal=True)), oci.identifier())
    assert done.stdout.startswith("/dev/pts/"), done.stderr
