from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

from migrate.move import bundle, farside, installing
from migrate.move.errors import HostPythonUnfit
from tests.engine import eventually
from tests.hosts import Host, Lan
from tests.hosts.host import CHECKOUT

FAR = "/opt/migrate/bin/migrate"


def _bare(lan: Lan, name: str) -> Host:
    """A host without anything of ours: /opt its own, this checkout hidden."""
    host = lan.host(name, with_migrate=False)
    host.run(["mount", "-t", "tmpfs", "tmpfs", "/opt"])
    host.run(["mount", "-t", "tmpfs", "tmpfs", str(CHECKOUT)])
    assert host.run(["sh", "-c", "command -v migrate"], check=False).returncode != 0
    return host


@pytest.fixture(scope="module")
def source(lan: Lan) -> Host:
    return lan.host("source")


@pytest.fixture(scope="module")
def installed(lan: Lan, source: Host) -> Host:
    bare = _bare(lan, "bare")
    done = source.run(["migrate", "host", "setup", bare.ssh_target], timeout=280)
    assert "sending" in done.stdout
    assert "ready for moves" in done.stdout
    return bare


@pytest.mark.root
@pytest.mark.hosts
@pytest.mark.criu
@pytest.mark.timeout(300)
class TestOnHosts:
    def test_it_works_there_without_the_source(self, installed):
        report = json.loads(installed.run([FAR, "doctor", "--json"]).stdout)
        found = {f["name"]: f for f in report}
        assert found["criu"]["found"].endswith("(/opt/migrate/criu/usr/sbin/criu)")
        assert found["criu probe"]["status"] == "ok"
        assert found["pycriu"]["found"].startswith("/opt/migrate/")
        assert found["criu feature cache"]["status"] == "ok"
        prefix = installed.run(["/opt/migrate/bin/python3", "-c", "import sys; print(sys.prefix)"])
        assert prefix.stdout == "/opt/migrate\n"
        left = installed.run(["sh", "-c", "ls -A /opt"]).stdout.split()
        assert left == [".migrate.lock", "migrate"]

    def test_nothing_there_comes_from_the_checkout(self, installed):
        criu = "/opt/migrate/criu/usr/sbin/criu"
        found = installed.run(
            ["grep", "-rlI", str(CHECKOUT), "/opt/migrate", "--include=*.py", "--include=*.json"],
            check=False,
        )  # fmt: skip
        assert found.stdout == ""
        assert installed.run(["grep", "-c", str(CHECKOUT), criu], check=False).stdout == "0\n"
        assert "Version: 4.2" in installed.run([criu, "--version"]).stdout

    def test_a_second_time_nothing_is_sent(self, installed, source):
        done = source.run(["migrate", "host", "setup", installed.ssh_target, "--json"])
        assert json.loads(done.stdout)["sent"] == 0
        assert "already" in done.stderr

    def test_force_replaces_it_and_leaves_nothing(self, installed, source):
        installed.run(["touch", "/opt/migrate/old"])
        done = source.run(
            ["migrate", "host", "setup", installed.ssh_target, "--force", "--json"], timeout=280
        )
        assert json.loads(done.stdout)["sent"] > 1_000_000
        assert "old" not in installed.run(["ls", "/opt/migrate"]).stdout.split()
        assert installed.run(["ls", "/opt"]).stdout == "migrate\n"

    def test_check_prints_the_findings_there(self, installed, source):
        done = source.run(["migrate", "host", "check", installed.ssh_target, "--json"])
        assert {"criu", "freezer"} <= {f["name"] for f in json.loads(done.stdout)}
        assert "ready" in source.run(["migrate", "host", "check", installed.ssh_target]).stdout

    def test_the_agent_there_answers(self, installed, source):
        program = (
            "from migrate.transfer.ssh import connect\nfrom migrate.transfer.target import Target\n"
            f"with connect(Target.parse('{installed.ssh_target}')) as c:\n"
            "    print('greeted')\n"
        )
        assert source.run([sys.executable, "-c", program]).stdout == "greeted\n"

    def test_an_interrupted_one_leaves_the_old_whole(self, installed, source):
        before = installed.run(["cat", "/opt/migrate/installed.json"]).stdout
        source.set_rate(20)
        try:
            child = source.popen(
                ["migrate", "host", "setup", installed.ssh_target, "--force"],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            while "sending" not in child.stdout.readline():
                assert child.poll() is None
            time.sleep(0.5)
            child.send_signal(2)
            assert child.wait(60) == 130
        finally:
            source.set_rate(None)
        installed.run([FAR, "--version"])
        assert installed.run(["cat", "/opt/migrate/installed.json"]).stdout == before
        assert eventually(lambda: installed.run(["ls", "/opt"]).stdout == "migrate\n")

    def test_something_else_in_its_place_is_left_alone(self, lan, source):
        bare = _bare(lan, "other")
        bare.run(["mkdir", "-p", "/opt/migrate/mine"])
        done = source.run(["migrate", "host", "setup", bare.ssh_target], check=False)
        assert done.returncode == 105
        assert "is something else" in done.stderr
        bare.run(["test", "-d", "/opt/migrate/mine"])
        bare.run(["rm", "-r", "/opt/migrate"])
        bare.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", "/opt"])
        done = source.run(["migrate", "host", "setup", bare.ssh_target], check=False)
        assert done.returncode == 105
        assert "too little room" in done.stderr
        check = source.run(["migrate", "host", "check", bare.ssh_target], check=False)
        assert check.returncode == 81  # not installed there


def _far(settings: dict[str, object], data: bytes = b"") -> dict[str, object]:
    """farside run as it is at the other host, by a plain python."""
    script = Path(farside.__file__).read_bytes()
    stdin = b"%d\n%s%s\n%s" % (len(script), script, json.dumps(settings).encode(), data)
    done = subprocess.run(
        [sys.executable, "-I", "-c", farside.LOADER], input=stdin, capture_output=True, check=False
    )
    line = done.stdout.decode().strip().splitlines()[-1]
    answer: dict[str, object] = json.loads(line.removeprefix(farside.MARKER))
    assert ("error" in answer) == (done.returncode == 1)
    return answer


def test_looking_at_a_host(tmp_path):
    answer = _far({"do": "look", "final": str(tmp_path / "no/such")})
    assert answer["python"] == list(sys.version_info[:2])
    assert answer["machine"] == platform.machine()
    assert (answer["digest"], answer["taken"]) == ("", False)
    assert _far({"do": "look", "final": str(tmp_path)})["taken"]


def _unpack(final: Path, data: bytes) -> dict[str, object]:
    settings = {
        "do": "unpack", "final": str(final), "executable": sys.executable, "digest": "d",
        "modules": ["piece"],
    }  # fmt: skip
    return _far(settings, data)


def _packed(tmp_path: Path, text: str) -> bytes:
    (tmp_path / "piece.py").write_text(text)
    site = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    item = bundle.Item(f"{site}/piece.py", tmp_path / "piece.py")
    return bundle.pack(bundle.Bundle((item,), "d", None, 0), tmp_path)


def test_unpacking_replaces_all_or_nothing(tmp_path):
    final = tmp_path / "opt/migrate"
    first = _packed(tmp_path, "x = 1\n")
    assert _unpack(final, first) == {"digest": "d"}
    (final / "mark").touch()
    assert "error" in _unpack(final, first[:60])
    assert (final / "mark").exists()
    broken = _unpack(final, _packed(tmp_path, "import no_such_module\n"))
    assert "no_such_module" in str(broken["error"])
    assert (final / "mark").exists()
    assert sorted(p.name for p in final.parent.iterdir()) == [".migrate.lock", "migrate"]
    assert _unpack(final, _packed(tmp_path, "x = 2\n")) == {"digest": "d"}
    assert not (final / "mark").exists()
    assert sorted(p.name for p in final.parent.iterdir()) == [".migrate.lock", "migrate"]


@pytest.mark.parametrize("size", [0, 10, -30])
def test_a_truncated_tar_changes_nothing(tmp_path, size):
    data = _packed(tmp_path, "x = 1\n" * 1000)
    answer = _unpack(tmp_path / "migrate", data[:size])
    assert "error" in answer
    assert not (tmp_path / "migrate").exists()


def test_only_what_is_needed_to_run_is_sent():
    made = bundle.assemble(sys.version_info[:2], platform.machine(), Path("/nonexistent"))
    names = [item.name for item in made.items]
    assert any(n.endswith("site-packages/migrate/cli/main.py") for n in names)
    assert any("/numpy/" in n for n in names)
    assert any("migrate-" in n and n.endswith("METADATA") for n in names)
    assert not any("/pytest/" in n or "/mypy/" in n or "__pycache__" in n for n in names)
    assert made.digest == bundle.assemble(
        sys.version_info[:2], platform.machine(), Path("/nonexistent")
    ).digest  # fmt: skip


def test_another_python_without_an_index_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(HostPythonUnfit, match=r"Python 3\.14 on riscv64") as caught:
        bundle.assemble((3, 14), "riscv64", tmp_path)
    assert "package index" in caught.value.mend
    assert list(tmp_path.iterdir()) == []


class _FakeConnection:
    target = "root@far"

    def __init__(self, status: int, out: bytes, err: bytes = b"") -> None:
        self._answer = status, out, err

    def run(self, command: str, **_: object) -> tuple[int, bytes, bytes]:
        return self._answer


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        ((91, b"", b"Python 3.9.2\n"), HostPythonUnfit, "Python 3.9.2"),
        ((1, b"hello\n", b"rubbish\n"), installing.HostSetupFailed, "rubbish"),
        ((0, b"migrate-far-side:[]\n"), installing.HostSetupFailed, "could not be set up"),
        ((0, b'migrate-far-side:{"uid": "x"}\n'), installing.HostSetupFailed, "strangely"),
    ],
)
def test_strange_answers(answer, error, text):
    with pytest.raises(error, match=text):
        installing.look(_FakeConnection(*answer))
