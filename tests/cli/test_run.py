"""`migrate run` and `create`: sources, volumes, streams, exit statuses, refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from tests.engine import Engine, eventually

pytestmark = pytest.mark.root


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$; sleep 1; exit 5", 5)]
)
def test_the_exit_status_is_the_containers(engine: Engine, script, status):
    assert engine.once("sh", "-c", script).returncode == status


def test_streams_are_kept_apart_and_partial_lines_whole(engine: Engine):
    done = engine.once("sh", "-c", "printf 'a\\nb'; printf 'c\\nd' >&2; printf '%20000s' x",
                       text=False)  # fmt: skip
    assert done.stdout == b"a\nb" + b"x".rjust(20000)
    assert done.stderr == b"c\nd"
    assert engine.once("printf", r"\377\376\r\n", text=False).stdout == b"\xff\xfe\r\n"


def test_much_output_arrives_whole_and_in_order(engine: Engine):
    assert engine.once("seq", "50000").stdout.split() == [str(n) for n in range(1, 50001)]


def test_output_comes_as_it_is_made_and_signals_are_passed_on(engine: Engine):
    script = "trap 'echo got; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    process = engine.start("run", "--rm", "--rootfs", engine.rootfs, "sh", "-c", script)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60)[0] == "got\n"
    assert process.returncode == 7


def test_the_second_signal_kills(engine: Engine):
    script = "trap 'echo taken' INT; echo ready; while :; do sleep 0.05; done"
    process = engine.start("run", "--rm", "--rootfs", engine.rootfs, "sh", "-c", script)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "taken\n"  # two that come at once may be one (signal(7))
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 137


def test_volumes_persist_and_read_only_binds_are_read_only(engine: Engine, tmp_path):
    (tmp_path / "file").write_text("host")
    (tmp_path / "below").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "below", tmp_path / "below"], check=True)
    try:
        script = "cat /ro/file; touch /ro/x; touch /ro/below/x; echo kept > /data/x"
        done = engine.once("-v", f"{tmp_path}:/ro:ro", "-v", "vol:/data", "sh", "-c", script)
    finally:
        subprocess.run(["umount", tmp_path / "below"], check=True)
    assert done.stdout == "host"
    assert done.stderr.count("Read-only file system") == 2
    assert engine.once("-v", "vol:/d", "cat", "/d/x").stdout == "kept\n"
    engine.once("-v", f"{tmp_path}/file:/etc/hostfile", "sh", "-c", "echo new > /etc/hostfile")
    assert (tmp_path / "file").read_text() == "new\n"


def test_a_bundle_is_kept_as_it_is(engine: Engine, tmp_path):
    (tmp_path / "bound").mkdir()
    spec = {
        "ociVersion": "1.0.2",
        "process": {"args": ["sh", "-c", "cat /proc/self/cgroup; echo $X; ls -d /b; hostname"],
                    "cwd": "/tmp", "env": ["PATH=/bin", "X=y"], "terminal": False},
        "root": {"path": str(engine.rootfs)}, "hostname": "bundled",
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
                   {"destination": "/b", "type": "bind", "source": "bound", "options": ["rbind"]},
                   {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}],
        "linux": {"namespaces": [{"type": t} for t in ("pid", "mount", "uts", "ipc", "network")],
                  "resources": {"memory": {"limit": 67108864}}},
    }  # fmt: skip
    config = tmp_path / "config.json"
    config.write_text(json.dumps(spec))
    identifier = engine.ok("create", "--bundle", tmp_path)
    record = json.loads(engine.ok("inspect", identifier))["record"]
    assert record["binds"] == [{"source": str(tmp_path / "bound"), "target": "/b"}]
    assert record["resources"]["memory"] == 64 << 20
    engine.ok("rm", "-f", identifier)
    done = engine.call("run", "--rm", "--bundle", tmp_path)
    assert done.stdout.splitlines()[-3:] == ["y", "/b", "bundled"], done.stderr
    assert engine.call("run", "--bundle", tmp_path, "echo").returncode == 2
    spec["process"]["terminal"] = True
    config.write_text(json.dumps(spec))
    assert "terminal" in engine.fails("run", "--bundle", tmp_path, code=38)
    del spec["process"]["cwd"]
    config.write_text(json.dumps(spec))
    assert "process.cwd" in engine.fails("run", "--bundle", tmp_path, code=38)


def test_an_image_says_what_runs(engine: Engine, tmp_path):
    from migrate.images.importing import import_rootfs
    from migrate.images.model import new_document
    from migrate.images.store import Store, image_from_document

    store = Store(engine.paths.images)
    plain = import_rootfs(store, engine.rootfs, "plain")
    config = {"Env": ["GREETING=hello"], "Entrypoint": ["sh", "-c"], "WorkingDir": "/tmp",
              "Cmd": ['echo "$GREETING $PWD $(id -un)"'], "User": "alice"}  # fmt: skip
    document = new_document(list(plain.diff_ids), config)
    store.put_image(image_from_document(document, ("greeter:latest",)))
    assert engine.call("run", "--rm", "greeter").stdout == "hello /tmp alice\n"
    done = engine.call("run", "--rm", "-u", "0", "-e", "GREETING=hi", "greeter", "echo $GREETING")
    assert done.stdout == "hi\n"
    assert engine.call("run", "--rm", "--entrypoint", "pwd", "greeter").stdout == "/tmp\n"
    assert "no program" in engine.fails("run", "plain", code=38)
    engine.ok("run", "-d", "--name", "pinning", "greeter", "sleep 100")
    engine.fails("image", "rm", "greeter", code=engine.call("image", "rm", "greeter").returncode)
    engine.ok("rm", "-f", "pinning")
    engine.fails("run", "no-such-image", "true",
                 code=engine.call("image", "inspect", "no-such-image").returncode)  # fmt: skip


def test_what_can_not_run_says_why_and_leaves_nothing(engine: Engine):
    run = ("run", "--rootfs", engine.rootfs)
    assert "no-such-program" in engine.fails(*run, "no-such-program", code=39)
    assert "not executable" in engine.fails(*run, "/etc/passwd", code=39)
    assert "working directory" in engine.fails(*run, "-w", "/none", "true", code=39)
    assert "no such path" in engine.fails(*run, "-v", "/none/x:/x", "true", code=40)
    assert "no network 'lan'" in engine.fails(*run, "--network", "lan", "true", code=31)
    assert "name" in engine.fails(*run, "--name", "-bad-", "true", code=38)
    engine.detached("--name", "taken", "sleep", "100")
    assert "taken" in engine.fails(*run, "--name", "taken", "true", code=36)
    engine.ok("rm", "-f", "taken")
    assert eventually(lambda: engine.leftovers() == [])


@pytest.mark.parametrize(
    "options",
    [
        (), ("--nonsense",), ("-m", "many"), ("-p", "80"), ("--rate-in", "1"), ("-v", "a"),
        ("-v", "a:b"), ("-v", "../x:/y"), ("--label", "x"), ("--ip", "10.0.0.1/24"),
        ("--rootfs", "/none"), ("--cpus", "0"),
    ],
)  # fmt: skip
def test_bad_options_are_refused_by_their_name(options):
    from click.testing import CliRunner

    from migrate.cli.run import run

    result = CliRunner().invoke(run, [*options, *(["image"] if options else [])])
    assert result.exit_code == 2, result.output
    assert "Error" in result.output


def test_an_interrupted_start_of_the_command_leaves_nothing_broken(engine: Engine):
    for delay in (0.15, 0.3, 0.4):
        process = engine.start("run", "-d", "--rootfs", engine.rootfs, "sleep", "100")
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    engine.clear()
    assert eventually(lambda: engine.leftovers() == []), engine.leftovers()
