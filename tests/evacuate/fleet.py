"""Hosts with containers, and an operator's desk from which one of them is emptied."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from migrate.runtime.errors import HostCordoned
from tests.hosts import Host, Lan
from tests.hosts.redis import MIGRATE
from tests.move.fixtures import containers


class Fleet:
    """The hosts by name, and the desk. The desk knows them by an inventory."""

    def __init__(self, lan: Lan, *names: str) -> None:
        self.hosts: dict[str, Host] = {name: lan.host(name) for name in names}
        self.desk = lan.host("desk")
        self.inventory = lan.shared / "hosts.toml"
        self.inventory.write_text(
            "".join(
                f'[hosts.{name}]\naddress = "{host.ssh_target}"\n'
                for name, host in self.hosts.items()
            )
        )

    def popen(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """A command of migrate at the desk."""
        child: subprocess.Popen[str] = self.desk.popen(
            [MIGRATE, *arguments], env={"MIGRATE_INVENTORY": str(self.inventory)}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
        )  # fmt: skip
        return child

    def run(self, *arguments: str, status: int = 0, limit: float = 150.0) -> tuple[str, str]:
        """Output and error output of a command that must end with that status."""
        child = self.popen(*arguments)
        try:
            out, err = child.communicate(timeout=limit)
        except BaseException:
            child.kill()
            child.wait()
            raise
        assert child.returncode == status, f"{arguments}: {child.returncode}\n{out}\n{err}"
        return out, err

    def evacuate(self, *arguments: str, status: int = 0, limit: float = 150.0) -> dict[str, Any]:
        """The report of `migrate evacuate --json`; `limit` in seconds."""
        out, _err = self.run("evacuate", *arguments, "--json", status=status, limit=limit)
        return reports_in(out.splitlines())[-1]

    def places(self) -> dict[str, list[tuple[str, str]]]:
        """By container's name: hosts where it is, each with its status there."""
        found: dict[str, list[tuple[str, str]]] = {}
        for name, host in self.hosts.items():
            for container, status in containers(host).items():
                if status != "moved":
                    found.setdefault(container, []).append((name, status))
        return found

    def where(self, *names: str) -> set[str]:
        """The hosts on which these containers are; each must be on exactly one."""
        places = self.places()
        assert all(len(places.get(name, ())) == 1 for name in names), places
        return {places[name][0][0] for name in names}

    def clean(self) -> None:
        """Remove all containers, cordons and journals."""
        for host in self.hosts.values():
            host.run([MIGRATE, "recover"], check=False)
            for name in containers(host):
                host.run([MIGRATE, "rm", "-f", name])
            host.run([MIGRATE, "host", "uncordon"])
        self.desk.run(["rm", "-rf", "/var/lib/migrate/evacuations"])


def reports_in(lines: Sequence[str]) -> list[dict[str, Any]]:
    """Those among lines of JSON."""
    return [told["report"] for line in lines if "report" in (told := json.loads(line))]


def is_cordoned(host: Host) -> bool:
    """Whether the host refuses a new container."""
    done = host.run(
        [MIGRATE, "run", "--rm", "--name", "probe", "counter", "/bin/sh", "-c", "true"], check=False
    )
    assert done.returncode in {0, HostCordoned.code}
    return bool(done.returncode)


def events_until(child: subprocess.Popen[str], wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """Lines of JSON up to one that has all that is wanted; all lines if none has."""
    seen: list[dict[str, Any]] = []
    assert child.stdout
    for line in child.stdout:
        seen.append(json.loads(line))
        if wanted.items() <= seen[-1].items():
            break
    return seen
