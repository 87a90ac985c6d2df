"""What a host lacks for the flat pause: `auto` falls back and says so, other modes are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from migrate.criu.provide import home
from migrate.move.errors import TargetUnfit
from tests.hosts import Host
from tests.hosts.redis import MIGRATE
from tests.move.fixtures import containers
from tests.move.test_precopy import PROGRAMS, clean, goes_on, output, pair, start

__all__ = ["clean", "pair"]
pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts]
WITHOUT = ["/usr/bin/python3", str(PROGRAMS / "without.py")]


def auto_stops(source: Host, target: Host, *prefix: str, options: list[str] = []) -> str:  # noqa: B006
    """The reason for which `auto` has taken stop-copy, after it has moved and runs on."""
    start(source, "stress", "holder.py", "48")
    goes_on(source, "stress")
    told = source.run([*prefix, MIGRATE, "move", *options, "stress", target.ssh_target, "--json"])
    result = json.loads(told.stdout.splitlines()[-1])["result"]
    assert result["mode"] == "stop-copy"
    goes_on(target, "stress")
    assert [line for line in output(target, "stress") if "WRONG" in line] == []
    return str(result["reason"])


def is_refused(source: Host, target: Host, mode: str, *prefix: str, options: list[str]) -> str:
    command = [*prefix, MIGRATE, "move", "--mode", mode, *options, "stress", target.ssh_target]
    done = source.run(command, check=False)
    assert done.returncode == TargetUnfit.code, (done.returncode, done.stderr)
    assert f"{mode} is not possible" in done.stderr
    return str(done.stderr)


@pytest.mark.parametrize(
    ("lacking", "word"), [("pagemap-scan", "PAGEMAP_SCAN"), ("userfaultfd", "written pages")]
)
def test_a_source_whose_kernel_lacks_it(clean: tuple[Host, Host], lacking: str, word: str) -> None:
    source, target = clean
    prefix = [*WITHOUT, lacking]
    assert word in auto_stops(source, target, *prefix)
    back = [*prefix, MIGRATE, "move", "--mode", "pre-copy", "stress", source.ssh_target]
    done = target.run(back, check=False)
    assert done.returncode == TargetUnfit.code
    assert word in done.stderr
    assert containers(target) == {"stress": "running"}


def test_a_target_without_userfaultfd(clean: tuple[Host, Host]) -> None:
    source, target = clean
    words = " ".join([*WITHOUT, "userfaultfd", MIGRATE])
    target.run(["sh", "-c", f"printf '#!/bin/sh\nexec {words} \"$@\"\n' > /root/lacking &&"
                            " chmod 755 /root/lacking"])  # fmt: skip
    options = ["--remote-command", "/root/lacking"]
    start(source, "stress", "holder.py", "48")
    goes_on(source, "stress")
    for mode in ("pre-copy", "hybrid", "post-copy"):
        assert "userfaultfd" in is_refused(source, target, mode, options=options)
    source.run([MIGRATE, "rm", "-f", "stress"])
    assert "userfaultfd" in auto_stops(source, target, options=options)


@contextmanager
def criu_without_lazy_pages(host: Host) -> Iterator[None]:
    chosen = home() / "chosen.json"
    record = json.loads(chosen.read_text()) | {"lazy": False}
    host.run(["sh", "-c", f"cat > /run/other.json && mount --bind /run/other.json {chosen}"],
             input=json.dumps(record))  # fmt: skip
    try:
        yield
    finally:
        host.run(["umount", "-l", str(chosen)])


def test_a_criu_without_lazy_pages_at_the_target(clean: tuple[Host, Host]) -> None:
    source, target = clean
    with criu_without_lazy_pages(target):
        assert "lazy pages" in auto_stops(source, target)
    with criu_without_lazy_pages(source):
        assert "lazy pages" in is_refused(target, source, "pre-copy", options=[])
