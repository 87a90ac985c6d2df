"""What a CPU must be able to do for images that were dumped on another, by CRIU's own check.

A program chooses its code by the CPU that it starts on; where the next one lacks an instruction, it
dies of SIGILL some time after a restore that went well. CRIU compares only when it is told to, on
both sides (criu/arch/x86/cpu.c, cpu_validate_cpuinfo).
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from migrate.criu.diagnosis import explain
from migrate.criu.errors import CriuFailed, ImageBad
from migrate.criu.provide import criu_binary

IMAGE = "cpuinfo.img"
IMAGE_LIMIT = 64 << 10
"""Bytes; it has some hundred."""
_FPU, _INSTRUCTIONS, _IMAGE = 1, 4, 8
# criu/include/cr_options.h, CPU_CAP_*. Not CPU_CAP_CPU, which wants the very same CPU.
REQUIREMENTS = _FPU | _INSTRUCTIONS | _IMAGE
"""The field `cpu_cap` of a request (images/rpc.proto): the image is written, or obeyed."""
_OPTION = "--cpu-cap=fpu,ins"
_LIMIT = 10.0  # seconds


def describe() -> bytes:
    """This host's CPU as an image of CRIU's; raises CriuFailed and CriuMissing."""
    with tempfile.TemporaryDirectory(prefix="migrate-cpu-") as directory:
        _criu("dump", Path(directory), "criu could not tell what this CPU can do")
        return (Path(directory) / IMAGE).read_bytes()


def check(image: bytes) -> None:
    """Whether what was dumped on the CPU of `image` can run on this one.

    Raises CriuFailed with cause and mend when not, and ImageBad for what is no such image.
    """
    if not 0 < len(image) <= IMAGE_LIMIT:
        raise ImageBad("the description of the source's CPU is of an impossible size")
    with tempfile.TemporaryDirectory(prefix="migrate-cpu-") as directory:
        (Path(directory) / IMAGE).write_bytes(image)
        _criu("check", Path(directory), "the target's CPU can't go on where the source's stopped")


def _criu(verb: str, directory: Path, what: str) -> None:
    log = directory / "log"
    arguments = [
        str(criu_binary()),
        "cpuinfo",
        verb,
        "-D",
        str(directory),
        "-o",
        str(log),
        "-v2",
        _OPTION,
    ]
    try:
        done = subprocess.run(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, check=False, timeout=_LIMIT,
        )  # fmt: skip
    except (subprocess.TimeoutExpired, OSError) as error:
        raise CriuFailed(what, cause=str(error)) from error
    if done.returncode:
        raise explain(log, what)
