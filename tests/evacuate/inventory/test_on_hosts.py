"""The inventory's hosts for real: asked over SSH, cordoned, and what that keeps out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.evacuate.errors import HostUnknown
from migrate.runtime.errors import HostCordoned
from migrate.transfer.errors import HostUnreachable, MethodUnknown
from tests.hosts import Host, Lan
from tests.hosts.redis import MIGRATE
from tests.move.faults.holding import arm, kill, wait_until_held
from tests.move.fixtures import containers, counts_on, make_counter_image, start_counter

pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts]
OLD_AGENT = """#!{python}
from migrate.move import methods
from migrate.runtime.paths import Paths
from migrate.transfer.agent import serve_stdio

known = methods.methods(Paths.from_environment())
serve_stdio({{n: m for n, m in known.items() if n not in ("host.survey", "host.cordon")}})
"""


@pytest.fixture(scope="module")
def pair(lan: Lan) -> tuple[Host, Host]:
    alpha, beta = lan.host("alpha"), lan.host("beta")
    make_counter_image(lan.shared, alpha, beta)
    return alpha, beta


@pytest.fixture(scope="module")
def inventory(lan: Lan, pair: tuple[Host, Host]) -> dict[str, str]:
    """The environment in which both hosts are known to alpha."""
    alpha, beta = pair
    environment = {"MIGRATE_INVENTORY": str(lan.shared / "hosts.toml")}
    for name, host, zone in (("a", alpha, "zone=1"), ("b", beta, "zone=2")):
        told = alpha.run(
            [MIGRATE, "host", "add", name, host.ssh_target, "--label", zone], env=environment
        ).stdout
        assert f"{name} ({host.ssh_target})" in told
        assert "CRIU 4" in told
    return environment


@pytest.fixture
def clean(pair: tuple[Host, Host], inventory: dict[str, str]) -> Iterator[tuple[Host, Host]]:
    yield pair
    for host in pair:
        host.run([MIGRATE, "host", "uncordon"])
        host.run([MIGRATE, "recover"])
        for name in containers(host):
            host.run([MIGRATE, "rm", "-f", name])


def listed(host: Host, environment: dict[str, str], *words: str) -> dict[str, dict]:
    told = host.run([MIGRATE, "host", "ls", "--json", *words], env=environment).stdout
    return {entry["name"]: entry for entry in json.loads(told)}


def fails(host: Host, code: int, *words: str, **options) -> str:
    done = host.run([MIGRATE, *words], check=False, **options)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return str(done.stderr)


def test_ls_of_two_hosts_with_containers(clean, inventory, lan):
    alpha, beta = clean
    beta.run(["mkdir", "-p", "/tmp/bound"])
    start_counter(
        beta, "counter", "--network", "bridge", "--bridge", "br-lan", "--ip", "10.77.0.130/24",
        "-v", "things:/things", "-v", "/tmp/bound:/bound", "-m", "256m",
        "--label", "migrate.priority=3", "--label", "odd=\x1b[2J",
    )  # fmt: skip
    fill = "dd if=/dev/urandom of=/data-%s bs=1M count=%s; sync"
    beta.run([MIGRATE, "exec", "counter", "sh", "-c", fill % ("upper", 3)])
    beta.run([MIGRATE, "exec", "counter", "sh", "-c",
              "dd if=/dev/urandom of=/things/x bs=1M count=2; sync"])  # fmt: skip
    start_counter(beta, "ended")
    beta.run([MIGRATE, "stop", "-t", "0", "ended"])
    found = listed(alpha, inventory)
    assert {name: entry["status"] for name, entry in found.items()} == {"a": "ready", "b": "ready"}
    assert found["b"]["labels"] == {"zone": "2"}
    a, b = found["a"]["state"], found["b"]["state"]
    assert a["address"] == ""  # alpha has asked itself
    assert (b["address"], b["name"], b["labels"]) == (beta.ssh_target, "b", {"zone": "2"})
    assert a["guests"] == []
    assert a["host_id"] != b["host_id"]
    assert b["memory_free"] > 1 << 20
    assert b["disk_free"] > 1 << 20
    assert b["criu"].startswith("4.")
    assert len(b["cpu_flags"]) > 10
    assert "br-lan" in b["bridges"]
    guests = {guest["name"]: guest for guest in b["guests"]}
    counter = guests["counter"]
    assert (counter["status"], guests["ended"]["status"]) == ("running", "stopped")
    assert 5 << 20 <= counter["disk"] < 8 << 20
    assert counter["disk_counted"] is True
    assert 0 < counter["memory"] <= counter["limit"] == 256 << 20
    assert guests["ended"]["memory"] == 0
    assert counter["labels"] == {"migrate.priority": "3", "odd": "\ufffd[2J"}
    assert counter["network"] == "bridge"
    assert (counter["bridge"], counter["address"]) == ("br-lan", "10.77.0.130/24")
    assert counter["host_paths"] == ["/tmp/bound"]
    assert counter["held"] == ""
    table = alpha.run([MIGRATE, "host", "ls"], env=inventory).stdout
    assert "2 (1 running)" in table


def test_a_host_that_is_down_is_a_row(clean, inventory, lan):
    alpha, _beta = clean
    both = {"MIGRATE_INVENTORY": str(lan.shared / "with-gamma.toml")}
    text = Path(inventory["MIGRATE_INVENTORY"]).read_text()
    # Nobody is at that address.
    Path(both["MIGRATE_INVENTORY"]).write_text(f'{text}\n[hosts.c]\naddress = "root@10.77.0.99"\n')
    found = listed(alpha, both)
    assert found["b"]["status"] == "ready"
    assert found["c"]["state"] is None
    assert found["c"]["error"]["code"] == HostUnreachable.code
    told = fails(alpha, HostUnreachable.code, "host", "add", "d", "root@10.77.0.98", env=both)
    assert "10.77.0.98" in told
    assert "[hosts.d]" not in Path(both["MIGRATE_INVENTORY"]).read_text()


def test_an_older_migrate_there_says_so(clean, inventory, lan):
    alpha, _beta = clean
    script = lan.shared / "old-migrate"
    script.write_text(OLD_AGENT.format(python=sys.executable))
    script.chmod(0o755)
    environment = inventory | {"MIGRATE_REMOTE_COMMAND": str(script)}
    found = listed(alpha, environment)
    assert found["b"]["error"]["code"] == MethodUnknown.code
    assert "migrate host setup b" in found["b"]["error"]["mend"]
    told = fails(alpha, MethodUnknown.code, "host", "cordon", "b", env=environment)
    assert "too old" in told


def test_a_cordoned_host_takes_none_and_gives_all(clean, inventory):
    alpha, beta = clean
    start_counter(alpha, "comes")
    start_counter(beta, "goes")
    alpha.run([MIGRATE, "host", "cordon", "b", "--why", "new disks"], env=inventory)
    assert listed(alpha, inventory)["b"]["status"] == "cordoned"
    run = ("run", "-d", "--name", "new", "counter", "/bin/sh", "-c", "true")
    assert "new disks" in fails(beta, HostCordoned.code, *run)
    told = fails(alpha, HostCordoned.code, "move", "comes", beta.ssh_target)
    assert "the target is cordoned" in told
    assert "root@alpha" in told
    assert "migrate host uncordon" in told
    assert counts_on(alpha, "comes")
    assert containers(beta) == {"goes": "running"}
    assert counts_on(beta, "goes")
    beta.run([MIGRATE, "move", "goes", alpha.ssh_target])
    assert containers(beta) == {}
    alpha.run([MIGRATE, "host", "uncordon", "b"], env=inventory)
    alpha.run([MIGRATE, "move", "goes", beta.ssh_target])
    beta.run([MIGRATE, *run])
    assert containers(beta)["goes"] == "running"


def test_it_holds_over_a_reboot(clean, inventory):
    _alpha, beta = clean
    beta.run([MIGRATE, "host", "cordon", "--why", "power"])
    beta.reboot()
    assert "power" in fails(beta, HostCordoned.code, "run", "counter", "/bin/sh", "-c", "true")


def test_no_checkpoint_is_restored(clean, inventory):
    _alpha, beta = clean
    start_counter(beta, "saved", "--label", "migrate.apart=web")
    beta.run([MIGRATE, "checkpoint", "saved", "-o", "/tmp/saved.tar"])
    beta.run([MIGRATE, "host", "cordon"])
    fails(beta, HostCordoned.code, "restore", "/tmp/saved.tar")
    assert containers(beta) == {"saved": "stopped"}
    beta.run([MIGRATE, "host", "uncordon"])
    beta.run([MIGRATE, "restore", "/tmp/saved.tar"])
    assert counts_on(beta, "saved")
    record = json.loads(beta.run([MIGRATE, "inspect", "saved"]).stdout)["record"]
    assert record["labels"] == {"migrate.apart": "web"}


@pytest.mark.parametrize(
    ("mode", "victim", "point"),
    [("cold", "agent", "unpacked"), ("stop-copy", "agent", "unpacked"),
     ("stop-copy", "command", "frozen"), ("cold", "command", "dumped")],
)  # fmt: skip
def test_a_move_away_that_fails_is_rolled_back_on_a_cordoned_host(clean, mode, victim, point):
    alpha, beta = clean
    start_counter(beta, "stays", "--label", "migrate.evacuate=keep")
    beta.run([MIGRATE, "host", "cordon"])
    words = [MIGRATE, "move", "stays", alpha.ssh_target, "--mode", mode, "--stop-time", "0"]
    holder, word = (alpha, "agent") if victim == "agent" else (beta, "move")
    arm(holder, point)
    command = beta.popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    kill([wait_until_held(holder, word, command)])
    assert command.wait(60) != 0
    beta.run([MIGRATE, "recover"])
    alpha.run([MIGRATE, "recover"])  # nobody else clears up after an agent that was killed
    assert containers(beta) == {"stays": "running"}
    assert counts_on(beta, "stays")
    assert containers(alpha) == {}
    beta.run(words)
    assert counts_on(alpha, "stays")
    record = json.loads(alpha.run([MIGRATE, "inspect", "stays"]).stdout)["record"]
    assert record["labels"] == {"migrate.evacuate": "keep"}


def test_names_serve_wherever_a_host_is_named(clean, inventory):
    alpha, _beta = clean
    assert "ready" in alpha.run([MIGRATE, "host", "check", "b"], env=inventory, timeout=110).stdout
    assert "nobody" in fails(alpha, HostUnknown.code, "host", "check", "nobody", env=inventory)
