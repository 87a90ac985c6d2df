from __future__ import annotations

import os
from pathlib import Path

import pytest

from migrate.criu import provide
from migrate.criu.probe import Probed
from migrate.kernel import capabilities, probes, tap
from migrate.move.doctor import cgroups, criu, kernel, network, storage
from migrate.move.doctor.finding import Finding, fit_for_move, good, lacking
from migrate.move.doctor.report import REPORT_LIMIT, from_json, table, to_json
from migrate.runtime.cgroups import layout
from migrate.runtime.paths import Paths


def by_name(findings) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_only_what_a_move_needs_stands_against_it():
    warning = lacking("b", "no", "slow", "mend it")
    missing = lacking("c", "no", "nothing works", "mend it", needed=True)
    assert (warning.status, missing.status) == ("warning", "missing")
    assert fit_for_move([good("a", "yes", needed=True), warning])
    assert not fit_for_move([good("a", "yes", needed=True), missing])


def test_json_there_and_back():
    findings = [good("a", "yes"), lacking("c", "no", "costs", "mend", fixable=True, needed=True)]
    assert from_json(to_json(findings)) == findings


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'[{"name": 3}]', b'[{"name":"a","status":"great","found":""}]',
             b"[" + b" " * REPORT_LIMIT + b"]"],
)  # fmt: skip
def test_a_strange_report_is_refused(data):
    with pytest.raises(ValueError, match=r"report|JSON|Expected|Invalid|Input"):
        from_json(data)


def test_the_table_says_costs_and_mend_and_survives_brackets():
    from rich.console import Console

    findings = [good("a", "[/nonsense] [red]"), lacking("b", "no", "it is slow", "mend it")]
    text = Console(width=100)
    with text.capture() as shown:
        text.print(table(findings))
    assert "[/nonsense] [red]" in shown.get()
    assert "it is slow" in shown.get()
    assert "mend it" in shown.get()


def test_no_criu(monkeypatch, tmp_path):
    monkeypatch.setattr(provide, "home", lambda: tmp_path)
    found = by_name(criu.check())
    assert found["criu"].status == "missing"
    assert found["criu"].fixable
    assert found["criu"].needed_for_move


def test_an_old_criu_that_fails_the_probe(monkeypatch):
    chosen = provide.Chosen("/bin/false", "4.1.1", "/nonexistent", "")
    monkeypatch.setattr(provide, "read_chosen", lambda: chosen)
    monkeypatch.setattr(criu.os, "geteuid", lambda: 0)
    monkeypatch.setattr(criu, "probe", lambda _: Probed(False, "dump failed"))
    found = by_name(criu.check())
    assert found["criu"].status == "missing"
    assert found["criu probe"].found == "dump failed"
    assert found["criu feature cache"].status == "warning"


def test_missing_capabilities(monkeypatch):
    mask = capabilities.mask_of(set(capabilities.NAMES) - {"CAP_SYS_PTRACE", "CAP_SYS_RESOURCE"})
    monkeypatch.setattr(capabilities, "effective_mask", lambda: mask)
    found = by_name(kernel.check())
    assert found["capabilities"].found == "without CAP_SYS_PTRACE"
    assert found["capabilities"].status == "missing"
    assert found["CAP_SYS_RESOURCE"].status == "warning"


@pytest.mark.parametrize(
    ("release", "status"), [("6.1.0-13-amd64", "ok"), ("5.9", "ok"), ("4.19.0", "missing")]
)
def test_kernel_versions(monkeypatch, release, status):
    monkeypatch.setattr(kernel.platform, "release", lambda: release)
    assert by_name(kernel.check())["kernel"].status == status


def test_a_refused_namespace(monkeypatch):
    monkeypatch.setattr(probes, "namespace", lambda n: "refused" if n in {"net", "time"} else "")
    finding = by_name(kernel.check())["namespaces"]
    assert finding.status == "missing"
    assert "net: refused" in finding.found
    monkeypatch.setattr(probes, "namespace", lambda n: "refused" if n == "time" else "")
    assert by_name(kernel.check())["namespaces"].status == "ok"


def test_the_pipe_limit(monkeypatch, tmp_path):
    limit = tmp_path / "pipe-max-size"
    monkeypatch.setattr(kernel, "PIPE_LIMIT_FILE", limit)
    limit.write_text("1048576\n")
    finding = by_name(kernel.check())["fs.pipe-max-size"]
    assert (finding.status, finding.fixable, finding.found) == ("warning", True, "1024 KiB")
    limit.write_text(str(128 << 20))
    assert by_name(kernel.check())["fs.pipe-max-size"].status == "ok"


def test_no_cgroups(monkeypatch):
    monkeypatch.setattr(layout, "detect", lambda: layout.Layout({}, None, frozenset()))
    assert [f.status for f in cgroups.check()] == ["missing"]


def test_cgroups_without_limits_and_freezer(monkeypatch, tmp_path):
    monkeypatch.setattr(
        layout, "detect", lambda: layout.Layout({"devices": tmp_path}, None, frozenset())
    )
    found = by_name(cgroups.check())
    assert found["cgroup controllers"].found == "without memory cpu pids"
    assert found["freezer"].status == "missing"


@pytest.mark.root
def test_the_freezer_leaves_nothing():
    here = layout.detect()
    root = here.v1.get("freezer", here.v2)
    assert cgroups.freeze_for_real(root, here.freezer_version) < cgroups.FREEZE_LIMIT
    assert not (root / f"migrate-doctor-{os.getpid()}").exists()


@pytest.mark.root
def test_storage(tmp_path, monkeypatch):
    paths = Paths(tmp_path / "state", tmp_path / "run")
    found = by_name(storage.check(paths))
    assert {"storage driver", "disk", "/run"} == found.keys()
    assert [p.name for p in (tmp_path / "state").iterdir() if p.name.startswith(".")] == []
    monkeypatch.setattr(storage, "ROOM", 1 << 60)
    assert by_name(storage.check(paths))["disk"].status == "warning"


def test_a_state_directory_that_can_not_be(tmp_path):
    (tmp_path / "file").touch()
    found = list(storage.check(Paths(tmp_path / "file/state", tmp_path / "run")))
    assert [(f.name, f.status) for f in found] == [("state directory", "missing")]


def test_no_ssh_at_all(monkeypatch):
    monkeypatch.setattr(network, "_program", lambda _: None)
    found = by_name(network.check())
    assert (found["ssh"].status, found["sshd"].status) == ("warning", "missing")
    assert "sshd listens" not in found


@pytest.mark.root
@pytest.mark.hosts
def test_sshd_of_a_host_is_seen(two_hosts):
    import sys

    program = "from migrate.move.doctor.network import sshd_ports; print(sshd_ports())"
    assert two_hosts[0].run([sys.executable, "-c", program]).stdout == "[22]\n"


def test_no_userfaultfd(monkeypatch):
    monkeypatch.setattr(probes, "userfaultfd_features", lambda: (_ for _ in ()).throw(OSError("x")))
    finding = by_name(kernel.check())["userfaultfd"]
    assert finding.status == "warning"


@pytest.mark.root
def test_a_tap_interface_can_be_made_and_is_gone_again(monkeypatch):
    assert by_name(network.check())["tap"].status == "ok"
    assert not Path(f"/sys/class/net/mgt{os.getpid()}").exists()
    monkeypatch.setattr(tap, "DEVICE", "/dev/net/none")
    found = by_name(network.check())["tap"]
    assert found.status == "warning"
    assert not found.needed_for_move
