"""rm of a container that somebody else removes at the same moment."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from migrate.cli.lifecycle import rm
from migrate.runtime import records
from migrate.runtime.errors import ContainerUnknown
from migrate.runtime.lifecycle import delete
from migrate.runtime.records import Record


def test_with_force_it_is_no_error_that_it_is_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def gone(*_arguments: object, **_how: object) -> None:
        raise ContainerUnknown("there is no container 'web' any more")

    monkeypatch.setenv("MIGRATE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("MIGRATE_RUN", str(tmp_path / "run"))
    monkeypatch.setattr(records, "find", lambda *_: Record("1" * 12, "web", created=0.0))
    monkeypatch.setattr(delete, "delete", gone)
    assert CliRunner().invoke(rm, ["-f", "web"]).exit_code == 0
    assert isinstance(CliRunner().invoke(rm, ["web"]).exception, ContainerUnknown)
