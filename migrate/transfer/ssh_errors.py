"""What went wrong on an SSH connection, as typed errors with a mend.

The texts are those of OpenSSH 9.2 (ssh.c, sshconnect.c, sshconnect2.c, clientloop.c, readconf.c).
"""

from __future__ import annotations

import re

from migrate.errors import MigrateError
from migrate.transfer.errors import (
    AgentMissing,
    AuthenticationFailed,
    ConnectionLost,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    SshConfigUnsupported,
)
from migrate.transfer.remote import MISSING_MARKER
from migrate.transfer.target import Target

_TAIL = 600

_BAD_CONFIG = re.compile(r"Bad (?:owner or permissions|configuration option)|terminating, \d+ bad")
_UNREACHABLE = re.compile(
    r"Could not resolve hostname|connect to (?:host|address) |Connection (?:refused|timed out)|"
    r"kex_exchange_identification|banner exchange|Connection (?:closed|reset) by|"
    r"ssh_dispatch_run_fatal|Unable to negotiate"
)


def host_key_unknown(target: Target, detail: str = "") -> HostKeyUnknown:
    """No known_hosts file has this host."""
    port = f"-p {target.port} " if target.port else ""
    login = f"{target.user}@{target.host}" if target.user else target.host
    return HostKeyUnknown(
        f"the host key of {target} is unknown",
        cause=detail or "no known_hosts file has it",
        mend=f"connect once by hand and compare the fingerprint: 'ssh {port}{login}'; or, on a "
        f"network that you trust: 'ssh-keyscan {port}{target.host} >> ~/.ssh/known_hosts'",
    )


def host_key_changed(target: Target, detail: str = "") -> HostKeyChanged:
    """known_hosts has another key for this host."""
    name = f"[{target.host}]:{target.port}" if target.port else target.host
    return HostKeyChanged(
        f"{target} shows another host key than the known one",
        cause=detail or "it was installed anew, or someone stands between",
        mend=f"if you know that it was installed anew: ssh-keygen -R '{name}', then connect "
        "once by hand; else do not connect",
    )


def agent_missing(target: Target, detail: str = "") -> AgentMissing:
    """The lookup line (migrate.transfer.remote) found nothing to run."""
    return AgentMissing(
        f"migrate is not installed at {target}",
        cause=detail,
        mend=f"install it there: 'migrate host setup {target}'",
    )


def authentication_failed(target: Target, detail: str) -> AuthenticationFailed:
    """None of our keys is accepted."""
    return AuthenticationFailed(
        f"{target} accepts none of our SSH keys",
        cause=detail,
        mend="add your public key to ~/.ssh/authorized_keys there (ssh-copy-id), or load the key "
        "into your agent (ssh-add) if it has a passphrase",
    )


def classify(stderr: str, target: Target, during: str) -> MigrateError:
    """The error that ssh's standard error tells of; ConnectionLost where it tells nothing known."""
    detail = _last_lines(stderr)
    error: MigrateError
    if MISSING_MARKER in stderr:
        error = agent_missing(target, detail)
    elif "REMOTE HOST IDENTIFICATION HAS CHANGED" in stderr:
        error = host_key_changed(target)
    elif "Host key verification failed" in stderr or "host key is known for" in stderr:
        error = host_key_unknown(target, detail)
    elif "Permission denied (" in stderr or "Too many authentication failures" in stderr:
        error = authentication_failed(target, detail)
    elif _BAD_CONFIG.search(stderr):
        error = SshConfigUnsupported("ssh refuses its configuration", cause=detail)
    elif _UNREACHABLE.search(stderr):
        error = HostUnreachable(f"{target} can't be reached by SSH", cause=detail)
    else:
        what = f"the connection to {target} ended during {during}"
        error = ConnectionLost(what, cause=detail)
    return error


def _last_lines(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(lines)[-_TAIL:]
