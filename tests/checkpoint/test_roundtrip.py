"""Checkpoint and restore of a container, again and again, and through the commands."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.checkpoint import freezing
from migrate.checkpoint.errors import EndedWithCriu
from migrate.checkpoint.replacement import Replacement
from migrate.checkpoint.restore import Restorer
from migrate.runtime import records
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.errors import WrongState
from migrate.runtime.lifecycle.start import start
from migrate.runtime.lifecycle.stop import kill, stop
from migrate.runtime.records import Bind, Network, load_process
from migrate.runtime.status import status_of
from tests.checkpoint import moments
from tests.checkpoint.conftest import Place
from tests.subnet import SUBNET

pytestmark = [pytest.mark.root, pytest.mark.criu]


def run_inside(place: Place, record, script: str) -> str:
    """What `exec` prints."""
    done = place.migrate("exec", record.identifier, "/bin/sh", "-c", script)
    return str(done.stdout)


def test_round_trips_again_and_again(place):
    record = place.counter()
    uptime = float(run_inside(place, record, "cat /proc/uptime").split()[0])
    for turn in range(4):
        place.counts_on(record)
        output = f"turn{turn}/" if turn % 2 else f"turn{turn}.tar.zst"
        saved = json.loads(place.migrate("checkpoint", "counter", "-o", output, "--json").stdout)
        assert place.status(record) == "stopped"
        assert not saved["running"]
        assert saved["size"] > 1000
        place.migrate("restore", output)
        place.counts_on(record)
        # The counter may just have emptied it to write the next number.
        place.wait_for(lambda: int(run_inside(place, record, "cat /count") or 0) > 0)
        assert float(run_inside(place, record, "cat /proc/uptime").split()[0]) >= uptime
        assert os.stat(place.directory / output.rstrip("/")).st_mode & 0o077 == 0
    stop(place.paths, record, 0.2)
    assert status_of(place.paths, record).exit_status == 137
    start(place.paths, records.find(place.paths, "counter"))
    assert place.status(record) == "running"


def test_exit_code_is_kept_after_a_restore(place):
    text = "trap 'echo bye; exit 42' TERM; echo ready; while :; do sleep 0.02; done"
    record = place.make("traps", ["/bin/sh", "-c", text])
    place.wait_for(lambda: "ready" in place.log(record))
    place.migrate("checkpoint", "traps")
    place.migrate("restore", "traps.checkpoint.tar.zst")
    kill(place.paths, record, "TERM")
    place.wait_for(lambda: place.status(record) == "stopped")
    place.wait_for(lambda: status_of(place.paths, record).exit_status == 42)
    assert place.log(record)[-1] == "bye"


def is_inside_vfork(record) -> bool:
    """Whether one of several waits in D; who is alone does so for its program's pages."""
    pids = ControlGroup.of(record.identifier).pids()
    for pid in pids if len(pids) > 1 else ():
        with contextlib.suppress(OSError):  # it has ended
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "D":
                return True
    return False


def test_a_shell_that_is_mostly_inside_vfork(place):
    """CRIU can't seize who waits for its vfork child: the freeze finds a moment between two."""
    record = place.make("starts", ["/bin/sh", "-c", "while :; do /bin/true; done"])
    place.wait_for(lambda: is_inside_vfork(record))
    for number in range(8):
        place.migrate("checkpoint", "starts", "--leave-running", "-o", f"{number}.tar.zst")
        assert place.status(record) == "running"


def test_a_vfork_without_end_is_refused(place, monkeypatch):
    """The child of posix_spawn(3) waits in an open(2) before its exec, for ever."""
    program = (
        "import os; os.mkfifo('/fifo'); "
        "os.posix_spawn('/bin/true', ['true'], {}, "
        "file_actions=[(os.POSIX_SPAWN_OPEN, 0, '/fifo', os.O_RDONLY, 0)])"
    )
    monkeypatch.setattr(freezing, "VFORK_LIMIT", 1.0)
    record = place.make("stuck", ["/usr/bin/python3", "-c", program])
    place.wait_for(lambda: is_inside_vfork(record))
    error = place.fails("checkpoint", "stuck")
    assert error["name"] == "not-dumpable"
    assert "vfork" in error["cause"]
    assert place.status(record) == "running"


def tracer_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("TracerPid:")[2].split()[0])


def processes_of_session(leader: int) -> Iterator[int]:
    """Those that a killed CRIU might leave; field 6 of proc_pid_stat(5)."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[3]) == leader:
                yield int(path.parent.name)


def test_a_container_that_dies_with_criu_is_told(place, monkeypatch):
    """As a kill of CRIU in an unlucky moment does it: init is gone, and so is its tracer."""
    record = place.counter()
    place.counts_on(record)
    init = load_process(place.paths.container(record.identifier)).pid
    held = moments.of_dumps(monkeypatch, place.directory, "query-ext-files")
    command = place.begin(
        "checkpoint", "counter", "-o", "out", "--json",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    held.wait(command)
    criu = tracer_of(init)
    assert criu
    for victim, number in ((criu, signal.SIGSTOP), (init, signal.SIGKILL), (criu, signal.SIGKILL)):
        os.kill(victim, number)
    place.wait_for(lambda: not Path(f"/proc/{init}").exists())
    held.go_on()
    out, errors = command.communicate(timeout=60)
    assert command.returncode == EndedWithCriu.code, out + errors
    assert "ended-with-criu" in out + errors
    assert place.status(record) == "stopped"
    assert not (place.directory / "out").exists()
    place.wait_for(lambda: not list(processes_of_session(criu)))
    place.migrate("start", "counter")
    assert place.status(record) == "running"


def test_leave_running_and_go_back(place):
    record = place.counter()
    place.counts_on(record)
    done = place.migrate("checkpoint", "counter", "--leave-running")
    assert "it runs on" in done.stdout
    place.counts_on(record)
    assert place.fails("restore", "counter.checkpoint.tar.zst")["name"] == "wrong-state"
    place.counts_on(record)
    stop(place.paths, record, 0)
    place.migrate("restore", "counter.checkpoint.tar.zst")
    place.counts_on(record)  # from the checkpoint's number on: else some would be there twice
    # And once more from the same checkpoint.
    stop(place.paths, record, 0)
    place.migrate("restore", "counter.checkpoint.tar.zst")
    place.counts_on(record)


def test_a_copy_under_another_name(place):
    record = place.counter()
    place.counts_on(record)
    place.migrate("checkpoint", "counter", "--leave-running")
    assert place.fails("restore", "counter.checkpoint.tar.zst", "--name", "counter")["name"] == (
        "name-taken"
    )
    place.migrate("restore", "counter.checkpoint.tar.zst", "--name", "twin")
    twin = records.find(place.paths, "twin")
    assert twin.identifier != record.identifier
    place.counts_on(twin)
    place.counts_on(record)
    place.migrate("checkpoint", "twin")
    place.migrate("restore", "twin.checkpoint.tar.zst")
    place.counts_on(twin)


def test_after_rm_it_is_made_anew(place):
    record = place.counter(binds=(Bind("things", "/things", volume=True),))
    place.counts_on(record)
    (place.paths.volumes / "things/file").write_text("from then")
    place.migrate("checkpoint", "counter")
    place.close()
    error = place.fails("restore", "counter.checkpoint.tar.zst")
    assert error["name"] == "place-unfit"
    assert not records.load_all(place.paths)
    (place.paths.volumes / "things/file").unlink()
    place.migrate("restore", "counter.checkpoint.tar.zst")
    place.counts_on(record)
    assert (place.paths.volumes / "things/file").read_text() == "from then"


def test_own_volume_is_replaced_and_others_left_alone(place):
    record = place.counter(binds=(Bind("things", "/things", volume=True),))
    file = place.paths.volumes / "things/file"
    file.write_text("from then")
    place.migrate("checkpoint", "counter")
    file.write_text("from later")
    other = place.counter("other", binds=(Bind("things", "/things", volume=True),))
    assert place.fails("restore", "counter.checkpoint.tar.zst")["name"] == "place-unfit"
    assert file.read_text() == "from later"
    stop(place.paths, other, 0)
    from migrate.runtime.lifecycle.delete import delete

    delete(place.paths, other)
    place.migrate("restore", "counter.checkpoint.tar.zst")
    assert file.read_text() == "from then"
    place.counts_on(record)


def test_address_taken(place, bridge):
    network = Network(driver="bridge", bridge=bridge, address=f"{SUBNET}.9/24")
    record = place.counter(network=network)
    place.migrate("checkpoint", "counter", "--leave-running")
    error = place.fails("restore", "counter.checkpoint.tar.zst", "--name", "twin")
    assert error["name"] == "address-taken"
    place.counts_on(record)


def test_moved_away_and_held_containers_are_refused(place):
    import msgspec

    record = place.counter()
    place.migrate("checkpoint", "counter")
    moved = msgspec.structs.replace(record, moved_to="somewhere")
    records.save(place.paths, moved)
    assert place.fails("restore", "counter.checkpoint.tar.zst")["name"] == "generation-old"
    records.save(place.paths, msgspec.structs.replace(record, held="x"))
    assert place.fails("restore", "counter.checkpoint.tar.zst")["name"] == "move-unsettled"
    assert place.fails("checkpoint", "counter", "-o", "new")["name"] == "move-unsettled"
    records.save(place.paths, record)


def test_missing_layers_are_named(place):
    place.counter()
    place.migrate("checkpoint", "counter")
    store = place.paths.images
    os.rename(store, store.with_name("images-away"))
    error = place.fails("restore", "counter.checkpoint.tar.zst")
    assert error["name"] == "layer-missing"
    assert "sha256:" in error["cause"]
    os.rename(store.with_name("images-away"), store)
    place.migrate("restore", "counter.checkpoint.tar.zst")


def test_states_and_outputs_that_do_not_fit(place):
    record = place.counter()
    place.directory.joinpath("counter.checkpoint.tar.zst").write_text("precious")
    assert place.fails("checkpoint", "counter")["name"] == "output-exists"
    assert place.fails("checkpoint", "counter", "-o", "no/such/place")["name"] == "usage-error"
    assert place.fails("checkpoint", "counter", "-o", "rootfs/")["name"] == "output-exists"
    assert place.fails("checkpoint", "nobody")["name"] == "container-unknown"
    assert place.fails("restore", "nothing")["name"] == "usage-error"
    place.counts_on(record)
    stop(place.paths, record, 0)
    assert place.fails("checkpoint", "counter", "-o", "new")["name"] == "wrong-state"


def test_a_restore_that_fails_puts_everything_back(place, monkeypatch):
    from migrate.checkpoint.bring_back import bring_back
    from migrate.criu.errors import CriuFailed

    record = place.counter(binds=(Bind("things", "/things", volume=True),))
    place.counts_on(record)
    place.migrate("checkpoint", "counter")
    own = place.paths.container(record.identifier)
    (own.upper / "mark").write_text("of later")
    (place.paths.volumes / "things/mark").write_text("of later")

    def fail(*_args, **_named):
        raise CriuFailed("no")

    archive = place.directory / "counter.checkpoint.tar.zst"
    with monkeypatch.context() as patch:
        patch.setattr(Restorer, "restore", fail)
        with pytest.raises(CriuFailed):
            bring_back(place.paths, archive)
    assert (own.upper / "mark").read_text() == "of later"
    assert (place.paths.volumes / "things/mark").read_text() == "of later"
    assert [r.name for r in records.load_all(place.paths)] == ["counter"]
    assert place.status(record) == "stopped"
    assert place.leftovers() == []
    place.migrate("restore", archive)
    assert not (own.upper / "mark").exists()
    place.counts_on(record)


def interrupted(place: Place, number: int, delay: float) -> bool:
    """A checkpoint that gets a signal after `delay` seconds; False: it was done by then.

    Done, the command may still end by the signal: Python gives it back to the kernel at its exit.
    """
    process = place.begin("checkpoint", "memory", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    time.sleep(delay)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode in {0, 130, -number}, told
    return process.returncode != 0 and not list(place.directory.glob("*.tar.zst"))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_checkpoint_leaves_it_running(place, share, number):
    """At a share of the time that a whole one takes, or earlier when it was done by then."""
    record = place.make("memory", ["/usr/bin/python3", "/programs/memory.py", "48"])
    place.wait_for(lambda: "ready" in place.log(record))
    begun = time.monotonic()
    place.migrate("checkpoint", "memory")
    delay = share * (time.monotonic() - begun)
    archive = place.directory / "memory.checkpoint.tar.zst"
    for _ in range(8):
        place.migrate("restore", archive)
        archive.unlink()
        if interrupted(place, number, delay):
            break
        delay *= 0.7
    else:
        pytest.fail("every checkpoint was done before its signal")
    assert not list(place.directory.glob("*.tar.zst"))
    assert place.status(record) == "running"
    assert place.leftovers() == []
    lines = len(place.log(record))
    place.wait_for(lambda: len(place.log(record)) > lines)


def test_after_kill_9_resume_and_the_next_checkpoint_work(place, monkeypatch):
    record = place.make("memory", ["/usr/bin/python3", "/programs/memory.py", "48"])
    place.wait_for(lambda: "ready" in place.log(record))
    init = load_process(place.paths.container(record.identifier)).pid
    dumped = moments.of_dumps(monkeypatch, place.directory, "post-dump")
    process = place.begin("checkpoint", "memory")
    dumped.wait(process)
    criu = tracer_of(init)
    process.kill()
    process.wait()
    dumped.go_on()
    from migrate.runtime.lifecycle.pause import resume

    # CRIU, left alone, finishes and freezes it again.
    place.wait_for(lambda: not list(processes_of_session(criu)))
    assert place.status(record) == "paused"
    resume(place.paths, record)
    begun = len(place.log(record))
    place.wait_for(lambda: len(place.log(record)) > begun)
    place.migrate("checkpoint", "memory", "-o", "again")
    for path in place.directory.glob(".*.tmp"):
        path.unlink()
    place.migrate("restore", "again")


def test_a_restore_that_was_killed_is_undone_or_done_again(place, monkeypatch):
    record = place.counter()
    place.wait_for(lambda: len(place.log(record)) > 5)
    place.migrate("checkpoint", "counter", "-o", "saved")
    upper = place.paths.container(record.identifier).upper
    (upper / "made-later").write_text("kept")
    aside = place.paths.container(record.identifier).before_restore
    settled = (Replacement, "settle")  # all runs but for the freezer
    for step, mend in (((Restorer, "restore"), ["recover", "counter"]), (settled, ["recover"]),
                       ((Restorer, "restore"), ["restore", "saved"])):  # fmt: skip
        with monkeypatch.context() as patch:
            moment = moments.before(patch, place.directory, *step)
            process = place.begin("restore", "saved")
            moment.wait(process)
        process.kill()
        process.wait()
        assert aside.exists()
        refused = place.migrate("start", "counter", check=False)
        assert refused.returncode == WrongState.code
        assert "migrate recover counter" in refused.stderr
        place.migrate(*mend)
        assert not aside.exists()
        if mend[0] == "recover":
            assert place.status(record) == "stopped"
            assert (upper / "made-later").read_text() == "kept"
    assert place.fails("recover", "nobody")["name"] == "container-unknown"
    place.counts_on(record)


@pytest.mark.parametrize("form", ["file", "directory/"])
def test_full_disk(place, small_disk, form):
    disk = small_disk(1 << 20)
    record = place.make("memory", ["/usr/bin/python3", "/programs/memory.py", "8"])
    place.wait_for(lambda: "ready" in place.log(record))
    error = place.fails("checkpoint", "memory", "-o", f"{disk}/{form}")
    assert error["name"] == "disk-full", error
    assert os.listdir(disk) == []
    assert place.status(record) == "running"
    begun = len(place.log(record))
    place.wait_for(lambda: len(place.log(record)) > begun)


def test_full_disk_at_the_restore(place, small_disk):
    record = place.make("memory", ["/usr/bin/python3", "/programs/memory.py", "32"])
    place.wait_for(lambda: "ready" in place.log(record))
    place.migrate("checkpoint", "memory")
    disk = small_disk(40 << 20)
    os.rename(place.paths.state / "staging", place.directory / "away")
    Path(place.paths.state / "staging").symlink_to(disk)
    assert place.fails("restore", "memory.checkpoint.tar.zst")["name"] == "disk-full"
    assert place.status(record) == "stopped"
    os.unlink(place.paths.state / "staging")
    place.migrate("restore", "memory.checkpoint.tar.zst")
