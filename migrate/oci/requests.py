"""What `checkpoint` and `restore` ask of CRIU alike: the options of their command lines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from migrate.criu import client
from migrate.criu.diagnosis import explain
from migrate.criu.errors import CriuFailed
from migrate.criu.probe import has_feature
from migrate.criu.provide import criu_binary
from migrate.criu.skeleton.filter import preloading
from migrate.oci.errors import BadUsage, Unsupported

SILENCE_LIMIT = 300.0  # seconds
CGROUP_MODES = ("ignore", "soft", "full", "strict")
_NAMESPACES = {"network": 0x4000_0000}  # include/uapi/linux/sched.h, CLONE_NEWNET


@contextmanager
def options_of(values: dict[str, Any], images: str, log: str) -> Iterator[Any]:
    """`criu_opts` of the options that both commands have; raises BadUsage, Unsupported.

    CRIU works with cgroups in no mode: the runtime makes and limits the container's own.
    """
    from pycriu import rpc_pb2 as rpc

    _refuse(values)
    options = client.base_options(Path(images), log)
    options.tcp_established = values["tcp_established"]
    options.file_locks = values["file_locks"]
    options.ext_unix_sk = values["ext_unix_sk"]
    options.shell_job = values["shell_job"]
    options.auto_dedup = values["auto_dedup"]
    options.ext_masters = True
    for name in values["empty_ns"]:
        if name not in _NAMESPACES:
            raise BadUsage(f"namespace {name!r} is not supported", cause="--empty-ns network")
        options.empty_ns |= _NAMESPACES[name]
    if values["tcp_established"]:
        can = has_feature(criu_binary(), "network_lock_nftables")
        options.network_lock = rpc.NFTABLES if can else rpc.IPTABLES
    work = os.open(values["work_path"] or images, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.set_inheritable(work, True)
    options.work_dir_fd = work
    try:
        yield options
    finally:
        os.close(work)


def _refuse(values: dict[str, Any]) -> None:
    if values["lazy_pages"]:
        raise Unsupported(
            "--lazy-pages is not supported",
            cause="CRIU 4.2.1 serves no pages after a dump by RPC (page-pipe: splice: EBADF)",
            mend="'migrate move --mode post-copy' moves a container so",
        )  # fmt: skip
    if values["manage_cgroups_mode"] not in CGROUP_MODES:
        raise BadUsage(
            f"invalid manage-cgroups-mode {values['manage_cgroups_mode']!r}",
            cause=f"one of {', '.join(CGROUP_MODES)}",
        )


def ask(criu: client.Swrk, kind: str, options: Any, notify: client.Notify, log: str) -> Any:
    """CRIU's response; raises CriuFailed with the cause from its log, DiskFull, CriuDied."""
    try:
        return criu.request(kind, options, notify, SILENCE_LIMIT)
    except CriuFailed as error:
        raise explain(Path(log), error.what) from error


def environment() -> dict[str, str]:
    """That of CRIU."""
    return {**os.environ, **preloading()}
