"""Keys, configuration and known hosts of each host's ssh; the files live on the machine's disk."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Identity:
    """What the other hosts must know of a host."""

    name: str
    address: str
    user_key: str
    host_key: str


def host_path(*, with_migrate: bool) -> str:
    """PATH on a host; the command `migrate` of this interpreter's environment comes first."""
    own = f"{Path(sys.executable).parent}:" if with_migrate else ""
    return own + SYSTEM_PATH


def no_penalties() -> str:
    """For sshd_config: since 9.8 sshd shuts out who often hangs up, which is what tests do."""
    told = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr
    found = re.match(r"OpenSSH_(\d+)\.(\d+)", told)
    assert found, told
    version = int(found[1]), int(found[2])
    return "PerSourcePenalties no\n" if version >= (9, 8) else ""


def _key(path: Path, comment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)],
        stdin=subprocess.DEVNULL,
    )


def make(directory: Path, name: str, address: str, path: str) -> Identity:
    """Write `etc-ssh/` and `dot-ssh/` with fresh keys beneath the host's directory."""
    etc, dot = directory / "etc-ssh", directory / "dot-ssh"
    etc.mkdir(mode=0o755)
    dot.mkdir(mode=0o700)
    keys = [
        _key(etc / "ssh_host_ed25519_key", f"root@{name}"),
        _key(dot / "id_ed25519", f"root@{name}"),
    ]
    (etc / "sshd_config").write_text(
        "Port 22\nHostKey /etc/ssh/ssh_host_ed25519_key\nUsePAM no\nUseDNS no\n"
        "PermitRootLogin prohibit-password\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nAuthorizedKeysFile .ssh/authorized_keys\n"
        "StrictModes no\nPrintMotd no\nPrintLastLog no\nX11Forwarding no\n"
        "MaxStartups 200\nMaxSessions 200\nPidFile /run/sshd.pid\n"
        f"SetEnv PATH={path}\nSubsystem sftp internal-sftp\n{no_penalties()}"
    )
    (etc / "ssh_config").write_text("")
    for process in keys:
        if process.wait() != 0:
            raise RuntimeError("ssh-keygen failed")
    return Identity(
        name, address, (dot / "id_ed25519.pub").read_text().strip(),
        " ".join((etc / "ssh_host_ed25519_key.pub").read_text().split()[:2]),
    )  # fmt: skip


def introduce(directory: Path, identities: Iterable[Identity]) -> None:
    """Let the host know all, itself too; rewritten in place, for the files are bind mounts."""
    known = list(identities)
    dot = directory / "dot-ssh"
    (dot / "authorized_keys").write_text("".join(f"{i.user_key}\n" for i in known))
    (dot / "known_hosts").write_text("".join(f"{i.name},{i.address} {i.host_key}\n" for i in known))
    (directory / "hosts").write_text(
        "127.0.0.1 localhost\n" + "".join(f"{i.address} {i.name}\n" for i in known)
    )


def unlocked_shadow(directory: Path) -> None:
    """A private /etc/shadow: without PAM, sshd refuses a root whose password field starts with !"""
    lines = Path("/etc/shadow").read_text().splitlines()
    text = "".join(
        (":".join(["root", "*", *line.split(":")[2:]]) if line.startswith("root:") else line) + "\n"
        for line in lines
    )
    (directory / "shadow").write_text(text)
    (directory / "shadow").chmod(0o640)


def program() -> str:
    """sshd wants to be called by its absolute path."""
    found = shutil.which("sshd", path=f"{SYSTEM_PATH}")
    if not found:
        raise FileNotFoundError("sshd is not installed: run 'make setup'")
    return found
