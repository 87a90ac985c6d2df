"""What is held and is not what it was is found."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from migrate.bench.workloads import holding
from migrate.bench.workloads.holding import Files, echo, echoes


def test_a_file_that_stands_elsewhere_or_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "PLACE", tmp_path)
    files = Files(5)
    assert files.wrong() == 0
    os.lseek(files._open[3], 1, os.SEEK_CUR)
    assert files.wrong() == 1
    (tmp_path / "0").write_bytes(b"other")
    with (tmp_path / "4").open("ab") as more:
        more.write(b"x")
    assert files.wrong() == 3
    for descriptor in files._open:
        os.close(descriptor)


def test_a_connection_that_does_not_echo() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=echo, args=(listener,), daemon=True).start()
        with socket.create_connection(listener.getsockname()) as channel:
            assert echoes(channel, b"0 1\n")
            channel.shutdown(socket.SHUT_WR)
            assert not echoes(channel, b"0 2\n")
    here, there = socket.socketpair()
    with here, there:
        there.sendall(b"0 2\n")
        assert not echoes(here, b"0 1\n")
