"""Encrypted checkpoints: for whom they are made, and for nobody else."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pyrage
import pytest

from migrate.checkpoint import sealing
from migrate.checkpoint.bring_back import bring_back
from migrate.checkpoint.errors import CannotOpen, CheckpointBad, RecipientInvalid
from migrate.checkpoint.save import save
from migrate.errors import UsageError


def counted(_size: int) -> None:
    pass


def keys(directory: Path) -> tuple[str, Path]:
    """A recipient, and the file of its identity."""
    made = pyrage.x25519.Identity.generate()
    path = directory / "key.txt"
    path.write_text(f"# created: today\n{made}\n")
    return str(made.to_public()), path


def sealed(directory: Path, content: bytes, *recipients: str) -> Path:
    plain, path = directory / "plain", directory / "sealed"
    plain.write_bytes(content)
    out = io.BytesIO()
    sealing.seal(plain, out, sealing.recipients_of(recipients), counted)
    path.write_bytes(out.getvalue())
    return path


def test_each_recipient_can_read_it(tmp_path: Path) -> None:
    content = b"memory" * 50_000
    (tmp_path / "other").mkdir()
    (one, file), (other, its) = keys(tmp_path), keys(tmp_path / "other")
    path = sealed(tmp_path, content, one, other)
    assert sealing.is_sealed(path)
    assert content[:100] not in path.read_bytes()
    for number, identity in enumerate((file, its)):
        sealing.unseal(path, tmp_path / f"out{number}", identity, counted)
        assert (tmp_path / f"out{number}").read_bytes() == content
        assert (tmp_path / f"out{number}").stat().st_mode & 0o777 == 0o600


def test_ssh_keys_will_do(tmp_path: Path) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "id"], check=True
    )
    path = sealed(tmp_path, b"memory", (tmp_path / "id.pub").read_text())
    sealing.unseal(path, tmp_path / "out", tmp_path / "id", counted)
    assert (tmp_path / "out").read_bytes() == b"memory"


def test_nobody_else_can_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (one, file), (_, stranger) = keys(tmp_path), keys(tmp_path / "other")
    path = sealed(tmp_path, b"memory" * 50_000, one)
    with pytest.raises(CannotOpen):
        sealing.unseal(path, tmp_path / "out", stranger, counted)
    whole = path.read_bytes()
    for damaged in (whole[:-20], whole[:-200_000], whole + b"x",
                    whole[:100_000] + b"y" + whole[100_001:]):  # fmt: skip
        path.write_bytes(damaged)
        with pytest.raises(CannotOpen):
            sealing.unseal(path, tmp_path / "out", file, counted)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "age1nonsense", "ssh-ed25519 AAAA", "ssh-dss x", "someone"])
def test_what_is_no_recipient_is_refused(text: str) -> None:
    with pytest.raises(RecipientInvalid):
        sealing.recipients_of([text])


@pytest.mark.parametrize("text", ["", "# nothing\n", "AGE-SECRET-KEY-1NONSENSE\n", "-----BEGIN X"])
def test_what_is_no_identity_is_refused_and_not_quoted(tmp_path: Path, text: str) -> None:
    path = sealed(tmp_path, b"memory", keys(tmp_path)[0])
    (tmp_path / "bad").write_text(text)
    with pytest.raises(CannotOpen) as caught:
        sealing.unseal(path, tmp_path / "out", tmp_path / "bad", counted)
    assert "NONSENSE" not in str(caught.value)
    with pytest.raises(CannotOpen):
        sealing.unseal(path, tmp_path / "out", tmp_path / "missing", counted)


@pytest.mark.root
@pytest.mark.criu
def test_a_container_comes_back_from_one(place) -> None:
    record = place.counter()
    place.wait_for(lambda: len(place.log(record)) > 3)
    recipient, identity = keys(place.directory)
    output = place.directory / "sealed.age"
    save(place.paths, record, str(output), recipients=[recipient])
    assert sealing.is_sealed(output)
    with pytest.raises(CannotOpen, match="is encrypted"):
        bring_back(place.paths, output)
    whole = output.read_bytes()
    output.write_bytes(whole[:-1])
    with pytest.raises((CannotOpen, CheckpointBad)):
        bring_back(place.paths, output, identity=identity)
    assert place.status(record) == "stopped"
    output.write_bytes(whole)
    bring_back(place.paths, output, identity=identity)
    place.counts_on(record)


@pytest.mark.root
@pytest.mark.criu
def test_a_directory_can_not_be_encrypted(place) -> None:
    record = place.counter()
    with pytest.raises(UsageError, match="directory"):
        save(place.paths, record, f"{place.directory}/out/", recipients=[keys(place.directory)[0]])
    place.counts_on(record)
