"""runtime.md: state, create, start, kill, delete; named by its sections."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from migrate.oci.records import stat_of
from migrate.runtime.cgroups.layout import detect
from tests.engine import CHECKOUT, eventually
from tests.oci.runtime import COMMAND, Runtime

pytestmark = pytest.mark.root


def test_state_has_all_that_the_section_state_demands(oci: Runtime):
    spec = oci.spec("sleep", "1000") | {"annotations": {"org.example.key": "value"}}
    identifier = oci.create(spec)
    state = oci.state(identifier)
    assert state["ociVersion"] == "1.2.0"
    assert state["id"] == identifier
    assert state["status"] == "created"
    assert state["annotations"] == {"org.example.key": "value"}
    assert Path(state["bundle"]).is_dir()
    assert state["rootfs"] == str(oci.rootfs)
    assert os.readlink(f"/proc/{state['pid']}/root") == "/"
    assert oci.state(identifier) == state


def test_state_goes_from_created_to_running_to_paused_to_stopped(oci: Runtime):
    identifier = oci.create(oci.spec("sleep", "1000"))
    seen = [oci.state(identifier)["status"]]
    for verb in ("start", "pause", "resume"):
        oci.ok(verb, identifier)
        seen.append(oci.state(identifier)["status"])
    oci.ok("kill", identifier, "KILL")
    assert eventually(lambda: oci.state(identifier)["status"] == "stopped")
    assert seen == ["created", "running", "paused", "running"]
    assert oci.state(identifier)["pid"] == 0


def test_state_of_a_container_that_does_not_exist_is_an_error(oci: Runtime):
    assert "does not exist" in oci.fails("state", "nobody")
    assert "arguments" in oci.fails("state")


def test_create_does_not_run_the_users_program(oci: Runtime):
    spec = oci.spec("sh", "-c", "echo it runs; exec sleep 1000")
    reader, writer = os.pipe()
    identifier = oci.create(spec, stdout=writer)
    os.close(writer)
    os.set_blocking(reader, False)
    time.sleep(0.3)
    with pytest.raises(BlockingIOError):
        os.read(reader, 100)
    os.set_blocking(reader, True)
    oci.ok("start", identifier)
    assert os.read(reader, 100) == b"it runs\n"
    os.close(reader)


def test_create_of_an_id_that_is_taken_is_an_error(oci: Runtime):
    identifier = oci.create(oci.spec("sleep", "1000"))
    before = oci.state(identifier)
    bundle = oci.bundle(oci.spec("true"))
    assert "already exists" in oci.fails("create", "-b", bundle, identifier)
    assert oci.state(identifier) == before


@pytest.mark.parametrize("identifier", ["a/b", "..", "", "a b", "x" * 1025])
def test_create_of_an_id_that_is_not_valid_is_an_error(oci: Runtime, identifier: str):
    bundle = oci.bundle(oci.spec("true"))
    assert "invalid container id" in oci.fails("create", "-b", bundle, identifier)


def test_create_config_json_changed_afterwards_has_no_effect(oci: Runtime):
    identifier = oci.identifier()
    bundle = oci.bundle(oci.spec("sleep", "1000"))
    oci.detached("create", "-b", bundle, identifier)
    (bundle / "config.json").write_text("{}")
    oci.ok("start", identifier)
    words = Path(f"/proc/{oci.state(identifier)['pid']}/cmdline")
    # Its descriptors are closed before its new words can be read (fs/exec.c).
    assert eventually(lambda: words.read_bytes() == b"sleep\0" + b"1000\0")


def test_create_without_a_bundle_is_an_error(oci: Runtime):
    assert "config.json" in oci.fails("create", "-b", oci.directory / "nothing", "x")


def test_start_of_a_container_that_runs_is_an_error_and_changes_nothing(oci: Runtime):
    identifier = oci.running()
    before = oci.state(identifier)
    assert "cannot start a container that is running" in oci.fails("start", identifier)
    assert oci.state(identifier) == before
    assert "does not exist" in oci.fails("start", "nobody")


def test_start_of_a_stopped_container_is_an_error(oci: Runtime):
    identifier = oci.create(oci.spec("true"))
    oci.ok("start", identifier)
    assert eventually(lambda: oci.state(identifier)["status"] == "stopped")
    assert "stopped" in oci.fails("start", identifier)


def test_kill_of_a_stopped_container_is_an_error(oci: Runtime):
    identifier = oci.create(oci.spec("true"))
    oci.ok("start", identifier)
    assert eventually(lambda: oci.state(identifier)["status"] == "stopped")
    assert "container not running" in oci.fails("kill", identifier, "KILL")
    assert "does not exist" in oci.fails("kill", "nobody")


@pytest.mark.parametrize("name", ["USR1", "SIGUSR1", "10", "sigusr1"])
def test_kill_takes_names_and_numbers(oci: Runtime, name: str):
    text = "trap 'echo got it; exit' USR1; echo ready; while true; do sleep 0.05; done"
    reader, writer = os.pipe()
    identifier = oci.create(oci.spec("sh", "-c", text), stdout=writer)
    os.close(writer)
    oci.ok("start", identifier)
    with os.fdopen(reader) as output:
        assert output.readline() == "ready\n"
        oci.ok("kill", identifier, name)
        assert output.readline() == "got it\n"


def test_kill_refuses_what_is_no_signal(oci: Runtime):
    identifier = oci.running()
    for name in ("NOPE", "SIG0", "65", "-1"):
        assert oci.fails("kill", identifier, name)
    oci.ok("kill", identifier, "0")  # kill(2): whether it could be
    assert oci.state(identifier)["status"] == "running"


def test_kill_reaches_a_created_container(oci: Runtime):
    identifier = oci.create(oci.spec("sleep", "1000"))
    oci.ok("kill", identifier, "KILL")
    assert eventually(lambda: oci.state(identifier)["status"] == "stopped")


def test_kill_all_reaches_every_process(oci: Runtime):
    spec = oci.spec("sh", "-c", "sleep 1000 & sleep 1000; true")
    spec["linux"]["namespaces"] = [
        entry for entry in spec["linux"]["namespaces"] if entry["type"] != "pid"
    ]
    identifier = oci.running(spec)
    assert eventually(lambda: len(json.loads(oci.ok("ps", "-f", "json", identifier))) == 3)
    pids = json.loads(oci.ok("ps", "-f", "json", identifier))
    oci.ok("kill", "--all", identifier, "KILL")
    assert eventually(lambda: not any(_lives(pid) for pid in pids))


def _lives(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_delete_of_a_container_that_is_only_created_kills_it(oci: Runtime):
    """runc-delete(8), and so crun; runtime.md would have it refused."""
    identifier = oci.create(oci.spec("sleep", "1000"))
    pid = oci.state(identifier)["pid"]
    oci.ok("delete", identifier)
    status = stat_of(pid)  # a zombie is there until our parent reaps it
    assert status is None or not status[1]
    assert oci.leftovers() == []


@pytest.mark.parametrize("paused", [False, True])
def test_delete_of_a_container_that_is_not_stopped_is_an_error(oci: Runtime, paused: bool):
    identifier = oci.running()
    if paused:
        oci.ok("pause", identifier)
    before = oci.state(identifier)
    assert "is not stopped" in oci.fails("delete", identifier)
    assert oci.state(identifier) == before
    oci.ok("delete", "--force", identifier)
    assert "does not exist" in oci.fails("state", identifier)


def test_delete_removes_all_that_create_made(oci: Runtime):
    identifier = oci.running()
    group = next(root for root in detect().roots) / "migrate-oci" / identifier
    assert group.is_dir()
    oci.ok("kill", identifier, "KILL")
    assert eventually(lambda: oci.state(identifier)["status"] == "stopped")
    oci.ok("delete", identifier)
    assert not group.exists()
    assert oci.leftovers() == []


def test_delete_of_a_container_that_does_not_exist_is_an_error_without_force(oci: Runtime):
    assert "does not exist" in oci.fails("delete", "nobody")
    oci.ok("delete", "--force", "nobody")


def test_delete_frees_the_id(oci: Runtime):
    identifier = oci.running()
    oci.ok("delete", "--force", identifier)
    oci.detached("create", "-b", oci.bundle(oci.spec("true")), identifier)


def test_run_gives_the_programs_streams_and_exit_status(oci: Runtime):
    spec = oci.spec("sh", "-c", "cat; echo to stderr >&2; exit 7")
    done = oci.call("run", "-b", oci.bundle(spec), oci.identifier(), input="from stdin")
    assert (done.returncode, done.stdout, done.stderr) == (7, "from stdin", "to stderr\n")


def test_run_gives_128_and_the_signals_number(oci: Runtime):
    spec = oci.spec("sh", "-c", "kill -9 $$")
    spec["linux"]["namespaces"] = [n for n in spec["linux"]["namespaces"] if n["type"] != "pid"]
    assert oci.call("run", "-b", oci.bundle(spec), oci.identifier()).returncode == 137


def test_run_passes_signals_on(oci: Runtime):
    spec = oci.spec("sh", "-c", "trap 'exit 5' TERM; echo ready; while true; do sleep 0.05; done")
    process = oci.start_command("run", "-b", oci.bundle(spec), oci.identifier())
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    assert process.wait(60) == 5


def test_run_detached_leaves_it_running_with_a_pid_file(oci: Runtime):
    identifier, pid_file = oci.identifier(), oci.directory / "pid"
    bundle = oci.bundle(oci.spec("sleep", "1000"))
    oci.detached("run", "-d", "--pid-file", pid_file, "-b", bundle, identifier)
    state = oci.state(identifier)
    assert state["status"] == "running"
    assert pid_file.read_text() == str(state["pid"])


SUBREAPER = """
import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
command, root, bundle, directory = sys.argv[1:]
pid_file = directory + "/caller.pid"
subprocess.run([command, "--root", root, "create", "--pid-file", pid_file, "-b", bundle, "mine"],
               check=True, stdin=subprocess.DEVNULL)
pid = int(open(pid_file).read())
subprocess.run([command, "--root", root, "start", "mine"], check=True)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_first_process_belongs_to_the_callers_subreaper(oci: Runtime):
    """What conmon relies on: it reads the pid file, and waits for that process."""
    oci.identifiers.add("mine")
    bundle = oci.bundle(oci.spec("sh", "-c", "exit 9"))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SUBREAPER), COMMAND, oci.root, bundle,
         oci.directory], capture_output=True, text=True, cwd=CHECKOUT, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "9", done.stderr


def test_list_has_all_containers(oci: Runtime):
    first, second = oci.create(oci.spec("sleep", "9")), oci.running()
    assert oci.ok("list", "-q").split() == [first, second]
    listed = json.loads(oci.ok("list", "--format", "json"))
    assert [(e["id"], e["status"]) for e in listed] == [(first, "created"), (second, "running")]
    table = oci.ok("list").splitlines()
    assert table[0].split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert len(table) == 3


def test_create_killed_half_way_leaves_what_delete_force_clears(oci: Runtime):
    identifier = oci.identifier()
    bundle = oci.bundle(oci.spec("sleep", "1000"))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    for delay in range(20, 200, 15):
        process = oci.start_command("create", "-b", bundle, identifier, **quiet)
        time.sleep(delay / 1000)
        process.kill()
        process.wait()
        oci.ok("delete", "--force", identifier)
        assert eventually(lambda: oci.leftovers() == []), (delay, oci.leftovers())
