"""The library that is preloaded into `criu dump`: built by any compiler, and left-out ranges."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from migrate.criu.errors import FilterNotBuilt
from migrate.criu.skeleton import filter as dump_filter
from migrate.criu.skeleton.filter import Skeleton
from tests.transfer.test_pages import Memory

PAGE = mmap.PAGESIZE
SCAN = """
import json, os, sys
from migrate.kernel.pagemap import PAGE_IS_PRESENT, PagemapScanner
pid, start, end, length = map(int, sys.argv[1:])
descriptor = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY)
found = PagemapScanner(length).scan(descriptor, start, end, any_of=PAGE_IS_PRESENT)
print(json.dumps([[int(a), int(b)] for a, b, _ in found]))
"""
ASK = """
import socket, struct
link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
link.settimeout(5)
asked = bytearray(struct.pack("=IHHII", 20, 0x0101, 0x301, 1, 0) + bytes(4))
link.sendmsg([asked])
print(struct.unpack_from("=IH", link.recv(65536))[1], struct.unpack_from("=IH", asked)[1])
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "criu"
    monkeypatch.setattr(dump_filter, "home", lambda: place)
    return place


@pytest.fixture
def skeleton(home: Path, tmp_path: Path) -> Skeleton:
    assert dump_filter.build()
    return Skeleton(tmp_path / "skeleton")


def present(memory: Memory, pages: int, skeleton: Skeleton, length: int) -> list[int]:
    """The pages that a process with the filter sees of ours."""
    arguments = (os.getpid(), memory.start, memory.page(pages), length)
    done = subprocess.run(
        [sys.executable, "-c", SCAN, *map(str, arguments)], env=skeleton.environment(), check=True,
        capture_output=True, text=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    runs = json.loads(done.stdout)
    return [(a - memory.start) // PAGE for start, end in runs for a in range(start, end, PAGE)]


@pytest.mark.parametrize("length", [1 << 16, 7])
def test_ranges_are_left_out_and_the_rest_is_whole(skeleton: Skeleton, length: int) -> None:
    memory = Memory(400)
    there = [number for number in range(400) if number % 5]
    for number in there:
        memory.map[number * PAGE] = 1
    assert present(memory, 400, skeleton, length) == there
    out = [(0, 10), (10, 30), (101, 102), (150, 300), (395, 400)]
    skeleton.leave_out(os.getpid(), memory.runs(*out))
    gone = {number for start, end in out for number in range(start, end)}
    assert present(memory, 400, skeleton, length) == [n for n in there if n not in gone]
    skeleton.leave_out(os.getpid(), memory.runs((0, 400)))
    assert present(memory, 400, skeleton, length) == []


def test_other_processes_are_told_whole(skeleton: Skeleton) -> None:
    memory = Memory(4)
    memory.map[: 4 * PAGE] = b"x" * (4 * PAGE)
    skeleton.leave_out(os.getpid() + 1, memory.runs((0, 4)))
    assert present(memory, 4, skeleton, 16) == [0, 1, 2, 3]
    empty = np.empty((0, 2), dtype=np.uint64)
    skeleton.leave_out(os.getpid(), empty)
    assert present(memory, 4, skeleton, 16) == [0, 1, 2, 3]


OPEN = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
directory = os.open(sys.argv[1], os.O_PATH)
for name in sys.argv[2:]:
    descriptor = libc.openat64(directory, name.encode(), os.O_RDONLY, 0)
    print(os.read(descriptor, 20) if descriptor >= 0 else descriptor, flush=True)
"""


def opened(skeleton: Skeleton, directory: str, *names: str) -> list[str]:
    """What a process with the filter reads."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, directory, *names], env=skeleton.environment(), check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def test_smaps_is_what_was_told(skeleton: Skeleton, tmp_path: Path) -> None:
    own = f"/proc/{os.getpid()}"
    before = opened(skeleton, own, "smaps", "maps", "nothing")
    assert before[2] == "-1"
    skeleton.tell_smaps(os.getpid(), b"told")
    assert opened(skeleton, own, "smaps", "maps", "nothing") == [str(b"told"), *before[1:]]
    assert opened(skeleton, f"/proc/{os.getppid()}", "smaps") != [str(b"told")]
    for directory in (tmp_path / "smaps", tmp_path / f"x{os.getpid()}"):
        directory.mkdir()
        (directory / "smaps").write_text("a file")
        assert opened(skeleton, str(directory), "smaps") == [str(b"a file")]


def opening(skeleton: Skeleton) -> subprocess.Popen[str]:
    """A process with the filter that wants our smaps."""
    return subprocess.Popen(
        [sys.executable, "-c", OPEN, f"/proc/{os.getpid()}", "smaps"], text=True,
        env=skeleton.environment(), stdout=subprocess.PIPE,
    )  # fmt: skip


def test_smaps_is_waited_for_while_somebody_looks(skeleton: Skeleton) -> None:
    skeleton.begin_look()
    skeleton.leave_out(os.getpid() + 1, np.empty((0, 2), dtype=np.uint64))
    with opening(skeleton) as waiting:
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.3)
        skeleton.tell_smaps(os.getpid(), b"told")
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.1)
        skeleton.leave_out(os.getpid(), np.empty((0, 2), dtype=np.uint64))
        assert waiting.communicate(timeout=60)[0] == f"{b'told'!r}\n"
    with opening(skeleton) as at_once:
        assert at_once.communicate(timeout=60)[0] == f"{b'told'!r}\n"


def test_the_end_of_the_look_lets_everybody_go_on(skeleton: Skeleton) -> None:
    skeleton.begin_look()
    with opening(skeleton) as waiting:
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.2)
        skeleton.end_look()
        skeleton.end_look()
        assert waiting.communicate(timeout=60)[0] != ""


ORPHANED = """
import os, subprocess, sys
subprocess.Popen([sys.executable, "-c", sys.argv[1], *sys.argv[2:]])
sys.stdin.readline()
"""


def test_who_looked_and_has_died_is_not_waited_for(skeleton: Skeleton) -> None:
    skeleton.begin_look()
    words = [OPEN, f"/proc/{os.getpid()}", "maps", "smaps"]
    with subprocess.Popen(
        [sys.executable, "-c", ORPHANED, *words], text=True, env=skeleton.environment(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as looking:  # fmt: skip
        assert looking.stdout
        assert looking.stdout.readline().startswith("b'")  # maps, which nobody has to look at
        looking.kill()
        assert looking.stdout.readline().startswith("b'")


@pytest.mark.root
def test_tracked_connections_are_asked_for_and_the_request_stays(skeleton: Skeleton) -> None:
    for _marked in range(2):
        done = subprocess.run(  # where nobody else's connections are
            ["unshare", "--net", sys.executable, "-c", ASK], env=skeleton.environment(), check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        answer, asked = done.stdout.split()
        assert answer == "3"  # NLMSG_DONE
        assert asked == str(0x0101)
        skeleton.leave_out_connections()


@pytest.fixture
def compilers() -> list[str]:
    found = [name for name in ("cc", "gcc", "clang", "tcc") if shutil.which(name)]
    assert found, "make setup installs one"
    return found


def test_each_compiler_here_will_do(home, compilers, monkeypatch) -> None:
    for name in compilers:
        monkeypatch.setattr(dump_filter, "_COMPILERS", (name,))
        assert dump_filter.build()
        assert not dump_filter.build()
        assert dump_filter.is_built()
        dump_filter.library().unlink()


def test_without_a_compiler_or_with_a_complaint(home, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(dump_filter, "_COMPILERS", ())
    with pytest.raises(FilterNotBuilt, match="not built"):
        dump_filter.build()
    broken = tmp_path / "compiler"
    broken.write_text("#!/bin/sh\necho it is too old >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(dump_filter, "_COMPILERS", (str(broken),))
    with pytest.raises(FilterNotBuilt) as raised:
        dump_filter.build()
    assert raised.value.cause == "it is too old"
    assert list(home.iterdir()) == []
