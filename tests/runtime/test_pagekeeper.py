"""What keeps a page server: whatever the server does, its descriptors stay, and another follows."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engine import eventually

pytestmark = [pytest.mark.root]

ROOT = Path(__file__).parents[2]
SERVER = """
import os, signal, time
def serve(launch, restarts):
    {body}
"""


class Kept:
    """`keeper.py` with a server whose function is `body`; it sees `launch` and `restarts`."""

    def __init__(self, directory: Path, body: str) -> None:
        (directory / "pages").mkdir()
        (directory / "fakeserver.py").write_text(SERVER.format(body=body))
        self.out = directory / "out"
        self.server = 0
        self.filling = directory / "filling"
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/runtime/keeper.py")], text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{directory}"},
        )  # fmt: skip
        request = {
            "module": "fakeserver", "directory": str(directory / "pages"),
            "socket": str(directory / "s"), "filling": str(self.filling),
            "options": {"out": str(self.out), "rate": 1},
        }  # fmt: skip
        assert self.process.stdin
        self.process.stdin.write(json.dumps(request) + "\n")

    def word(self) -> str:
        assert self.process.stdout
        word = self.process.stdout.readline().strip()
        self.server = int(word) if word.isdigit() else 0
        return word

    def close(self) -> None:
        self.process.kill()
        if self.server:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.server, signal.SIGKILL)  # it goes on alone
        self.process.communicate()


@pytest.fixture
def keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Kept]]:
    monkeypatch.chdir(tmp_path)
    made: list[Kept] = []

    def make(body: str) -> Kept:
        made.append(Kept(tmp_path, body))
        return made[-1]

    yield make
    for kept in made:
        kept.close()


def test_one_that_succeeds_leaves_nothing(keep):
    kept = keep("return 0")
    kept.word()
    assert kept.process.wait(20) == 0
    assert not kept.filling.exists()
    assert not kept.filling.with_name("s").exists()


def test_what_a_killed_server_has_opened_its_successor_has(keep):
    kept = keep(
        "links = [os.path.realpath(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')]\n"
        "    open(launch['out'], 'a').write(f'{links.count(\"/dev/zero\")} ')\n"
        "    if restarts == 2: return 0\n"
        "    os.open('/dev/zero', os.O_RDONLY)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    kept.word()
    assert kept.process.wait(20) == 0
    assert kept.out.read_text().split() == ["0", "1", "2"]


def test_one_that_refuses_is_not_followed(keep):
    kept = keep("return 3")
    kept.word()
    assert "refused" in kept.word()
    time.sleep(0.2)
    assert kept.process.poll() is None
    assert kept.filling.exists()


def test_one_that_fails_at_once_does_not_take_the_processor(keep):
    """After four that have ended at once the next one comes later; one that has not ends a row."""
    kept = keep("open(launch['out'], 'a').write(f'{time.monotonic()}\\n'); raise OSError('no')")
    kept.word()
    assert eventually(lambda: kept.out.exists() and kept.out.read_text().count("\n") >= 8)
    times = [float(line) for line in kept.out.read_text().split("\n")[:8]]
    apart = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(max(apart[n : n + 4]) >= 0.05 for n in range(4)), apart


def test_a_server_can_be_ended_by_nothing_less_than_sigkill(keep):
    """What ends a service or a session reaches it no more than it reaches the monitor."""
    kept = keep("open(launch['out'], 'a').write('x'); time.sleep(60)")
    server = int(kept.word())
    assert eventually(kept.out.exists)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        os.kill(server, number)
    time.sleep(0.1)
    os.kill(server, 0)
    assert eventually(lambda: kept.out.read_text() == "x")
    os.kill(server, signal.SIGKILL)
    assert int(kept.word()) != server
