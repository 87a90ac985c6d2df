"""What the SSH configuration says about a host: asked of `ssh -G`, else read by paramiko."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from migrate.transfer.errors import SshConfigUnsupported
from migrate.transfer.target import Target

CONFIG_VARIABLE = "MIGRATE_SSH_CONFIG"
"""Names a file to be read in the place of ~/.ssh/config, by every connection of ours."""

_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")


@dataclass(frozen=True)
class SshSettings:
    """What the control connection needs to know; paths are expanded."""

    host: str
    port: int
    user: str
    identity_files: tuple[Path, ...]
    known_hosts: tuple[Path, ...]
    host_key_alias: str | None
    proxy_jump: Target | None
    use_agent: bool

    @property
    def host_key_name(self) -> str:
        """The name under which known_hosts has the host (sshconnect.c, get_hostfile_hostname)."""
        if self.host_key_alias:
            return self.host_key_alias
        return self.host if self.port == 22 else f"[{self.host}]:{self.port}"


def config_arguments() -> list[str]:
    """`-F FILE` for OpenSSH's commands where the variable names one."""
    path = os.environ.get(CONFIG_VARIABLE)
    return ["-F", path] if path else []


def settings_for(target: Target) -> SshSettings:
    """The settings for a host; raises SshConfigUnsupported for what we can't do."""
    ssh = shutil.which("ssh")
    options = _ask_openssh(ssh, target) if ssh else _ask_paramiko(target)
    return _settings(target, options)


def _ask_openssh(ssh: str, target: Target) -> dict[str, list[str]]:
    """`ssh -G` resolves Include, Match and the defaults exactly as ssh itself will."""
    result = subprocess.run(
        [ssh, *config_arguments(), "-G", *target.ssh_arguments],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False,
    )  # fmt: skip
    if result.returncode != 0:
        detail = result.stderr.decode(errors="replace").strip()[-600:]
        raise SshConfigUnsupported("ssh refuses its configuration", cause=detail)
    options: dict[str, list[str]] = {}
    for line in result.stdout.decode(errors="surrogateescape").splitlines():
        key, _, value = line.partition(" ")
        options.setdefault(key.lower(), []).append(value)
    return options


def _ask_paramiko(target: Target) -> dict[str, list[str]]:
    import paramiko

    path = Path(os.environ.get(CONFIG_VARIABLE) or Path.home() / ".ssh" / "config")
    found: dict[str, list[str]] = {}
    if path.exists():
        try:
            config = paramiko.SSHConfig.from_path(str(path))
            looked_up = config.lookup(target.host)
        except (paramiko.SSHException, OSError) as error:
            raise SshConfigUnsupported(f"{path} can't be read", cause=str(error)) from error
        values: Mapping[str, object] = looked_up
        for key, value in values.items():
            found[key] = [str(v) for v in value] if isinstance(value, list) else [str(value)]
    return found


def _settings(target: Target, options: Mapping[str, Sequence[str]]) -> SshSettings:
    def one(key: str, default: str = "") -> str:
        values = options.get(key)
        return values[0] if values else default

    if one("proxycommand", "none").lower() != "none":
        raise SshConfigUnsupported(
            f"the SSH configuration reaches {target} by a ProxyCommand",
            cause="the control connection can't use one",
            mend="use ProxyJump with a single host, or an address that is reached directly",
        )
    home = Path.home() / ".ssh"
    keys = options.get("identityfile") or [str(home / name) for name in _DEFAULT_KEYS]
    known = " ".join(options.get("userknownhostsfile") or [str(home / "known_hosts")])
    known += " " + " ".join(options.get("globalknownhostsfile") or ["/etc/ssh/ssh_known_hosts"])
    return SshSettings(
        host=one("hostname", target.host),
        port=target.port or int(one("port", "22")),
        user=target.user or one("user") or getpass.getuser(),
        identity_files=tuple(path for key in keys if (path := Path(key).expanduser()).is_file()),
        known_hosts=tuple(
            path for name in known.split() if (path := Path(name).expanduser()).is_file()
        ),
        host_key_alias=one("hostkeyalias") or None,
        proxy_jump=_proxy_jump(target, one("proxyjump", "none")),
        use_agent=one("identityagent").lower() != "none",
    )


def _proxy_jump(target: Target, text: str) -> Target | None:
    if text.lower() == "none":
        return None
    if "," in text or "://" in text:
        raise SshConfigUnsupported(
            f"the SSH configuration reaches {target} over ProxyJump {text}",
            cause="the control connection can make one hop only",
            mend="use ProxyJump with a single host, or an address that is reached directly",
        )
    return Target.parse(text)
