from __future__ import annotations

import ctypes
import gc
import mmap
import os
import re
import subprocess

import pytest

from migrate.kernel import namespaces, processes
from tests.engine import eventually


def test_locked_memory_is_counted():
    before = processes.locked_bytes(os.getpid())
    with mmap.mmap(-1, 4 * mmap.PAGESIZE) as area:
        address = ctypes.addressof(ctypes.c_char.from_buffer(area))
        assert ctypes.CDLL(None).mlock(ctypes.c_void_p(address), ctypes.c_size_t(len(area))) == 0
        assert processes.locked_bytes(os.getpid()) == before + len(area)
        gc.collect()  # what was exported of the area
    with pytest.raises((FileNotFoundError, ProcessLookupError)):
        processes.locked_bytes(2**22 + 1)


def test_start_time_identifies_a_process():
    child = subprocess.Popen(["sleep", "60"])
    try:
        started = processes.start_time(child.pid)
        assert processes.is_running(child.pid, started)
        assert not processes.is_running(child.pid, started + 1)
    finally:
        child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not processes.is_running(child.pid, started)  # a zombie
    child.wait()
    assert not processes.is_running(child.pid, started)


def test_a_command_with_brackets_and_blanks_is_read_whole(tmp_path):
    program = tmp_path / "a) R (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "60"]) as child:
        try:
            # Popen returns before an exec is wholly done.
            assert eventually(lambda: processes.stat_fields(child.pid)[1] == "a) R (b")
            assert processes.start_time(child.pid) > 0
        finally:
            child.kill()


def test_boot_id_is_a_uuid():
    assert re.fullmatch(r"[0-9a-f-]{36}", processes.boot_id())


def test_pidfd_of_an_ended_process():
    child = subprocess.Popen(["true"])
    descriptor = processes.pidfd_open(child.pid)
    child.wait()
    with pytest.raises(ProcessLookupError):
        processes.pidfd_send_signal(descriptor, 9)
    os.close(descriptor)


@pytest.mark.root
def test_unshare_and_setns():
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            before = namespaces.namespace_id("uts")
            with namespaces.namespace_descriptor("uts") as old:
                namespaces.unshare(namespaces.CLONE_NEWUTS)
                namespaces.set_host_name("elsewhere")
                assert namespaces.namespace_id("uts") != before
                assert os.uname().nodename == "elsewhere"
                namespaces.setns(old, namespaces.CLONE_NEWUTS)
            assert namespaces.namespace_id("uts") == before
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
