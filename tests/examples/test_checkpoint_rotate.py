"""`examples/cron/checkpoint-rotate`: kept by count, atomic, alone, and told in a line each."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine import CHECKOUT, Engine, eventually

SCRIPT = CHECKOUT / "examples/cron/checkpoint-rotate"
COUNT = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"


def rotate(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The script with this interpreter's `migrate`, as cron would run it."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return subprocess.run(
        [SCRIPT, *words], env={"PATH": path, **environment}, text=True, check=False, timeout=200,
        capture_output=True, cwd="/",
    )  # fmt: skip


def test_a_shell_and_shellcheck_have_no_objection() -> None:
    """`make setup` has installed shellcheck."""
    subprocess.run(["sh", "-n", SCRIPT], check=True)
    done = subprocess.run(["shellcheck", SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    "words",
    [(), ("-k", "0", "d", "c"), ("-k", "x", "d", "c"), ("-x",), ("d",), ("d", "../c"), ("d", "-c")],
)
def test_wrong_arguments(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = rotate(*[str(tmp_path / word) if word == "d" else word for word in words])
    assert done.returncode == 2
    assert "usage: " in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_one_at_a_time(tmp_path: Path) -> None:
    with (tmp_path / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        done = rotate(tmp_path, "anybody")
    assert done.returncode == 75
    assert done.stdout == f"another run is at work in {tmp_path}; nothing was done\n"
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.root
@pytest.mark.criu
def test_the_last_few_are_kept(engine: Engine, tmp_path: Path) -> None:
    for name in ("web", "web-2"):
        engine.detached("--name", name, "/bin/sh", "-c", COUNT)
        assert eventually(lambda name=name: engine.ok("logs", "--tail", "1", name) != "")
    state = {key: engine.environment[key] for key in ("MIGRATE_STATE", "MIGRATE_RUN")}
    saved: list[list[Path]] = []
    (tmp_path / "web").mkdir()
    cut_off = tmp_path / "web/.20260101T000000Z.checkpoint.tar.zst.0badcafe.tmp"
    cut_off.touch()
    for _ in range(3):
        done = rotate("-k", "1", tmp_path, "web", "web-2", **state)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        lines = done.stdout.splitlines()
        assert [line.partition(": saved to ")[0] for line in lines] == ["web", "web-2"]
        assert all(line.endswith(" bytes; 1 kept") for line in lines)
        saved.append([Path(line.split()[3].rstrip(",")) for line in lines])
    assert len({path for pair in saved for path in pair}) == 6
    kept = {path for path in tmp_path.glob("*/*") if path.is_file()}
    assert kept == set(saved[-1])
    assert not cut_off.exists()
    assert all(path.stat().st_mode & 0o077 == 0 for path in (*kept, tmp_path / "web-2"))

    done = rotate("-k", "1", "-q", tmp_path, "nobody", "web", **state)
    assert done.returncode == 1
    (line,) = done.stdout.splitlines()
    assert line.startswith("nobody: FAILED: ")
    assert "there is no container 'nobody'" in line
    assert len(list((tmp_path / "web").iterdir())) == 1
    assert engine.status("web")["status"] == "running"

    newest = max((tmp_path / "web").iterdir())
    counted = int(engine.ok("logs", "--tail", "1", "web"))
    engine.ok("rm", "-f", "web")
    engine.ok("restore", newest)
    back = [int(line) for line in engine.ok("logs", "web").split()]
    assert back[0] == 1
    assert len(back) <= counted
    shutil.rmtree(tmp_path / "web")
