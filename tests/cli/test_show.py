"""`migrate ps`, `inspect`, `logs`, completion and help."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from migrate.cli.main import COMMANDS
from tests.engine import Engine, eventually


@pytest.mark.root
def test_ps_shows_what_runs_and_all_with_a(engine: Engine):
    identifier = engine.detached("--name", "web", "--label", "tier=front", "sleep", "100")
    engine.ok("create", "--name", "idle", "--rootfs", engine.rootfs, "true")
    lines = engine.ok("ps").splitlines()
    assert lines[0].split() == ["NAME", "ID", "STATUS", "IMAGE", "ADDRESS", "CREATED"]
    assert [line.split()[0] for line in lines[1:]] == ["web"]
    assert lines[1].split()[1:3] == [identifier, "running"]
    assert [e["name"] for e in json.loads(engine.ok("ps", "-a", "--json"))] == ["web", "idle"]
    assert engine.status("web")["labels"] == {"tier": "front"}
    found = json.loads(engine.ok("inspect", identifier[:5]))
    assert set(found) == {"record", "status", "spec", "process", "filling"}
    assert found["status"]["word"] == "running"
    assert found["process"]["pid"] == found["status"]["pid"]
    engine.fails("inspect", "nothing", code=35)
    fresh = [Path(sys.executable).with_name("migrate"), "ps", "-q"]  # and in a fresh interpreter
    assert subprocess.check_output(fresh, env=engine.environment, text=True).strip() == identifier
    assert engine.fails("stop", "nothing", code=35).count("next:") == 1
    done = engine.call("rm", "-f", "nothing", "web", "idle")
    assert (done.returncode, done.stdout) == (35, "web\nidle\n")


@pytest.mark.root
def test_logs_tail_stamps_and_follow(engine: Engine):
    script = "seq 5; echo err >&2; until [ -e /go ]; do sleep 0.05; done; printf last"
    engine.detached("--name", "talk", "sh", "-c", script)
    assert eventually(lambda: "err" in engine.call("logs", "talk").stderr)
    assert engine.call("logs", "talk").stdout.split() == list("12345")
    assert engine.call("logs", "--tail", "2", "talk").stdout == "5\n"
    assert engine.call("logs", "--tail", "0", "talk").stdout == ""
    stamped = engine.call("logs", "--timestamps", "talk").stdout.splitlines()[0]
    assert stamped.startswith("20")
    assert stamped.endswith("Z 1")
    following = engine.start("logs", "-f", "--tail", "3", "talk")
    assert following.stdout
    assert following.stdout.readline() == "4\n"
    engine.ok("exec", "talk", "touch", "/go")
    assert following.stderr
    assert (following.stdout.read(), following.stderr.read()) == ("5\nlast", "err\n")
    assert following.wait(60) == 0
    assert engine.call("logs", "--tail", "1", "talk").stdout == "last"
    engine.ok("rm", "-f", "talk")


@pytest.mark.root
def test_names_and_commands_are_completed(engine: Engine):
    engine.ok("create", "--name", "complete-me", "--rootfs", engine.rootfs, "true")
    code = "import sys; sys.argv[0] = 'migrate'; from migrate.cli.main import main; main()"

    def complete(*words: str) -> str:
        asked = {"_MIGRATE_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(["migrate", *words]),
                 "COMP_CWORD": str(len(words))}  # fmt: skip
        return subprocess.run(
            [sys.executable, "-c", code], env=engine.environment | asked, capture_output=True,
            text=True, check=False,
        ).stdout  # fmt: skip

    assert "plain,complete-me" in complete("rm", "comp")
    assert "plain,complete-me" in complete("exec", "comp")
    verbs = ("resume", "rename", "restore", "recover")
    assert complete("re").split() == [f"plain,{verb}" for verb in verbs]
    engine.ok("rm", "-f", "complete-me")


HERE = [n for n, e in COMMANDS.items() if e[0] in {"run", "lifecycle", "execute", "show"}]


@pytest.mark.parametrize("name", HERE)
def test_help_has_an_example(name):
    from click.testing import CliRunner

    from migrate.cli.main import cli

    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"migrate {name}" in result.output
    assert "Example" in result.output
