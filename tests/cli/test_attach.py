"""`migrate attach`, `run -i` and `run -t`, by people at real terminals."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.runtime.detachkeys import DetachKeys, parse
from migrate.runtime.errors import SpecInvalid
from tests.cli.typist import Typist
from tests.engine import Engine, eventually

# Busybox's own line editor wants a terminal that answers.
SHELL = ("sh", "-c", "printf '$ '; while read -r line; do eval \"$line\"; printf '$ '; done")
DETACH = "\x10\x11"


@pytest.fixture
def box(engine: Engine) -> Iterator[str]:
    """A shell at a terminal that nobody is at."""
    engine.detached("-it", "--name", "box", *SHELL)
    yield "box"
    engine.ok("rm", "-f", "box")


@pytest.mark.root
def test_run_at_a_terminal_with_its_size_and_status(engine: Engine):
    who = Typist(engine, "run", "--rm", "-it", "--rootfs", str(engine.rootfs), *SHELL)
    who.sees("$ ")
    who.type("tty; stty size; echo $TERM\n")
    assert "/dev/pts/0\r\n33 77\r\nxterm\r\n" in who.sees("$ ")
    who.type("echo to the $(echo console) > /dev/console\n")  # config-linux.md, Default Devices
    assert "\r\nto the console\r\n" in who.sees("$ ")
    who.type("trap : INT; sh -c 'echo sleeps; exec sleep 1000'\n")
    who.sees("\r\nsleeps\r\n")
    who.type("\x03")  # the terminal's Ctrl-C ends the program, not the command
    who.sees("$ ")
    who.type("exit 7\n")
    assert who.ends() == 7
    assert engine.ok("ps", "-aq") == ""


@pytest.mark.root
def test_the_window_is_followed(engine: Engine, box: str):
    who = Typist(engine, "attach", box)
    who.resize(20, 50)
    assert eventually(lambda: engine.ok("exec", box, "stty", "-F", "/dev/pts/0", "size") == "20 50")
    who.type("stty size\n")
    who.sees("20 50")
    who.type(DETACH)
    assert who.ends() == 0


@pytest.mark.root
def test_detached_it_runs_on_and_attached_again_goes_on(engine: Engine, box: str):
    first = Typist(engine, "attach", box)
    first.type("A=kept\n")
    first.sees("$ ")
    first.type(DETACH)
    first.sees("migrate attach box")
    assert first.ends() == 0
    assert engine.status(box)["status"] == "running"
    second = Typist(engine, "attach", "--detach-keys", "ctrl-],x", box)
    second.type(f"echo $A {DETACH[0]}\n")  # none of its keys
    second.sees("kept")
    second.type("\x1dy\x1dx")
    assert second.ends() == 0
    assert "kept" in engine.ok("logs", box)


@pytest.mark.root
def test_several_see_the_same_and_its_end(engine: Engine, box: str):
    people = [Typist(engine, "attach", box) for _ in range(3)]
    for who in people:
        who.type("\n")
        who.sees("$ ")
    people[0].type("echo to-$((1+1))-all\n")
    for who in people:
        who.sees("to-2-all")
    people[2].type("exit 5\n")
    assert [who.ends() for who in people] == [5, 5, 5]


@pytest.mark.root
def test_a_command_in_the_foreground_detaches_and_rm_still_holds(engine: Engine):
    who = Typist(engine, "run", "--rm", "--name", "mine", "-it", "--rootfs", str(engine.rootfs),
                 *SHELL)  # fmt: skip
    who.sees("$ ")
    who.type(DETACH)
    assert who.ends() == 0
    again = Typist(engine, "attach", "mine")
    again.type("exit 3\n")
    assert again.ends() == 3
    assert eventually(lambda: engine.ok("ps", "-aq") == "")


@pytest.mark.root
def test_input_without_a_terminal_comes_whole_and_ends(engine: Engine):
    data = "0123456789abcde\n" * 40_000
    run = engine.start("run", "--rm", "-i", "--rootfs", engine.rootfs, "md5sum",
                       stdin=subprocess.PIPE)  # fmt: skip
    there = subprocess.run(["md5sum"], input=data, capture_output=True, text=True, check=True)
    assert run.communicate(data, timeout=60) == (there.stdout, "")
    assert run.returncode == 0


@pytest.mark.root
def test_output_comes_whole_to_one_who_reads_slowly(engine: Engine):
    """Its streams stay apart, and a line need not end to be seen."""
    text = "head -c 3000000 /dev/zero | tr '\\0' x; printf err >&2; exit 4"
    process = engine.start("run", "--rm", "-i", "--rootfs", engine.rootfs, "sh", "-c", text,
                           stdin=subprocess.DEVNULL)  # fmt: skip
    assert process.stdout
    first = os.read(process.stdout.fileno(), 10)  # it may be less
    assert set(first) == {ord("x")}
    assert process.poll() is None
    out, errors = process.communicate(timeout=60)
    assert (len(first) + len(out), errors, process.returncode) == (3_000_000, "err", 4)


@pytest.mark.root
def test_attached_without_a_terminal(engine: Engine):
    name = engine.detached("-i", "--name", "adds", "sh", "-c", "while read a; do echo +$a; done")
    looking = engine.start("attach", "--no-stdin", "adds", stdin=subprocess.DEVNULL)
    typing = engine.start("attach", "adds", stdin=subprocess.PIPE)
    assert typing.stdin
    assert typing.stdout
    assert looking.stdout

    def both_hear() -> bool:
        """Whoever attaches later has missed what came before."""
        typing.stdin.write("one\n")
        typing.stdin.flush()
        streams = {typing.stdout, looking.stdout}
        return set(select.select(streams, [], [], 0.1)[0]) == streams

    assert eventually(both_hear)
    assert typing.stdout.readline() == "+one\n"
    looking.send_signal(signal.SIGINT)  # ends the attachment alone
    assert looking.wait(60) == 0
    assert set(looking.stdout.read().splitlines()) == {"+one"}
    assert engine.status(name)["status"] == "running"
    typing.stdin.close()  # the end of its input is the container's
    assert typing.wait(60) == 0
    assert eventually(lambda: engine.status(name)["status"] == "stopped")
    for process in (looking, typing):
        for stream in (process.stdout, process.stderr):
            assert stream
            stream.close()


@pytest.mark.root
def test_without_i_there_is_output_and_no_input(engine: Engine):
    script = "cat; until [ -e /go ]; do echo waits; sleep 0.05; done; echo end; exit 6"
    engine.detached("--name", "plain", "sh", "-c", script)
    attached = engine.start("attach", "plain", stdin=subprocess.PIPE)
    assert attached.stdin
    assert attached.stdout
    assert os.read(attached.stdout.fileno(), 100).startswith(b"waits\n")  # it is attached
    attached.stdin.write("ignored")
    attached.stdin.flush()
    engine.ok("exec", "plain", "touch", "/go")
    out, errors = attached.communicate(timeout=60)
    assert out.endswith("end\n")
    assert set(out.splitlines()) <= {"waits", "end"}
    assert errors == ""
    assert attached.returncode == 6


@pytest.mark.root
def test_who_takes_nothing_stops_nobody_for_long(engine: Engine, monkeypatch):
    engine.detached("-t", "--name", "loud", "sh", "-c", "while :; do echo line; done")
    stuck = engine.start("attach", "loud", stdin=subprocess.DEVNULL)
    assert stuck.stdout
    stuck.stdout.readline()
    os.kill(stuck.pid, signal.SIGSTOP)
    log = engine.paths.container(engine.status("loud")["id"]).log
    sizes = [0]

    def stands() -> bool:
        sizes.append(Path(log).stat().st_size)
        return sizes[-1] == sizes[-2]

    assert eventually(stands)  # nothing is lost for one who may come back
    os.kill(stuck.pid, signal.SIGKILL)
    stuck.communicate()
    assert eventually(lambda: not stands())
    engine.ok("rm", "-f", "loud")


@pytest.mark.root
def test_what_can_not_be_attached_to(engine: Engine, box: str):
    assert "no-such" in engine.fails("attach", "no-such", code=35)
    engine.fails("attach", "--detach-keys", "ctrl-", box, code=38)
    engine.ok("kill", box)
    assert eventually(lambda: engine.status(box)["status"] == "stopped")
    assert "stopped" in engine.fails("attach", box, code=37)


@pytest.mark.parametrize(
    ("text", "keys"),
    [("ctrl-p,ctrl-q", b"\x10\x11"), ("", b""), ("ctrl-],x", b"\x1dx"), ("Ctrl-A", b"\x01"),
     ("ctrl-@", b"\0"), ("ctrl-_", b"\x1f")],
)  # fmt: skip
def test_keys_are_read(text: str, keys: bytes):
    assert parse(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-pp", "ab", ",", "ctrl-p,", "ü", "\n"])
def test_keys_that_are_none(text: str):
    with pytest.raises(SpecInvalid):
        parse(text)


@pytest.mark.parametrize("cuts", [1, 2, 3, 100])
def test_keys_are_found_wherever_the_typed_is_cut(cuts: int):
    typed, seen = b"a\x10b\x10\x10\x11never", b""
    found = DetachKeys(b"\x10\x11")
    for begin in range(0, len(typed), cuts):
        text, detached = found.take(typed[begin : begin + cuts])
        seen += text
        if detached:
            break
    assert seen == b"a\x10b\x10"
    assert detached


def test_no_keys_keep_nothing_back():
    assert DetachKeys(b"").take(b"\x10\x11") == (b"\x10\x11", False)
    assert DetachKeys(b"ab").take(b"xa") == (b"x", False)
