"""A container whose monitor was killed is saved and brought back; its restart policy goes along."""

from __future__ import annotations

import os
import signal

import pytest

from migrate.runtime import records
from migrate.runtime.records import Record, load_process
from tests.checkpoint.conftest import Place

pytestmark = [pytest.mark.root, pytest.mark.criu]
# It says nothing: who writes to a log that nobody reads gets SIGPIPE.
SILENT = "i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.02; done"


def silent(place: Place, *options: str) -> Record:
    """A container that counts into a file."""
    place.migrate("run", "-d", "--name", "silent", *options, "-v", "/usr:/usr:ro", "--rootfs",
                  place.rootfs, "/bin/sh", "-c", SILENT)  # fmt: skip
    return records.find(place.paths, "silent")


def counts(place: Place, record: Record) -> None:
    """It goes on."""
    file = place.paths.container(record.identifier).upper / "count"
    place.wait_for(file.exists)
    seen = file.read_text()
    place.wait_for(lambda: file.read_text() not in {seen, ""}, "it stands still")


def test_without_its_monitor_it_is_saved_and_restored(place: Place):
    record = silent(place)
    counts(place, record)
    process = load_process(place.paths.container(record.identifier))
    assert process
    os.kill(process.monitor, signal.SIGKILL)
    place.migrate("checkpoint", "silent", "-o", "saved")
    assert place.status(record) == "stopped"
    place.migrate("restore", "saved")
    counts(place, record)
    now = load_process(place.paths.container(record.identifier))
    assert now
    assert now.monitored
    os.kill(now.pid, signal.SIGKILL)
    assert place.migrate("wait", "silent").stdout == "137\n"


def test_the_restart_policy_goes_along(place: Place):
    record = silent(place, "--restart", "always")
    counts(place, record)
    place.migrate("checkpoint", "silent", "-o", "saved")
    assert place.status(record) == "stopped"  # its end was wanted
    place.migrate("restore", "saved")
    counts(place, record)
    process = load_process(place.paths.container(record.identifier))
    assert process
    os.kill(process.pid, signal.SIGKILL)
    own = place.paths.container(record.identifier)
    place.wait_for(lambda: (now := load_process(own)) and now.started and now.pid != process.pid)
    counts(place, record)
    place.migrate("stop", "-t", "0", "silent")
    assert place.status(record) == "stopped"
