from __future__ import annotations

import subprocess

import pytest

from migrate.criu import provide
from migrate.criu.errors import CriuMissing
from migrate.move.doctor import mending
from migrate.move.doctor.finding import lacking


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(mending, "PIPE_LIMIT_FILE", tmp_path / "pipe-max-size")
    monkeypatch.setattr(mending, "SYSCTL_DIRECTORY", tmp_path / "sysctl.d")
    monkeypatch.setattr(mending, "POLICY", tmp_path / "policy-rc.d")
    return tmp_path


def broken(*names):
    return [lacking(name, "no", "costs", "mend", fixable=True) for name in names]


def test_nothing_broken_nothing_done(files):
    said: list[str] = []
    mending.mend([lacking("soft-dirty", "no", "costs", "none")], said.append)
    assert said == []
    assert list(files.iterdir()) == []


def test_the_sysctl_now_and_at_boot(files):
    said: list[str] = []
    mending.mend(broken("fs.pipe-max-size"), said.append)
    assert int((files / "pipe-max-size").read_text()) == 128 << 20
    assert len(said) == 1
    (files / "sysctl.d").mkdir()
    mending.mend(broken("fs.pipe-max-size"), said.append)
    assert "fs.pipe-max-size = 134217728" in (files / "sysctl.d/90-migrate.conf").read_text()


def test_a_failed_mend_is_told_and_the_others_go_on(files, monkeypatch):
    def fail(_report):
        raise CriuMissing("CRIU 4.2 can't be fetched")

    monkeypatch.setattr(provide, "ensure", fail)
    monkeypatch.setattr(provide, "prime_feature_cache", lambda: True)
    said: list[str] = []
    mending.mend(broken("criu"), said.append)
    assert said[0].startswith("not mended: CRIU 4.2 can't be fetched")
    assert said[1] == "made CRIU's feature cache"


def test_packages_are_installed_without_services(files, monkeypatch):
    calls = []

    def run(command, **_):
        calls.append((command, mending.POLICY.read_text()))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(mending.subprocess, "run", run)
    monkeypatch.setattr(mending.shutil, "which", lambda _: "/usr/bin/apt-get")
    said: list[str] = []
    mending.mend(broken("sshd", "ssh"), said.append)
    assert said == ["installed openssh-client openssh-server"]
    assert calls[1][0][-2:] == ["openssh-client", "openssh-server"]
    assert all("exit 101" in policy for _, policy in calls)
    assert not mending.POLICY.exists()


def test_apt_that_fails_is_told(files, monkeypatch):
    monkeypatch.setattr(mending.shutil, "which", lambda _: "/usr/bin/apt-get")
    monkeypatch.setattr(
        mending.subprocess, "run",
        lambda command, **_: subprocess.CompletedProcess(command, 100, "", "E: no network\n"),
    )  # fmt: skip
    said: list[str] = []
    mending.mend(broken("ssh"), said.append)
    assert said == ["not mended: apt-get update: E: no network"]
