from __future__ import annotations

import json
import time

import pytest
from click.testing import CliRunner

from migrate.cli.doctor import doctor
from migrate.errors import HostNotReady
from migrate.move import doctor as package
from migrate.move.doctor.finding import good, lacking


def _found(monkeypatch, *findings):
    monkeypatch.setattr(package, "examine", lambda _paths: list(findings))


def test_exit_code_0_with_warnings_only(monkeypatch):
    _found(monkeypatch, good("criu", "4.2.1", needed=True), lacking("disk", "full", "c", "m"))
    done = CliRunner().invoke(doctor)
    assert done.exit_code == 0
    assert "this host is ready for moves; 1 warning" in done.output


def test_a_host_that_is_not_ready(monkeypatch):
    _found(monkeypatch, lacking("criu", "none", "c", "m", fixable=True, needed=True))
    done = CliRunner().invoke(doctor)
    assert done.exit_code == HostNotReady.code
    assert "not ready for moves: criu" in done.output
    assert "--fix" in done.output
    done = CliRunner().invoke(doctor, ["--json"])
    assert done.exit_code == HostNotReady.code
    assert json.loads(done.stdout)[0]["status"] == "missing"


def test_fix_mends_and_looks_again(monkeypatch):
    states = [[lacking("criu", "none", "c", "m", fixable=True, needed=True)], [good("criu", "4")]]
    monkeypatch.setattr(package, "examine", lambda _paths: states.pop(0))
    monkeypatch.setattr(package, "mend", lambda _findings, report: report("did it"))
    done = CliRunner().invoke(doctor, ["--fix", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)[0]["status"] == "ok"
    assert done.stderr == "did it\n"


@pytest.mark.root
@pytest.mark.hosts
@pytest.mark.criu
def test_on_a_host_for_real(two_hosts):
    alpha, _ = two_hosts
    found = {f["name"]: f for f in json.loads(alpha.run(["migrate", "doctor", "--json"]).stdout)}
    for name in ("root", "criu", "criu probe", "freezer", "storage driver", "veth", "sshd", "/run"):
        assert found[name]["status"] == "ok", found[name]
    assert found["criu feature cache"]["status"] == "warning"  # /run is fresh
    assert alpha.run(["find", "/sys/fs/cgroup", "-name", "migrate-doctor-*"]).stdout == ""


@pytest.mark.root
@pytest.mark.hosts
@pytest.mark.criu
@pytest.mark.alone
def test_it_takes_less_than_two_seconds(two_hosts):
    """The best of three, for the machine has other work, too."""
    alpha, _ = two_hosts
    times = []
    for _ in range(3):
        begun = time.monotonic()
        alpha.run(["migrate", "doctor", "--json"])
        times.append(time.monotonic() - begun)
    assert min(times) < 2, times


@pytest.mark.root
@pytest.mark.hosts
@pytest.mark.criu
def test_fix_makes_the_feature_cache(two_hosts):
    _, beta = two_hosts
    # The sysctl is the whole machine's: on this host it is a file that can't be mended.
    beta.run(["mount", "-o", "bind,ro", "/proc/sys", "/proc/sys"])
    done = beta.run(["migrate", "doctor", "--fix"])
    assert "made CRIU's feature cache" in done.stdout
    beta.run(["test", "-s", "/run/criu.kdat"])
    found = {f["name"]: f for f in json.loads(beta.run(["migrate", "doctor", "--json"]).stdout)}
    assert found["criu feature cache"]["status"] == "ok"
