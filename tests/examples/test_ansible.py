"""`examples/ansible`, run by Ansible itself at the desk: the module's states, and the playbook."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.evacuate.fleet import Fleet, is_cordoned
from tests.hosts import Lan
from tests.hosts.host import CHECKOUT
from tests.hosts.redis import MIGRATE
from tests.move.fixtures import containers, counts_on, is_gapless, make_counter_image, start_counter

pytestmark = [
    pytest.mark.root, pytest.mark.criu, pytest.mark.hosts, pytest.mark.timeout(600)
]  # fmt: skip

EXAMPLE = CHECKOUT / "examples/ansible"
PROGRAMS = Path(sys.executable).parent
WANTED = "reboot-wanted"


class Controller:
    """Ansible at the desk, with an inventory that migrate reads as well."""

    def __init__(self, fleet: Fleet, lan: Lan) -> None:
        self.fleet = fleet
        self.inventory = lan.shared / "hosts.ini"
        self.inventory.write_text(
            "".join(
                f"{name} ansible_host={host.address} ansible_user=root"
                f" ansible_python_interpreter={sys.executable}\n"
                for name, host in fleet.hosts.items()
            )
        )
        self._environment = {
            "ANSIBLE_HOME": str(lan.shared / "ansible"),
            "ANSIBLE_LIBRARY": str(EXAMPLE / "library"),
            "ANSIBLE_REMOTE_TEMP": "/tmp/ansible", "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal", "LC_ALL": "C.UTF-8",
        }  # fmt: skip

    def popen(self, program: str, *words: str) -> subprocess.Popen[str]:
        child: subprocess.Popen[str] = self.fleet.desk.popen(
            [PROGRAMS / program, *words], env=self._environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return child

    def module(self, *words: str, status: int = 0, **arguments: Any) -> dict[str, Any]:
        """The result of one call of the module; status 2 is a task that failed."""
        given = {"inventory": str(self.inventory), "executable": MIGRATE, **arguments}
        child = self.popen(
            "ansible", "localhost", "-m", "migrate_evacuate", "-a", json.dumps(given),
            "-e", f"ansible_python_interpreter={sys.executable}", *words,
        )  # fmt: skip
        out, _err = child.communicate(timeout=200)
        assert child.returncode == status, out
        found, _end = json.JSONDecoder().raw_decode(out.partition(" => ")[2])
        assert isinstance(found, dict)
        return found


@pytest.fixture(scope="module")
def controller(lan: Lan) -> Controller:
    fleet = Fleet(lan, "alpha", "beta")
    make_counter_image(lan.shared, *fleet.hosts.values())
    return Controller(fleet, lan)


@pytest.fixture(autouse=True)
def nothing_left(controller: Controller) -> Iterator[None]:
    """Each test begins without containers and cordons."""
    yield
    controller.fleet.clean()


def test_what_is_asked_and_what_is_refused(controller: Controller) -> None:
    alpha, beta = controller.fleet.hosts.values()
    start_counter(alpha)
    foreseen = controller.module("--check", host="alpha", to=["beta"], parallel=1)
    assert foreseen["changed"]
    assert [step["name"] for step in foreseen["plan"]["steps"]] == ["counter"]
    assert not is_cordoned(alpha)

    assert controller.module(host="beta", state="cordoned", why="new disks")["changed"]
    assert is_cordoned(beta)
    empty = controller.module(host="beta")
    assert (empty["changed"], empty["report"]["moved"]) == (False, 0)
    failed = controller.module(host="alpha", status=2)
    assert failed["error"]["name"] == "evacuation-incomplete"
    assert "beta" in failed["msg"]
    assert not is_cordoned(alpha)
    assert controller.module(host="beta", state="uncordoned")["changed"]
    assert not is_cordoned(beta)
    assert containers(alpha) == {"counter": "running"}


def test_the_playbook(controller: Controller) -> None:
    """This thread plays the power button; a task that fails would end the play with status 2."""
    alpha, beta = controller.fleet.hosts.values()
    start_counter(alpha, "books")
    facts = {
        "migrate_executable": MIGRATE, "ansible_python_interpreter": sys.executable,
        "reboot_command": f"touch /var/lib/migrate/{WANTED}",
        # A test host shares the machine's boot id; its pid 1 is its own.
        "boot_command": "cut -d ' ' -f 22 /proc/1/stat",
    }  # fmt: skip
    child = controller.popen(
        "ansible-playbook", "-i", str(controller.inventory), str(EXAMPLE / "evacuate.yml"),
        "--limit", "alpha", "-e", json.dumps(facts),
    )  # fmt: skip
    rebooted, deadline = 0, time.monotonic() + 400
    while child.poll() is None and time.monotonic() < deadline:
        if (alpha.disk / WANTED).exists():
            assert containers(alpha) == {}
            assert containers(beta) == {"books": "running"}
            (alpha.disk / WANTED).unlink()
            alpha.reboot()
            rebooted += 1
        time.sleep(0.05)
    if child.poll() is None:
        child.kill()
    out, _err = child.communicate()
    assert (child.returncode, rebooted) == (0, 1), out
    assert counts_on(alpha, "books")
    assert is_gapless(alpha, "books")
    assert not is_cordoned(alpha)
    again = controller.module(host="alpha", state="returned")
    assert (again["changed"], again["report"]) == (False, {})
    assert "nothing is to be brought back" in again["msg"]
