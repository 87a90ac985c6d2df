"""run: create and start; in the foreground signals and terminal are passed on."""

from __future__ import annotations

import os
import socket
from typing import Any

from migrate.kernel.processes import set_child_subreaper
from migrate.oci import notify, records
from migrate.oci.attached import passing_signals, relay_terminal, wait_for
from migrate.oci.create import create, load_config, make
from migrate.oci.delete import remove
from migrate.oci.errors import BadUsage
from migrate.oci.main import Ended
from migrate.oci.start import released, start
from migrate.runtime.terminal import window_size


def run(settings: dict[str, Any], values: dict[str, Any], words: list[str]) -> None:
    """Create and start; in the foreground wait and delete, with the program's exit status."""
    spec = load_config(values["bundle"])
    wants_terminal = bool(spec["process"].get("terminal"))
    if values["console_socket"] and not (wants_terminal and values["detach"]):
        raise BadUsage("--console-socket needs --detach, and process.terminal to be true")
    if wants_terminal and values["detach"] and not values["console_socket"]:
        raise BadUsage("cannot allocate tty without --console-socket", cause="--detach was given")
    if values["detach"]:
        create(settings, values, words)
        try:
            start(settings, values, words)
        except BaseException:
            remove(records.load(settings["root"], words[0]))
            raise
        return
    raise Ended(run_attached(settings, values, words[0], spec))


def run_attached(
    settings: dict[str, Any], values: dict[str, Any], identifier: str, spec: dict[str, Any]
) -> int:
    """Create, start, wait, delete; the program's exit status (128 + n for signal n)."""
    set_child_subreaper()
    ours: socket.socket | None = None
    theirs: socket.socket | None = None
    if spec["process"].get("terminal"):
        _size_of_ours(spec["process"])
        ours, theirs = socket.socketpair()
    container = make(settings, values, identifier, spec, theirs)
    pid = container.pid
    try:
        if theirs:
            theirs.close()
        with passing_signals(pid):
            if channel := released(settings, identifier):
                _pass_on(channel, pid)
            if ours:
                relay_terminal(ours, pid)
            return wait_for(pid)
    finally:
        if not values["keep"]:
            remove(container)


def _pass_on(channel: socket.socket, pid: int) -> None:
    """A child waits for the program's READY=1: we have its streams and its end to see to."""
    if os.fork() == 0:
        try:
            notify.pass_on(channel, pid, main=False)
        finally:
            os._exit(0)
    channel.close()


def _size_of_ours(process: dict[str, Any]) -> None:
    import struct

    size = window_size()
    if size and not process.get("consoleSize"):
        height, width, _x, _y = struct.unpack("HHHH", size)
        process["consoleSize"] = {"height": height, "width": width}
