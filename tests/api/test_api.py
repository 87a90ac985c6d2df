"""The Python API: every name is there, loaded when asked for, and refused as commands are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from migrate import api
from migrate.errors import MigrateError, UsageError
from migrate.evacuate.errors import HostUnknown, InventoryBad
from migrate.runtime.errors import ContainerUnknown


def test_every_name_is_there() -> None:
    for name in api.__all__:
        assert getattr(api, name) is not None
    assert set(api._PLACES) == set(api.__all__)
    with pytest.raises(AttributeError):
        _ = api.nonsense  # type: ignore[attr-defined]


def test_it_loads_no_more_than_is_asked_for() -> None:
    """The commands stand on it, and start-up is what users feel."""
    code = (
        "import sys; from migrate.api import local;"
        "print([m for m in sys.modules if m.startswith(('migrate.evacuate', 'paramiko', 'rich'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIGRATE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("MIGRATE_RUN", str(tmp_path / "run"))
    monkeypatch.setenv("MIGRATE_INVENTORY", str(tmp_path / "hosts.toml"))
    return tmp_path


def test_what_is_not_there_is_refused(empty: Path) -> None:
    assert api.containers() == []
    assert list(api.recover()) == []
    with pytest.raises(ContainerUnknown):
        api.move("nobody", "root@127.0.0.1")
    with pytest.raises(ContainerUnknown):
        api.checkpoint("nobody")
    with pytest.raises(ContainerUnknown):
        list(api.recover(["nobody"]))
    with pytest.raises(UsageError):
        api.restore(empty / "nothing.tar.zst")
    with pytest.raises(InventoryBad):
        api.hosts()
    (empty / "hosts.toml").write_text("")
    assert api.hosts() == {}
    with pytest.raises(HostUnknown):
        api.order("nobody")


def test_an_evacuation_without_anybody_to_receive(empty: Path) -> None:
    (empty / "hosts.toml").write_text('[hosts.beta]\naddress = "root@127.0.0.1:1"\n')
    said: list[str] = []

    class Listening(api.View):
        def note(self, words: str) -> None:
            said.append(words)

        def intent(self, plan: object) -> None: ...
        def course(self, course: object) -> None: ...
        def moment(self, courses: object) -> None: ...

    with pytest.raises(MigrateError) as refused:
        api.evacuate(api.order(api.HERE), view=Listening())
    assert isinstance(refused.value, UsageError)
    assert "can't be reached" in refused.value.cause
    assert said == ["asking 2 hosts"]
