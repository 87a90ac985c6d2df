"""The command `migrate-oci` with a --root of its own, and bundles for it."""

from __future__ import annotations

import copy
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from migrate.kernel.mountinfo import read_mountinfo
from migrate.oci.commands import COMMANDS
from migrate.oci.main import main
from migrate.runtime.cgroups.layout import detect
from migrate.runtime.spec import Options, build
from tests.forked import forked

COMMAND = Path(sys.executable).with_name("migrate-oci")
Spec = dict[str, Any]
for entry in COMMANDS.values():  # loaded once: a test's command is a fork
    importlib.import_module(f"migrate.oci.{entry.place.partition(':')[0]}")


class Runtime:
    """Containers below `directory`; `spec` is what the next bundle begins with."""

    def __init__(self, directory: Path, rootfs: Path) -> None:
        self.directory = directory
        self.rootfs = rootfs
        self.root = directory / "root"
        self._count = 0
        self.identifiers: set[str] = set()

    def spec(self, *arguments: str, **process: Any) -> Spec:
        """A specification of a container with the usual namespaces."""
        made = copy.deepcopy(build(Options(arguments=arguments)))
        made["root"]["path"] = str(self.rootfs)
        made["process"] |= process
        return made

    def bundle(self, spec: Spec) -> Path:
        """A new directory with the specification."""
        self._count += 1
        made = self.directory / f"bundle{self._count}"
        made.mkdir()
        (made / "config.json").write_text(json.dumps(spec))
        return made

    def identifier(self) -> str:
        """A new id."""
        found = f"t{os.getpid()}-{len(self.identifiers)}"
        self.identifiers.add(found)
        return found

    def start_command(self, *words: str | Path, **options: Any) -> subprocess.Popen[str]:
        """The command as a process, its streams piped."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
                   "stdin": subprocess.DEVNULL} | options  # fmt: skip
        return forked(main, ["migrate-oci", "--root", str(self.root), *map(str, words)], **options)

    def call(self, *words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """The command's output and exit status."""
        given = options.pop("input", None)
        if given is not None:
            options["stdin"] = subprocess.PIPE
        process = self.start_command(*words, **options)
        out, error = process.communicate(given, timeout=200)
        assert "Traceback" not in (error or "")
        return subprocess.CompletedProcess(words, process.returncode, out, error)

    def ok(self, *words: str | Path, **options: Any) -> str:
        """The command's output; it must succeed."""
        done = self.call(*words, **options)
        assert done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
        return str(done.stdout).strip()

    def fails(self, *words: str | Path, status: int = 1, **options: Any) -> str:
        """The command's error text; it must fail with `status`."""
        done = self.call(*words, **options)
        assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
        return str(done.stderr)

    def run(self, spec: Spec, **options: Any) -> str:
        """The output of a container run in the foreground to its good end."""
        return self.ok("run", "-b", self.bundle(spec), self.identifier(), **options)

    def shell(self, text: str, spec: Spec | None = None) -> str:
        """The output of a shell's words in a container of `spec`."""
        spec = spec or self.spec()
        spec["process"]["args"] = ["sh", "-c", text]
        return self.run(spec)

    def detached(self, *words: str | Path, **options: Any) -> None:
        """A command whose container keeps the streams that it is given; it must succeed."""
        with (self.directory / "errors").open("w+") as errors:
            streams = {"stdout": subprocess.DEVNULL, "stderr": errors} | options
            process = self.start_command(*words, **streams)
            status = process.wait(200)
            errors.seek(0)
            assert status == 0, (words, status, errors.read())

    def create(self, spec: Spec, *words: str | Path, **options: Any) -> str:
        """A created container's id; its output goes nowhere, or to `stdout` and `stderr`."""
        identifier = self.identifier()
        self.detached("create", "-b", self.bundle(spec), *words, identifier, **options)
        return identifier

    def refused(self, spec: Spec) -> str:
        """The text by which `create` refuses a specification; nothing may be left of it."""
        identifier = self.identifier()
        text = self.fails("create", "-b", self.bundle(spec), identifier)
        assert not (self.root / identifier).exists()
        return text

    def running(self, spec: Spec | None = None) -> str:
        """A running container's id."""
        identifier = self.create(spec or self.spec("sleep", "1000"))
        self.ok("start", identifier)
        return identifier

    def state(self, identifier: str) -> dict[str, Any]:
        """Its state."""
        found: dict[str, Any] = json.loads(self.ok("state", identifier))
        return found

    def clear(self) -> None:
        """Remove all."""
        for identifier in self.identifiers:
            self.ok("delete", "--force", identifier)

    def leftovers(self) -> list[str]:
        """What there still is of containers: records, mounts, control groups."""
        place = str(self.directory)
        found = [m.mount_point for m in read_mountinfo() if m.mount_point.startswith(place)]
        found += [str(path) for path in self.root.glob("*")]
        for identifier in self.identifiers:
            groups = (root / "migrate-oci" / identifier for root in detect().roots)
            found += [str(group) for group in groups if group.exists()]
        return found
