from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from migrate.kernel import processes
from tests.engine import eventually
from tests.hosts import Lan, leftovers, snapshot, sweep
from tests.hosts.host import CHECKOUT
from tests.hosts.leftovers import PREFIX

pytestmark = [pytest.mark.root, pytest.mark.hosts, pytest.mark.alone]

SEND = """
import socket, sys, time
with socket.create_server(("", 5000)) as server:
    print("ready", flush=True)
    connection = server.accept()[0]
    with connection:
        connection.sendall(bytes(int(sys.argv[1])))
"""
RECEIVE = """
import socket, sys, time
started, total = time.monotonic(), 0
with socket.create_connection((sys.argv[1], 5000), timeout=20) as connection:
    while data := connection.recv(1 << 20):
        total += len(data)
print(total / (time.monotonic() - started) * 8 / 1e6)
"""


def megabits_per_second(receiver, sender, size):
    with sender.popen([sys.executable, "-c", SEND, str(size)], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"ready\n"
        speed = float(receiver.run([sys.executable, "-c", RECEIVE, sender.address]).stdout)
        child.wait()
    return speed


def test_ssh_between_hosts_by_name_and_address(two_hosts):
    alpha, beta = two_hosts
    assert alpha.run(["ssh", "beta", "hostname"]).stdout == "beta\n"
    assert beta.run(["ssh", alpha.ssh_target, "hostname"]).stdout == "alpha\n"
    found = alpha.run(["ssh", "beta", "command -v python; echo $SSH_CONNECTION"]).stdout.split()
    assert found == [str(Path(sys.executable).parent / "python"), alpha.address, *found[2:]]


def test_each_host_has_state_of_its_own(two_hosts):
    alpha, beta = two_hosts
    for directory in ("/run", "/tmp", "/dev/shm", "/var/lib/migrate", "/root/.ssh"):
        alpha.run(["touch", f"{directory}/mark"])
        assert beta.run(["test", "-e", f"{directory}/mark"], check=False).returncode == 1
        assert not Path(directory, "mark").exists()
    assert (alpha.disk / "mark").exists()
    assert alpha.run(["stat", "-f", "-c", "%T", "/run"]).stdout == "tmpfs\n"


def test_commands_take_input_environment_and_report_failure(two_hosts):
    alpha, _ = two_hosts
    done = alpha.run(["sh", "-c", "cat; echo $X; pwd"], input="in\n", env={"X": "y"}, cwd="/usr")
    assert done.stdout == "in\ny\n/usr\n"
    with pytest.raises(AssertionError, match="on alpha: false: exit code 1"):
        alpha.run(["false"])
    with pytest.raises(FileNotFoundError):
        alpha.run(["/no/such/command"])
    assert processes.stat_fields("self")  # and this process is where it was
    assert os.readlink("/proc/self/ns/pid_for_children") == os.readlink("/proc/self/ns/pid")


def test_processes_are_members_of_the_host(two_hosts):
    alpha, _ = two_hosts
    assert alpha.run(["cat", "/proc/1/comm"]).stdout.startswith("python")
    groups = alpha.run(["cat", "/proc/self/cgroup"]).stdout.splitlines()
    assert {line.split(":")[2] for line in groups} <= {"/", "/system"}
    machine = alpha.popen(["sleep", "60"])
    assert f"{alpha._cgroup}" in Path(f"/proc/{machine.pid}/cgroup").read_text()
    machine.kill()
    machine.wait()


def test_cgroups_with_a_freezer(two_hosts):
    alpha, beta = two_hosts
    script = """
    if [ -d /sys/fs/cgroup/freezer ]; then
        g=/sys/fs/cgroup/freezer/box; mkdir $g
        sleep 60 & echo $! > $g/cgroup.procs
        sleep 0.2; echo FROZEN > $g/freezer.state; cat $g/freezer.state
    else
        g=/sys/fs/cgroup/box; mkdir $g
        sleep 60 & echo $! > $g/cgroup.procs
        sleep 0.2; echo 1 > $g/cgroup.freeze
        until grep -q 'frozen 1' $g/cgroup.events; do sleep 0.05; done; echo FROZEN
    fi"""
    # The frozen process stays, without our pipes: unmaking the host must cope with it.
    assert alpha.run(["sh", "-c", script.replace("& echo", ">/dev/null 2>&1 & echo")]).stdout in {
        "FROZEN\n",
        "FREEZING\n",
    }
    assert beta.run(["sh", "-c", "find /sys/fs/cgroup -name box"]).stdout == ""


def test_the_rate_is_kept(two_hosts):
    alpha, beta = two_hosts
    assert eventually(lambda: megabits_per_second(alpha, beta, 20_000_000) > 200)
    beta.set_rate(40)
    try:
        for ends in ((alpha, beta), (beta, alpha)):
            speeds = [megabits_per_second(*ends, 3_000_000)]
            while max(speeds) < 25 and len(speeds) < 10:  # a busy machine has it wait
                speeds.append(megabits_per_second(*ends, 3_000_000))
            assert 25 < max(speeds) < 50
    finally:
        beta.set_rate(None)
    assert eventually(lambda: megabits_per_second(alpha, beta, 20_000_000) > 200)


def test_a_client_reaches_the_hosts_and_is_reached(lan, two_hosts):
    client = lan.client()
    assert megabits_per_second(client, two_hosts[0], 1_000_000) > 0
    assert megabits_per_second(two_hosts[0], client, 1_000_000) > 0


def test_cut_and_mend(two_hosts):
    alpha, beta = two_hosts
    beta.cut()
    probe = ["ssh", "-o", "ConnectTimeout=1", "beta", "true"]
    assert alpha.run(probe, check=False).returncode == 255
    beta.mend()
    assert alpha.run(["ssh", "beta", "true"]).returncode == 0


CONNECT = """
import socket, sys, time
begun = time.monotonic()
try:
    socket.create_connection((sys.argv[1], 22), float(sys.argv[2])).close()
    print(time.monotonic() - begun)
except TimeoutError:
    print("inf")
"""


def test_a_bad_cable_is_late_and_loses(two_hosts):
    alpha, beta = two_hosts

    def seconds(limit: float) -> float:
        command = [sys.executable, "-c", CONNECT, beta.address, str(limit)]
        return float(alpha.run(command).stdout)

    beta.set_cable(delay=0.05)
    try:
        took = [seconds(20)]
        assert eventually(lambda: took.append(seconds(20)) or min(took) < 0.4)
        assert min(took) >= 0.1
        beta.set_cable(loss=1.0)
        assert seconds(0.5) == float("inf")
    finally:
        beta.set_cable()
    assert eventually(lambda: seconds(20) < 0.05)


def test_reboot_keeps_the_disk_and_nothing_else(two_hosts):
    alpha, beta = two_hosts
    beta.run(["sh", "-c", "echo kept > /var/lib/migrate/a; echo lost > /run/a"])
    sleeper, old = beta.popen(["sleep", "60"]), beta.pid
    beta.reboot()
    assert sleeper.returncode == -signal.SIGKILL
    assert beta.pid != old
    assert beta.run(["cat", "/var/lib/migrate/a"]).stdout == "kept\n"
    assert beta.run(["test", "-e", "/run/a"], check=False).returncode == 1
    assert alpha.run(["ssh", "beta", "hostname"]).stdout == "beta\n"


def test_a_failure_inside_leaves_nothing():
    before = snapshot()
    lan = Lan()
    with pytest.raises(ZeroDivisionError), lan:  # noqa: PT012
        host = lan.host("alpha")
        host.run(["sh", "-c", "setsid sleep 60 >/dev/null 2>&1 &"])
        raise ZeroDivisionError
    assert leftovers(before, lan.seen_namespaces) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_an_ended_maker_leaves_nothing(number):
    before = snapshot()
    program = (
        "import time\nfrom tests.hosts import Lan\n"
        "with Lan() as lan:\n"
        "    host = lan.host('alpha')\n"
        "    child = host.popen(['sleep', '60'])\n"
        "    print(host.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        cwd=CHECKOUT, text=True,
    ) as maker:  # fmt: skip
        init = int(maker.stdout.readline())
        started = processes.start_time(init)
        maker.send_signal(number)
        maker.wait()
    assert eventually(lambda: not processes.is_running(init, started))
    swept = [line for line in sweep() if f"{PREFIX}{maker.pid}-" in line]
    assert bool(swept) == (number == signal.SIGKILL)
    assert leftovers(before) == []
