"""`migrate host add, ls, rm, label`, names instead of addresses, completion."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from migrate.cli.hostnames import address_of, complete_hosts
from migrate.cli.main import cli, main
from migrate.errors import UsageError
from migrate.evacuate.errors import HostUnknown, InventoryBad, InventoryReadOnly
from migrate.evacuate.inventory import asking
from migrate.evacuate.model import Guest, HostState
from migrate.transfer.errors import HostUnreachable, TargetInvalid

STATE = HostState(
    "up", "root@10.0.0.1", "ab", criu="4.2.1", kernel="6.18", memory_free=2_000_000_000,
    disk_free=3_000_000_000, guests=(Guest("c1", "web"), Guest("c2", "db", "stopped")),
)  # fmt: skip


@pytest.fixture
def inventory(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "etc" / "hosts.toml"
    monkeypatch.setenv("MIGRATE_INVENTORY", str(path))
    return path


def host(*words: str):
    """`migrate host WORDS`: the outcome, its error as it was raised."""
    return CliRunner().invoke(cli, ["host", *words])


def failed(kind: type[Exception], *words: str) -> str:
    done = host(*words)
    assert isinstance(done.exception, kind), (done.exception, done.output)
    return str(done.exception)


def enter(name: str, address: str, *words: str) -> None:
    done = host("add", name, address, "--no-check", *words)
    assert done.exit_code == 0, done.output


def listed(*words: str) -> list[dict[str, object]]:
    done = host("ls", "--json", *words)
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


def test_hosts_are_entered_labelled_and_removed(inventory):
    enter("web1", "root@10.0.0.1:22", "--label", "zone=a", "--label", "rack=")
    enter("web2", "root@10.0.0.2")
    assert [(h["name"], h["address"], h["labels"]) for h in listed("--offline")] == [
        ("web1", "root@10.0.0.1:22", {"zone": "a", "rack": ""}),
        ("web2", "root@10.0.0.2", {}),
    ]
    assert host("label", "web1", "zone=b", "rack-", "x=y=z").exit_code == 0
    assert listed("--offline")[0]["labels"] == {"zone": "b", "x": "y=z"}
    table = host("ls", "--offline").stdout.splitlines()
    assert table[0].split() == ["NAME", "ADDRESS", "LABELS"]
    assert table[1].split() == ["web1", "root@10.0.0.1:22", "zone=b,x=y=z"]
    assert host("rm", "web1", "web2", "web1").stdout == "web1\nweb2\n"
    assert listed("--offline") == []
    assert "migrate host add" in host("ls", "--offline").stderr


def test_what_can_not_be_entered(inventory):
    enter("web1", "root@10.0.0.1")
    text = inventory.read_text()
    assert "web1" in failed(UsageError, "add", "--no-check", "web1", "root@10.0.0.9")
    assert "web1" in failed(UsageError, "add", "--no-check", "w", "root@10.0.0.1")
    failed(UsageError, "add", "--no-check", "a b", "root@10.0.0.9")
    failed(UsageError, "add", "--no-check", "b", "root@10.0.0.9", "--label", "x=\x1b")
    failed(TargetInvalid, "add", "--no-check", "b", "root@:22")
    failed(HostUnknown, "rm", "web1", "web9")
    failed(HostUnknown, "label", "web9", "a=b")
    for words in (("label", "web1", "zone"), ("label", "web1", "a=b", "a-"), ("label", "web1")):
        assert host(*words).exit_code == 2
    assert inventory.read_text() == text


def test_a_host_that_can_not_be_reached_is_not_entered(inventory, monkeypatch):
    def down(_host):
        raise HostUnreachable("it is down")

    monkeypatch.setattr(asking, "ask", down)
    failed(HostUnreachable, "add", "web1", "root@10.0.0.1")
    assert not inventory.exists()
    monkeypatch.setattr(asking, "ask", lambda _host: STATE)
    done = host("add", "web1", "root@10.0.0.1")
    assert "CRIU 4.2.1, Linux 6.18, containers: 2" in done.stdout


def test_ls_shows_how_they_are_and_who_is_down(inventory, monkeypatch):
    enter("up", "root@10.0.0.1", "--label", "zone=a")
    enter("down", "root@10.0.0.2")
    down = HostUnreachable("no answer there")
    monkeypatch.setattr(asking, "ask_all", lambda _hosts: {"up": STATE, "down": down})
    done = host("ls")
    assert done.exit_code == 0
    head, up, lost = done.stdout.splitlines()
    assert head.split() == [
        "NAME", "ADDRESS", "STATUS", "CRIU", "KERNEL", "FREE", "MEMORY", "FREE", "DISK",
        "CONTAINERS", "LABELS",
    ]  # fmt: skip
    assert up.split() == [
        "up", "root@10.0.0.1", "ready", "4.2.1", "6.18", "2.0", "GB", "3.0", "GB", "2", "(1",
        "running)", "zone=a",
    ]  # fmt: skip
    assert lost.split() == ["down", "root@10.0.0.2", "host-unreachable"]
    assert "down: no answer there" in done.stderr
    first, second = listed()
    assert first["status"] == "ready"
    assert first["error"] is None
    state = first["state"]
    assert isinstance(state, dict)
    assert state["cordoned"] is False
    assert [guest["status"] for guest in state["guests"]] == ["running", "stopped"]
    assert second["state"] is None
    error = second["error"]
    assert isinstance(error, dict)
    assert error["code"] == HostUnreachable.code


def test_an_inventory_of_ansible(inventory, tmp_path):
    ini = tmp_path / "site.ini"
    ini.write_text("[web]\nweb[1:2] ansible_user=root\nwin ansible_connection=winrm\n")
    assert [h["labels"] for h in listed("--offline", "--inventory", str(ini))] == [
        {"group.web": ""}, {"group.web": ""},
    ]  # fmt: skip
    assert "win is left out" in host("ls", "--offline", "--inventory", str(ini)).stderr
    for words in (("add", "x", "root@x"), ("rm", "web1"), ("label", "web1", "a=b")):
        failed(InventoryReadOnly, *words, "--inventory", str(ini))
    ini.write_text("web ansible_host='{{ x }}'\n")
    assert "site.ini" in failed(InventoryBad, "ls", "--inventory", str(ini))


@pytest.mark.parametrize("words", [("check",), ("setup",), ("cordon",), ("uncordon",)])
def test_a_host_is_a_name_or_an_address(inventory, words):
    enter("web1", "root@127.0.0.1:1")
    assert "127.0.0.1" in failed(HostUnreachable, *words, "web1")
    assert "127.0.0.1" in failed(HostUnreachable, *words, "root@127.0.0.1:1")
    assert "web9" in failed(HostUnknown, *words, "web9")
    failed(TargetInvalid, *words, "root@")
    inventory.write_text("[")
    failed(InventoryBad, *words, "web1")
    failed(HostUnreachable, *words, "root@127.0.0.1:1")


def test_check_of_this_very_host(inventory, tmp_path):
    ini = tmp_path / "site.ini"
    ini.write_text("me ansible_connection=local\n")
    assert "migrate doctor" in failed(UsageError, "check", "me", "--inventory", str(ini))


def test_the_exit_code_is_the_errors(inventory, monkeypatch, capsys):
    enter("web1", "root@10.0.0.1")
    monkeypatch.setattr(sys, "argv", ["migrate", "host", "check", "web9"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == HostUnknown.code == 50
    assert "Traceback" not in capsys.readouterr().err


def test_names_are_completed(inventory):
    import click

    from migrate.cli.host import host as group

    for name in ("web1", "web2", "db"):
        enter(name, f"root@{name}")
    for verb, parameter, given in (
        ("check", "target", {}), ("cordon", "target", {}), ("label", "name", {}),
        ("rm", "names", {"names": ("web1",)}),
    ):  # fmt: skip
        command = group.commands[verb]
        ctx = click.Context(command)
        ctx.params.update(given)
        argument = next(p for p in command.params if p.name == parameter)
        found = [item.value for item in argument.shell_complete(ctx, "w")]
        assert found == (["web2"] if given else ["web1", "web2"]), verb
    inventory.write_text("[")
    command = group.commands["check"]
    assert complete_hosts(click.Context(command), command.params[0], "w") == []


def test_each_has_an_example(inventory):
    from migrate.cli.host import host as group

    for verb in group.commands:
        assert "Example: migrate host" in host(verb, "--help").stdout


def test_an_address_by_the_inventorys_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "hosts.toml"
    monkeypatch.setenv("MIGRATE_INVENTORY", str(path))
    path.write_text('[hosts.beta]\naddress = "root@10.0.0.2:2222"\n')
    assert address_of("beta") == "root@10.0.0.2:2222"
    assert address_of("alias") == "alias"
    path.write_text("nonsense")
    assert address_of("root@10.0.0.3") == "root@10.0.0.3"
    with pytest.raises(InventoryBad):
        address_of("beta")
