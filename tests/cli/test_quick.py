"""The short way of `migrate run` makes the same as the general one, and reads no more than it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.cli import execute
from migrate.cli import run as general
from migrate.cli.plain import exec_plainly, plainly
from migrate.runtime import records
from migrate.runtime.quick import Place
from migrate.runtime.quickexec import find
from tests.engine import CHECKOUT, Engine, eventually

WORDS = (
    "--rm", "-d", "--name", "web", "_web", "-", "--rootfs", "/", "-w", "/tmp", "tmp", "-e", "A=b",
    "A", "=b", "--env", "--network", "none", "host", "bridge", "--network=none", "--", "sh", "-c",
    "b:1",    "--user", "0", "--read-only", "", "--label", "x=y", "-v", "/a:/b",
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=7))
def test_what_is_read_plainly_means_the_same_to_click(words: list[str]):
    wanted = plainly(words)
    if wanted is None or (wanted.rootfs and not Path(wanted.rootfs).is_dir()):
        return  # `make` refuses a root that is none, and the general way says so
    with general.run.make_context("run", list(words)) as context:
        given = dict(context.params)
    assert not given.pop("detach")
    assert given.pop("keys")
    request = general._request(given)
    assert request.name == wanted.name
    assert list(request.environment) == wanted.environment
    assert request.directory == wanted.directory
    assert request.network.driver == wanted.network
    assert request.remove_at_exit == wanted.remove_at_exit
    assert list(request.arguments) == wanted.arguments
    assert request.image == wanted.image
    assert str(request.rootfs or "") == wanted.rootfs
    rest = (request.binds, request.labels, request.user, request.read_only, request.restart,
            request.terminal, request.interactive)  # fmt: skip
    assert not any(rest)
    if wanted.name:
        records.check_name(wanted.name)


@pytest.mark.parametrize("words", [
    ["b", "true"], ["--rm", "b"],
    ["--rm", "--name", "x", "-e", "A=1", "-w", "/", "b", "sh", "-c", "-x"],
    ["--rootfs", "/srv", "--network", "host", "true"],
])  # fmt: skip
def test_the_usual_is_plain(words: list[str]):
    assert plainly(words) is not None


def test_a_place_has_the_paths_of_a_container():
    from migrate.runtime.paths import Paths

    own = Paths(Path("/s"), Path("/r")).container("abc")
    place = Place("/s", "/r", "abc")
    for name in ("state", "run", "lock", "netns", "userns", "rootfs", "process", "identifier"):
        assert str(getattr(own, name)) == getattr(place, name)


def command(engine: Engine, *words: str | Path, entry: str = "entry") -> Any:
    """The command in an interpreter of its own: a fork of this one is no small process."""
    code = f"import sys; sys.argv[0] = 'migrate'; from migrate.cli.{entry} import main; main()"
    return subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[0] = {str(CHECKOUT)!r}; {code}", *words]
        if entry == "entry" else [sys.executable, "-c", code, *words],
        env=engine.environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def image(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    archive = tmp_path_factory.mktemp("image") / "b.tar"
    subprocess.run(["tar", "-C", engine.rootfs, "-cf", archive, "."], check=True)
    engine.ok("image", "import", archive, "b")
    engine.ok("run", "--rm", "b", "true")
    return "b"


@pytest.mark.root
@pytest.mark.parametrize("options", [
    ("b",), ("-e", "A=1", "-w", "/tmp", "--network", "host", "b"), ("--rootfs", "{rootfs}"),
])  # fmt: skip
def test_both_ways_make_the_same(engine: Engine, image: str, options: tuple[str, ...]):
    found = []
    for entry, name in (("entry", "short"), ("main", "general")):
        words = [word.format(rootfs=engine.rootfs) for word in options]
        done = command(engine, "run", "--name", name, *words, "sh", "-c", "id; env; exit 3",
                       entry=entry)  # fmt: skip
        assert (done.returncode, done.stderr) == (3, ""), done
        own = engine.paths.container(engine.status(name)["id"])
        record, spec = records.find(engine.paths, name), json.loads(own.spec.read_bytes())
        assert spec.pop("hostname") == record.identifier
        record = msgspec.structs.replace(record, identifier="", name="", created=0)
        pins = sorted(
            path.name for path in (engine.paths.images / "pins").glob(own.identifier + "*")
        )
        pins = [json.loads((engine.paths.images / "pins" / pin).read_bytes()) for pin in pins]
        [pin.pop("owner") for pin in pins]
        files = sorted(path.name for path in own.state.iterdir())
        modes = [oct((own.state / name).stat().st_mode) for name in files]
        run = sorted(path.name for path in own.run.iterdir())
        output = done.stdout.replace(own.identifier, "ID").replace(f"{name}\n", "NAME\n")
        process = set(json.loads(own.process.read_bytes()))
        found.append((record, spec, pins, files, modes, run, output, process))
        engine.ok("rm", name)
    assert found[0] == found[1]


@pytest.mark.root
def test_the_short_way_leaves_nothing_and_hands_on_what_it_gets(engine: Engine, image: str):
    done = command(engine, "run", "--rm", "b", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert eventually(lambda: engine.leftovers() == [])
    done = command(engine, "run", "--rm", "b", "/no/such")
    assert done.returncode == 39
    assert "no such program" in done.stderr
    done = command(engine, "run", "--rm", "unknown", "true")
    assert done.returncode == 20
    assert eventually(lambda: engine.leftovers() == [])


@pytest.mark.root
def test_a_signal_goes_to_the_program_and_the_container_goes_with_a_killed_command(
    engine: Engine, image: str
):
    code = (
        f"import sys; sys.path[0] = {str(CHECKOUT)!r}; from migrate.cli.entry import main; main()"
    )
    for number, status in ((15, 9), (9, -9)):
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", code, "run", "--rm", "--name", "s", "b", "sh", "-c",
             "trap 'exit 9' TERM; echo ready; while :; do sleep 0.02; done"],
            env=engine.environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        monitor = engine.process("s")["monitor"]
        assert b"migrate.runtime.monitor" in Path(f"/proc/{monitor}/cmdline").read_bytes()
        os.kill(process.pid, number)
        assert process.wait(60) == status
        process.stdout.close()
        if number == 9:  # who showed its output is gone; it runs on, and goes when it ends
            engine.ok("stop", "-t", "1", "s")
        assert eventually(lambda: engine.leftovers() == []), engine.leftovers()


@pytest.mark.root
def test_a_host_that_is_cordoned_and_a_name_that_is_taken(engine: Engine, image: str):
    assert command(engine, "run", "--name", "taken", "b", "true").returncode == 0
    assert command(engine, "run", "--rm", "--name", "taken", "b", "true").returncode == 36
    engine.ok("rm", "taken")
    engine.paths.cordoned.write_text("{}")
    try:
        assert command(engine, "run", "--rm", "b", "true").returncode == 14
    finally:
        engine.paths.cordoned.unlink()
    assert eventually(lambda: engine.leftovers() == [])


@pytest.mark.parametrize("words", [
    ["box", "true"], ["-e", "A=1", "-w", "/", "-u", "1:2", "box", "sh", "-c", "-x"],
    ["-i", "box", "ls", "-l"],
])  # fmt: skip
def test_the_usual_exec_is_plain(words: list[str]):
    plain = exec_plainly(words)
    assert plain is not None
    with execute.execute.make_context("exec", list(words)) as context:
        given = dict(context.params)
    name, program = plain
    assert name == given["name"]
    assert tuple(program.arguments) == given["arguments"]
    assert tuple(program.environment) == given["environment"]
    assert (program.directory, program.user) == (given["directory"], given["user"])
    assert not given["tty"]


@pytest.mark.parametrize("words", [
    [], ["box"], ["-t", "box", "sh"], ["--help"], ["box", "-x"], ["-e", "A", "box", "true"],
    ["-w", "here", "box", "true"], ["-eA=1", "box", "true"],
])  # fmt: skip
def test_what_is_unusual_for_exec_is_left_to_click(words: list[str]):
    assert exec_plainly(words) is None


@pytest.mark.root
def test_exec_by_the_short_way(engine: Engine):
    identifier = engine.detached("--name", "box", "sleep", "1000")
    places = str(engine.paths.state), str(engine.paths.run)
    for name in ("box", identifier):
        found = find(*places, name)
        assert found
        assert found.group == identifier
    assert command(engine, "exec", "box", "sh", "-c", "exit 4").returncode == 4
    done = command(engine, "exec", "-e", "A=b", "-u", "7:8", "box", "sh", "-c", "echo $A; id -u")
    assert done.stdout.split() == ["b", "7"]
    assert command(engine, "exec", "-u", "nobody-there", "box", "true").returncode == 38
    assert command(engine, "exec", "box", "nosuch").returncode == 127
    assert find(*places, identifier[:5]) is None  # for the general way, which finds it
    assert command(engine, "exec", identifier[:5], "true").returncode == 0
    engine.ok("pause", "box")
    assert find(*places, "box") is None
    assert command(engine, "exec", "box", "true").returncode == 37
    engine.ok("rm", "-f", "box")
    for name in ("box", "../box", ""):
        assert find(*places, name) is None
    assert command(engine, "exec", "box", "true").returncode == 35
