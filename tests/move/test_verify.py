"""All memory of both copies compared before the new one runs, in every mode."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from migrate.checkpoint import digests
from migrate.move.errors import MoveRolledBack
from tests.hosts import Host
from tests.hosts.redis import MIGRATE
from tests.move.faults.holding import arm, wait_until_held
from tests.move.fixtures import containers
from tests.move.test_move import move
from tests.move.test_precopy import clean, goes_on, output, pair, start

__all__ = ["clean", "pair"]
MODES = ("stop-copy", "pre-copy", "hybrid", "post-copy")
PAGE = 4096
DAMAGE = """
import json, sys
pid = json.load(sys.stdin)["status"]["pid"]
heap = next(line for line in open(f"/proc/{pid}/maps") if line.rstrip().endswith("[heap]"))
address = int(heap.split("-")[0], 16) + 5 * 4096
with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
    memory.seek(address)
    byte = memory.read(1)[0]
    memory.seek(address)
    memory.write(bytes([byte ^ 1]))
print(address)
"""


def inspected(host: Host) -> str:
    return host.run([MIGRATE, "inspect", "stress"]).stdout


@pytest.fixture
def huge_pages_always() -> Iterator[None]:
    """As on many distributions; the machine's own setting, of all tests, is put back."""
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    before = setting.read_text().partition("[")[2].partition("]")[0]
    setting.write_text("always")
    yield
    setting.write_text(before)


@pytest.mark.root
@pytest.mark.criu
@pytest.mark.hosts
@pytest.mark.alone
@pytest.mark.timeout(240)
@pytest.mark.usefixtures("huge_pages_always")
def test_huge_pages_hide_no_missing_page(clean: tuple[Host, Host]) -> None:
    """CRIU restores some pages at once: the kernel must not put zeros around them."""
    start(clean[0], "stress", "stress.py", "3")
    goes_on(clean[0], "stress")
    for turn in range(4):
        source, target = clean[turn % 2], clean[(turn + 1) % 2]
        mode = ("pre-copy", "post-copy")[turn // 2]
        assert move(source, target, "stress", "--mode", mode, "--verify")["mode"] == mode
        goes_on(target, "stress")
        pid = json.loads(inspected(target))["status"]["pid"]
        assert "THP_enabled:\t1" in target.run(["cat", f"/proc/{pid}/status"]).stdout
    assert [line for line in output(clean[0], "stress") if "WRONG" in line] == []


@pytest.mark.root
@pytest.mark.criu
@pytest.mark.hosts
@pytest.mark.timeout(240)
def test_no_page_differs_in_any_mode(clean: tuple[Host, Host]) -> None:
    start(clean[0], "stress", "stress.py", "3")
    goes_on(clean[0], "stress")
    for turn, mode in enumerate(MODES):
        source, target = clean[turn % 2], clean[(turn + 1) % 2]
        assert move(source, target, "stress", "--mode", mode, "--verify")["mode"] == mode
        goes_on(target, "stress")
    assert [line for line in output(clean[0], "stress") if "WRONG" in line] == []


@pytest.mark.root
@pytest.mark.criu
@pytest.mark.hosts
def test_one_byte_that_differs_is_found_and_rolled_back(clean: tuple[Host, Host]) -> None:
    source, target = clean
    start(source, "stress", "holder.py", "4")
    goes_on(source, "stress")
    arm(target, "restored-there")
    command = source.popen(
        [MIGRATE, "move", "--verify", "--mode", "stop-copy", "stress", target.ssh_target],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    held = wait_until_held(target, "agent", command)
    address = int(target.run(["python3", "-c", DAMAGE], input=inspected(target)).stdout)
    os.kill(held, signal.SIGCONT)
    _out, told = command.communicate(timeout=60)
    assert command.returncode == MoveRolledBack.code
    assert f"{address:#x} of process 1" in told
    assert containers(target) == {}
    goes_on(source, "stress")


@pytest.mark.root
def test_digests_of_memory_and_what_compares() -> None:
    """A child of this process: what exists, what was emptied, what has come in addition."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    base = libc.mmap(None, 64 * PAGE, 3, 0x22, -1, 0)
    ctypes.memset(base, 7, 8 * PAGE)
    taken = digests.read_digests(os.getpid(), np.array([(base, base + 8 * PAGE)], dtype=np.uint64))
    assert len({int(digest) for digest in taken[:, 1]}) == 1
    assert taken[:, 0].tolist() == [base + n * PAGE for n in range(8)]
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    os.waitpid(pid, os.WUNTRACED)  # from now on it writes nothing
    try:
        whole = digests.digests(pid)
        assert set(taken[:, 0].tolist()) < set(whole[:, 0].tolist())
        assert digests.compare(pid, whole, set()) == []
        without = whole[whole[:, 0] != base + 3 * PAGE]
        assert digests.compare(pid, without, set()) == [base + 3 * PAGE]
        changed = whole.copy()
        changed[whole[:, 0] == base, 1] ^= np.uint64(1)
        assert digests.compare(pid, changed, set()) == [base]
        assert digests.compare(pid, changed, {base}) == []
        more = np.array([[base + 60 * PAGE, 5]], dtype=np.uint64)
        added = np.concatenate([whole, more])
        assert digests.compare(pid, added, set()) == [base + 60 * PAGE]
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
