"""The exit status is right, wherever the words go."""

import subprocess
import sys
from pathlib import Path

import pytest

from migrate.runtime.errors import ContainerUnknown

MIGRATE = str(Path(sys.prefix) / "bin" / "migrate")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_full_disk_below_standard_error_does_not_hide_it(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIGRATE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("MIGRATE_RUN", str(tmp_path / "run"))
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [MIGRATE, "move", "nobody", "root@192.0.2.1", *options], stdout=full, stderr=full
        )
    assert done.returncode == ContainerUnknown.code
