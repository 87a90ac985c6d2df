"""The tree of processes, in C and in Python: they answer alike, and find what is wrong."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.bench.building import build
from migrate.bench.watching import PROGRAMS
from tests.ports import held_port

PROCESSES, MIB, RATE = 4, 80, 200


@pytest.fixture(params=["tree.c", "tree.py"])
def program(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    source = PROGRAMS / request.param
    if source.suffix == ".c":
        return [str(build(source, tmp_path))]
    return [sys.executable, "-S", str(source)]


class Tree:
    """A tree that runs, and a connection to it."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.pid = process.pid
        self._channel = socket.create_connection(("127.0.0.1", port), 60)

    def ask(self, words: str) -> str:
        self._channel.sendall(words.encode())
        return self._channel.recv(4096).decode()

    def close(self) -> None:
        self._channel.close()

    def children(self) -> list[int]:
        told = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in told.split()]


@contextlib.contextmanager
def running(program: list[str], kind: str, rate: int = RATE) -> Iterator[Tree]:
    with held_port() as port:
        words = [*program, str(PROCESSES), str(MIB), str(rate), kind, str(port)]
        yield from serving(words, port)


def serving(words: list[str], port: int) -> Iterator[Tree]:
    environment = dict(os.environ, PYTHONPATH=str(Path(__file__).parents[3]))
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        tree = Tree(process, port)
        children = tree.children()
        try:
            yield tree
        finally:
            tree.close()
            process.kill()
            for pid in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("kind", ["random", "text", "zero"])
def test_it_writes_answers_and_knows_its_pages(program: list[str], kind: str) -> None:
    with running(program, kind) as tree:
        assert len(tree.children()) == PROCESSES - 1
        assert int(tree.ask("p\n")) >= 0
        assert tree.ask("r\n").count(" ") == 1
        told = 0
        while told < 3:  # pages that the first one has written since
            told += int(tree.ask("r\n").split()[1])
        assert tree.ask("v\n") == "0\n"


def test_its_size_is_what_was_asked_for(program: list[str]) -> None:
    with running(program, "random") as tree:
        pages = 0
        for pid in [tree.pid, *tree.children()]:
            _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
            pages += int(resident) - int(shared)
        assert MIB * 256 * 0.9 < pages < MIB * 256 * 1.2


def test_a_child_that_is_gone_is_wrong_with_all_its_pages(program: list[str]) -> None:
    with running(program, "random") as tree:
        os.kill(tree.children()[0], signal.SIGKILL)
        wrong = int(tree.ask("v\n"))
        assert MIB * 256 // PROCESSES * 0.5 < wrong < MIB * 256 // PROCESSES * 1.3


def test_a_damaged_page_is_found(program: list[str]) -> None:
    """A page of a child's, in its largest anonymous mapping; none is written meanwhile."""
    with running(program, "random", rate=0) as tree:
        child = tree.children()[0]
        largest = (0, 0)
        for line in Path(f"/proc/{child}/maps").read_text().splitlines():
            where, _, _, _, inode, *_ = line.split()
            start, end = (int(word, 16) for word in where.split("-"))
            if inode == "0" and end - start > largest[1] - largest[0]:
                largest = start, end
        with Path(f"/proc/{child}/mem").open("r+b", buffering=0) as memory:
            memory.seek(largest[0] + 5 * 4096 + 2000)
            byte = memory.read(1)[0]
            memory.seek(largest[0] + 5 * 4096 + 2000)
            memory.write(bytes([byte ^ 1]))
        assert tree.ask("v\n") == "1\n"
