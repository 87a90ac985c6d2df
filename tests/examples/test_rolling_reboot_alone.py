"""What `examples/rolling_reboot.py` refuses and gives up without a host that answers."""

from __future__ import annotations

import fcntl
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.hosts.host import CHECKOUT


@pytest.fixture(scope="module")
def program() -> ModuleType:
    path = CHECKOUT / "examples/rolling_reboot.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIGRATE_STATE", str(tmp_path))
    path = tmp_path / "hosts.toml"
    path.write_text('[hosts.alpha]\naddress = "root@127.0.0.1:1"\n')
    return path


def test_waiting_has_an_end(program: ModuleType) -> None:
    with pytest.raises(program.Trouble, match=r"not come back within 0\.1 s: .*can't be reached"):
        program.await_boot("root@127.0.0.1:1", 0.1)


def test_a_boot_that_does_not_end_is_no_other(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "boot_of", lambda _address: "the old one")
    with pytest.raises(program.Trouble, match="it does not go down"):
        program.await_boot("alpha", 0.1, other_than="the old one")
    assert program.await_boot("alpha", 0.1, other_than="an older one") == "the old one"


@pytest.mark.parametrize("text", ["{", "[]", '{"done": "alpha"}', " " * (2 << 20)])
def test_a_state_file_that_is_none(
    program: ModuleType, inventory: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    state = inventory.with_name("rolling-reboot.json")
    state.write_text(text)
    assert program.main(["--inventory", str(inventory)]) == 1
    said = capsys.readouterr().out
    assert f"{state} can't be read" in said
    assert "alpha: " in said
    assert state.read_text() == text


def test_one_round_at_a_time(
    program: ModuleType, inventory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with inventory.with_name("rolling-reboot.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert program.main(["--inventory", str(inventory)]) == 1
    assert "another round is on its way" in capsys.readouterr().out


def test_a_host_that_does_not_answer_is_not_begun_with(
    program: ModuleType, inventory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["--inventory", str(inventory)]) == 1
    assert "stopped: root@127.0.0.1:1 can't be reached" in capsys.readouterr().out
    assert not inventory.with_name("rolling-reboot.json").exists()
