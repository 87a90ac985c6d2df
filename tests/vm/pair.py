"""Two machines on one Ethernet, with the migrate of this checkout."""

from __future__ import annotations

import contextlib
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import migrate
from migrate.criu.skeleton import filter as skeleton
from tests.hosts import sshd
from tests.vm.cache import CHECKOUT, SUITE
from tests.vm.image import PREFIX, SITE, image
from tests.vm.machine import MIGRATE, Machine

PROGRAMS = Path("/opt/programs")
"""Inside: what the tests run in containers."""
_PROGRAMS = (
    "tests/move/programs/stress.py", "tests/move/programs/remap.py",
    "tests/hosts/redisclient.py", "migrate/bench/workloads/memory.py",
)  # fmt: skip
_PATH = f"{Path(MIGRATE).parent}:{sshd.SYSTEM_PATH}"


class Pair:
    """A context manager: alpha and beta; `suites` are those of their kernels.

    QEMU and ssh end with this process, however it ends.
    """

    def __init__(self, suites: tuple[str, str] = (SUITE, SUITE)) -> None:
        self._suites = suites
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> tuple[Machine, Machine]:
        with contextlib.ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mv-")))
            machines = [
                Machine(name, number, directory / name)
                for number, name in enumerate(("alpha", "beta"), 2)
            ]
            introduce(machines)
            made = image()
            alpha, beta = machines
            for machine, other, suite in zip(
                machines, (beta, alpha), self._suites, strict=True
            ):  # fmt: skip
                stack.callback(machine.halt)
                mail = write_mail(machine)
                machine.start(made, suite, mail, other.directory)
            for machine in machines:
                machine.wait()
            self._stack = stack.pop_all()
        return alpha, beta

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()


def introduce(machines: Sequence[Machine]) -> None:
    """Keys and names of all for all; makes the directory of each."""
    identities = []
    for machine in machines:
        machine.directory.mkdir(mode=0o700)
        identities.append(sshd.make(machine.directory, machine.name, machine.address, _PATH))
    for machine in machines:
        sshd.introduce(machine.directory, identities)
        config = machine.directory / "etc-ssh/sshd_config"
        config.write_text(config.read_text() + "PerSourcePenalties no\n")


def write_mail(machine: Machine, tests: Sequence[Path] = ()) -> Path:
    """What is newer than the image: this checkout's package and filter, keys, programs.

    `tests`: files of the checkout that stand beside the package inside.
    """
    mail = machine.directory / "mail.tar"
    package = Path(migrate.__file__).parent
    with tarfile.open(mail, "w") as tar:
        for path in sorted(package.rglob("*")):
            if path.is_file() and path.suffix not in {".pyc", ".so"}:
                tar.add(path, SITE / "migrate" / path.relative_to(package))
        library = skeleton.library()
        if library.exists():
            tar.add(library, PREFIX / "criu" / library.name)
        tar.add(machine.directory / "etc-ssh", "/etc/ssh")
        tar.add(machine.directory / "dot-ssh", "/root/.ssh")
        tar.add(machine.directory / "hosts", "/etc/hosts")
        for name in _PROGRAMS:
            tar.add(CHECKOUT / name, PROGRAMS / Path(name).name)
        for path in tests:
            tar.add(path, SITE / path.relative_to(CHECKOUT))
    return mail
