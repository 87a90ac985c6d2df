"""What a network may be, what of it must be alike on all hosts, and that it is kept whole."""

from __future__ import annotations

import shlex
import stat

import pytest
from click.testing import CliRunner

from migrate.cli.main import cli
from migrate.runtime import records
from migrate.runtime.errors import NameTaken, NetworkFailed, NetworkInUse, NetworkUnknown
from migrate.runtime.networks import definition
from migrate.runtime.networks.definition import DEFAULT, Definition
from migrate.runtime.paths import Paths
from migrate.runtime.records import Network, Record

WEB = Definition(
    "web", "bridge", "10.89.7.0/24", "fd00:89::/64", "10.89.7.1", "fd00:89::1", mtu=1400,
    options={"range": "10.89.7.128/25"}, labels={"a": "b"}, created=5.0,
)  # fmt: skip
MEMBER = definition.belonging(Network(address="10.89.7.5/24"), WEB)


@pytest.fixture
def paths(tmp_path) -> Paths:
    made = Paths(tmp_path / "state", tmp_path / "run")
    made.make()
    return made


def test_it_is_kept_whole_and_for_root_alone(paths):
    definition.save(paths, WEB)
    assert definition.find(paths, "web") == WEB
    assert definition.load_all(paths) == [WEB]
    assert stat.S_IMODE(paths.networks.stat().st_mode) == 0o700
    assert stat.S_IMODE((paths.networks / "web.json").stat().st_mode) == 0o600
    definition.remove(paths, "web")
    assert list(paths.networks.iterdir()) == []
    definition.remove(paths, "web")


@pytest.mark.parametrize("name", ["web", "../records", "", "a/b", ".hidden"])
def test_one_that_is_not_there(paths, name):
    with pytest.raises(NetworkUnknown):
        definition.find(paths, name)


def test_a_damaged_one_is_told_and_not_taken_for_none(paths):
    (paths.networks / "web.json").write_text('{"name": "web"')
    for look in (definition.load_all, lambda p: definition.find(p, "web")):
        with pytest.raises(NetworkFailed, match="can't be read"):
            look(paths)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Definition("host", "bridge"), "can't be a network's name"),
        (Definition("a b", "bridge"), "can't be a network's name"),
        (Definition("web", "bridge"), "already"),
        (Definition("n", "bridge", "10.89.7.128/25"), "overlaps 10.89.7.0/24"),
        (Definition("n", "bridge", "10.0.0.0/8"), "overlaps 10.88.0.0/16"),
        (Definition("n", "bridge", subnet6="fd00:89::/48"), "overlaps fd00:89::/64"),
        (Definition("n", "bridge", "10.90.0.1/24"), "no subnet"),
        (Definition("n", "bridge", "fd00::/64"), "no subnet"),
        (Definition("n", "bridge", "10.90.0.0/31"), "can't hold"),
        (Definition("n", "bridge", "127.0.0.0/8"), "can't hold"),
        (Definition("n", "bridge", "10.90.0.0/24", gateway="10.91.0.1"), "not in"),
        (Definition("n", "bridge", "10.90.0.0/24", gateway="junk"), "not in"),
        (Definition("n", "bridge", gateway="10.91.0.1"), "no subnet"),
        (Definition("n", "bridge", mtu=100), "too small"),
        (Definition("n", "bridge", subnet6="fd01::/64", mtu=1279), "too small"),
    ],
)
def test_what_can_be_no_network(wanted, words):
    with pytest.raises((NameTaken, NetworkFailed), match=words):
        definition.check(wanted, [WEB])


def test_a_member_finds_the_same_network_on_another_host(paths):
    with pytest.raises(NetworkUnknown) as lacking:
        definition.require(paths, MEMBER)
    command = "migrate network create web --driver bridge --subnet 10.89.7.0/24"
    assert command in lacking.value.mend
    definition.save(paths, Definition("web", "bridge", "10.89.8.0/24"))
    with pytest.raises(NetworkUnknown, match="is another one") as differing:
        definition.require(paths, MEMBER)
    assert "subnet 10.89.8.0/24, not 10.89.7.0/24" in differing.value.cause
    definition.save(paths, Definition("web", "bridge", "10.89.7.0/24", "fd00:89::/64", mtu=1400))
    assert definition.require(paths, MEMBER).name == "web"


def test_the_mend_is_a_command_that_makes_it():
    words = shlex.split(definition.create_command(MEMBER))
    assert words[:3] == ["migrate", "network", "create"]
    context = cli.get_command(None, "network").commands["create"].make_context("", words[3:])
    told = {key: context.params[key] for key in ("name", "driver", "subnet", "subnet6", "mtu")}
    assert all(getattr(MEMBER, key) == value for key, value in told.items())
    assert not definition.differences(Definition(**told), MEMBER)


def test_one_in_use_is_not_removed(paths):
    record = Record("0123456789ab", "one", created=1.0, network=MEMBER)
    definition.refuse_used("web", [])
    definition.refuse_used("other", [record])
    with pytest.raises(NetworkInUse) as used:
        definition.refuse_used("web", [record])
    assert "one" in used.value.cause


def test_records_of_before_there_were_networks_still_load():
    old = (
        b'{"identifier":"0123456789ab","name":"old","created":1.0,"network":{"driver":"bridge",'
        b'"bridge":"br-lan","address":"10.77.0.50/24","mac":"02:00:00:00:00:01"}}'
    )
    network = records.decode(old).network
    assert (network.name, network.ports, network.address6) == ("", (), "")


def test_a_driver_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("MIGRATE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("MIGRATE_RUN", str(tmp_path / "run"))
    listed = CliRunner().invoke(cli, ["network", "ls", "-q"], standalone_mode=False)
    assert listed.output.split() == [DEFAULT.name]
    failed = CliRunner().invoke(cli, ["network", "inspect", "none-such"], standalone_mode=False)
    assert isinstance(failed.exception, NetworkUnknown)


def test_the_command_for_other_hosts_names_all_hosts_of_an_overlay() -> None:
    network = definition.belonging(Network(), Definition("blue", "overlay", "10.99.0.0/16"))
    told = definition.create_command(network, ("10.77.0.2", "10.77.0.3"))
    assert told.endswith("--peer 10.77.0.2 --peer 10.77.0.3")
    assert "--peer ADDRESS (one for each host" in definition.create_command(network)
    assert "--peer" not in definition.create_command(MEMBER)
