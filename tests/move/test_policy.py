"""What a target takes from whom, by its policy; and a key that can do nothing but that."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from migrate.checkpoint.state import State
from migrate.cli.agent import _asked
from migrate.move import policy
from migrate.move.errors import NotTheAgent, PolicyBad, RefusedByPolicy
from migrate.runtime.records import Bind, Network, Port, Record, Resources
from migrate.runtime.spec import Options, build
from migrate.transfer.remote import agent_command_line
from tests.hosts import Host, Lan
from tests.hosts.redis import MIGRATE
from tests.move.fixtures import containers, counts_on, make_counter_image, start_counter

WEB = b"""
[senders.web]
images = ["shop/*"]
networks = ["none", "bridge:br-*"]
ports = ["80??/tcp"]
host_paths = ["/srv/web"]
capabilities = ["CAP_NET_ADMIN"]
modes = ["cold", "pre-copy"]
memory = "1m"
"""


LIMITED = "containers without a memory limit of at most 1m"


def state(spec: dict[str, Any] | None = None, **fields: Any) -> State:
    values: dict[str, Any] = {
        "identifier": "ab12", "name": "web", "created": time.time(), "image": "shop/web:1",
        "resources": Resources(memory=1 << 20),
    }  # fmt: skip
    return State(Record(**(values | fields)), spec or build(Options(["sh"])), {}, ())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "policy.toml"
    path.write_bytes(WEB)
    monkeypatch.setenv(policy.VARIABLE, str(path))
    return path


def told(sender: str, mode: str, described: State) -> list[str]:
    return [
        error.what.removeprefix("the target's policy does not take ")
        for error in policy.permission(sender).refusals(mode, described)
    ]


def test_what_fits_is_taken(place: Path) -> None:
    assert told("web", "pre-copy", state()) == []
    assert told("web", "", state()) == []  # the mode is not known yet
    assert told("web", "cold", state(image="shop/web")) == []
    bridge = Network(driver="bridge", bridge="br-lan", address="10.0.0.2/24")
    binds = (Bind("/srv/web/a", "/a"), Bind("/srv/web", "/b"), Bind("data", "/c", volume=True))
    assert told("web", "cold", state(network=bridge, binds=binds)) == []
    more = build(Options(["sh"], add_capabilities=["NET_ADMIN"]))
    assert told("web", "cold", state(more)) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"image": "other/web:1"}, "the image 'other/web:1'"),
        ({"image": "", "rootfs": "/srv"}, "containers without an image"),
        ({"network": Network(driver="host")}, "the network 'host'"),
        ({"network": Network(driver="bridge", bridge="lan")}, "the network 'bridge:lan'"),
        ({"network": Network(driver="bridge", name="lan")}, "the network 'bridge:lan'"),
        (
            {"network": Network("bridge", "br-lan", ports=(Port(8080, 80), Port(443, 443)))},
            "a published port 443/tcp",
        ),
        ({"binds": (Bind("/srv/webs", "/a"),)}, "a mount of /srv/webs"),
        ({"binds": (Bind("/srv/web/../../etc", "/a"),)}, "a mount of /srv/web/../../etc"),
        ({"resources": Resources()}, LIMITED), ({"resources": Resources(memory=1 << 21)}, LIMITED),
    ],
)  # fmt: skip
def test_what_does_not_is_told(place: Path, fields: dict[str, Any], words: str) -> None:
    assert told("web", "cold", state(**fields)) == [words]
    with pytest.raises(RefusedByPolicy):
        policy.permission("web").refuse("cold", state(**fields))


def test_privileges_are_told(place: Path) -> None:
    assert told("web", "cold", state(build(Options(["sh"], add_capabilities=["SYS_ADMIN"])))) == [
        "the capabilities CAP_SYS_ADMIN"
    ]
    spec = build(Options(["sh"]))
    spec["linux"]["namespaces"] = [{"type": "mount"}, {"type": "uts"}]
    spec["linux"]["devices"] = [{"path": "/dev/sda", "type": "b", "major": 8, "minor": 0}]
    assert told("web", "cold", state(spec)) == [
        "a container in the host's own ipc, pid namespace", "devices of the host",
    ]  # fmt: skip
    assert told("web", "post-copy", state()) == ["moves in mode post-copy"]


def test_who_is_not_in_it_sends_nothing(place: Path) -> None:
    assert told("", "cold", state()) == ["the target takes nothing from this login"]
    assert told("other", "cold", state()) == ["the target takes nothing from 'other'"]
    place.write_bytes(WEB + b'[senders."*"]\nmodes = ["cold"]\n')
    assert told("other", "cold", state(image="x")) == []
    assert told("", "pre-copy", state()) == ["moves in mode pre-copy"]
    place.unlink()
    assert told("", "pre-copy", state(image="x", resources=Resources())) == []


@pytest.mark.parametrize(
    "text", [b"[senders.a]\nimage = ['x']", b"[", b"\xff", b"[senders.a]\nmemory = 'much'",
             b"a = 1", b"#" * (policy._LIMIT + 1)],
)  # fmt: skip
def test_a_bad_policy_lets_nothing_in(place: Path, text: bytes) -> None:
    place.write_bytes(text)
    with pytest.raises(PolicyBad):
        policy.permission("web")


def test_only_the_agent_can_be_asked_for() -> None:
    token = "0123456789abcdef" * 2
    assert _asked(agent_command_line()) is None
    assert _asked(agent_command_line("/usr/bin/migrate", ("--data", token))) == token
    run = agent_command_line().replace("agent", "run")
    outside = agent_command_line(None, ("--data", "../x"))
    for other in ("", "sh", "rm -rf /", "migrate agent", run, outside):
        with pytest.raises(NotTheAgent):
            _asked(other)


@pytest.mark.root
@pytest.mark.criu
@pytest.mark.hosts
def test_a_key_for_the_agent_alone(lan: Lan, two_hosts: tuple[Host, Host]) -> None:
    alpha, beta = two_hosts
    make_counter_image(lan.shared, alpha)
    beta.run(["sh", "-c", "cat > /etc/migrate/policy.toml"],
             input='[senders.alpha]\nimages = ["counter:*"]\nnetworks = ["none"]\n')  # fmt: skip
    keys = beta.run(["cat", "/root/.ssh/authorized_keys"]).stdout
    command = f'restrict,command="{MIGRATE} agent --as alpha" '
    mine = alpha.run(["sh", "-c", "cat /root/.ssh/*.pub"]).stdout.split()[1]
    forced = "\n".join(
        command + line if mine in line else line for line in keys.splitlines()
    ) + "\n"  # fmt: skip
    beta.run(["sh", "-c", "cat > /root/.ssh/authorized_keys"], input=forced)
    try:
        start_counter(alpha)
        refused = alpha.run(["ssh", beta.address, "id"], check=False)
        assert refused.returncode == NotTheAgent.code
        assert "nothing but" in refused.stderr
        alpha.run([MIGRATE, "check", "counter", beta.ssh_target])
        alpha.run([MIGRATE, "move", "counter", beta.ssh_target, "--mode", "stop-copy"])
        assert counts_on(beta)

        start_counter(alpha, "other", "--network", "host")
        told = alpha.run([MIGRATE, "move", "other", beta.ssh_target], check=False)
        assert told.returncode == RefusedByPolicy.code, told.stderr
        assert "the network 'host'" in told.stderr
        assert containers(alpha) == {"other": "running"}
    finally:
        beta.run(["sh", "-c", "cat > /root/.ssh/authorized_keys"], input=keys)
        beta.run(["rm", "/etc/migrate/policy.toml"])
        for host in two_hosts:
            for name in containers(host):
                host.run([MIGRATE, "rm", "-f", name])
