"""Images from registries and to them, by skopeo; what comes is checked like any other archive.

skopeo speaks the registry's protocol and knows its ways of authentication. Which layers are needed
is seen beforehand from the image's own manifest: those that the store has are not fetched again.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from migrate.errors import HostNotReady
from migrate.images.errors import (
    ImageArchiveBad,
    ImageNameBad,
    LayerDigestMismatch,
    RegistryDenied,
    RegistryFailed,
    disk_full_told,
)
from migrate.images.exporting import export_layout
from migrate.images.importing import decode_manifest, import_archive, manifest_for_this_machine
from migrate.images.model import DOCUMENT_LIMIT, Image, image_from_document, normalize_name
from migrate.images.registry_access import Access
from migrate.images.store import Store

SCHEME = "docker://"
_DIGESTED = re.compile(r"@sha256:[0-9a-f]{64}")
_POLL = 0.1  # seconds
_ERROR_LIMIT = 64 << 10
_DENIED = ("unauthorized", "authentication required", "denied", "invalid username/password")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Reference:
    """An image in a registry: `repository` with its host, and `:tag` or `@sha256:...`."""

    repository: str
    suffix: str

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Of `[docker://]HOST[:PORT]/NAME[:TAG][@DIGEST]`; raises ImageNameBad."""
        rest = text.removeprefix(SCHEME)
        digest = _DIGESTED.search(rest)
        named = rest[: digest.start()] if digest else rest
        full = normalize_name(named)
        repository, _, tag = full.rpartition(":")
        host = repository.partition("/")[0]
        if "/" not in repository or not ("." in host or ":" in host or host == "localhost"):
            raise ImageNameBad(
                f"{text[:100]!r} does not say which registry",
                mend="put the registry's host before it, such as registry.example.org/shop:1.2",
            )
        if digest and digest.end() != len(rest):
            raise ImageNameBad(f"{text[:100]!r} is not an image name")
        return cls(repository, digest[0] if digest else f":{tag}")

    def __str__(self) -> str:
        return self.repository + self.suffix

    @property
    def name(self) -> str | None:
        """What it is called in the store; None for a digest, which is no name."""
        return None if self.suffix.startswith("@") else str(self)


def pull(
    store: Store, reference: Reference, access: Access, name: str | None = None,
    progress: Progress | None = None,
) -> Image:  # fmt: skip
    """Fetch an image and call it `name`, or as it is called there.

    Raises RegistryFailed, RegistryDenied, HostNotReady (no skopeo), and as `import_archive`.
    """
    if name is not None:
        normalize_name(name)
    with store.hold(), _scratch(store) as scratch:
        with access.options(scratch, "") as options:
            fetched = _Fetched.of(reference, options)
        image = image_from_document(fetched.config)
        if len(image.diff_ids) != len(fetched.layers):
            raise ImageArchiveBad("the manifest and the config of the image disagree")
        total = _mark_present(store, image, fetched, scratch / "blobs/sha256")
        exact = f"{SCHEME}{reference.repository}@{fetched.digest}"
        with access.options(scratch, "src-") as options:
            command = ["copy", "-q", *options, "--dest-shared-blob-dir", str(scratch / "blobs"),
                       exact, f"oci:{scratch / 'layout'}:pulled"]  # fmt: skip
            _skopeo(command, _watch(scratch, total, progress), str(reference))
        _bring_together(scratch / "layout/blobs", scratch / "blobs")
        called = name or reference.name
        return import_archive(store, scratch / "layout", called, own_names=False)


def _mark_present(store: Store, image: Image, fetched: _Fetched, blobs: Path) -> int:
    """An empty file in `blobs` for each layer that is here; the bytes of the others together.

    skopeo asks only whether such a file is there, and the import does not open it.
    """
    blobs.mkdir(parents=True)
    missing = 0
    for diff_id, (digest, size) in zip(image.diff_ids, fetched.layers, strict=True):
        if store.has_layer(diff_id):
            with (blobs / digest.removeprefix("sha256:")).open("wb") as file:
                file.truncate(size)
        else:
            missing += size
    return missing


def _bring_together(own: Path, shared: Path) -> None:
    """The shared blobs into the layout's place; skopeo makes that, too, and leaves it empty."""
    if own.exists():
        shutil.rmtree(own)
    shared.rename(own)


def push(
    store: Store, image: str, reference: Reference, access: Access,
    progress: Progress | None = None,
) -> None:  # fmt: skip
    """Send an image; layers that are there are not sent again.

    Raises ImageUnknown, RegistryFailed, RegistryDenied, HostNotReady, ImageNameBad for a digest.
    """
    if reference.name is None:
        raise ImageNameBad(f"{reference} is a digest", mend="push it by a name with a tag")
    with store.hold(), _scratch(store) as scratch, access.options(scratch, "dest-") as options:
        export_layout(store, image, scratch / "layout")
        command = ["copy", "-q", *options, f"oci:{scratch / 'layout'}", f"{SCHEME}{reference}"]
        _skopeo(command, _ticking(progress), str(reference))


@dataclass(frozen=True)
class _Fetched:
    """Manifest digest, config, and (digest, size) of each layer's blob, for this machine."""

    digest: str
    config: bytes
    layers: list[tuple[str, int]]

    @classmethod
    def of(cls, reference: Reference, options: list[str]) -> _Fetched:
        def inspect(*more: str, suffix: str) -> bytes:
            command = ["inspect", "--no-tags", *options, *more]
            target = f"{SCHEME}{reference.repository}{suffix}"
            return _skopeo([*command, target], None, str(reference))

        suffix = reference.suffix
        for _ in range(2):
            raw = inspect("--raw", suffix=suffix)
            _check(raw, suffix.removeprefix("@") if suffix.startswith("@") else None)
            manifest = decode_manifest(raw, "the manifest")
            if manifest.manifests is None:
                break
            suffix = f"@{manifest_for_this_machine(manifest).digest}"
        if manifest.layers is None or manifest.config is None:
            raise RegistryFailed(
                f"{reference} has no manifest that can be used",
                cause="it is neither of Docker's schema 2 nor of OCI",
            )
        digest = _check(raw, None)
        config = inspect("--config", "--raw", suffix=f"@{digest}")
        _check(config, manifest.config.digest)
        return cls(digest, config, [(layer.digest, layer.size) for layer in manifest.layers])


def _check(data: bytes, wanted: str | None) -> str:
    """The digest of a document; raises LayerDigestMismatch if it is not the one that is wanted."""
    found = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if wanted not in {None, found}:
        raise LayerDigestMismatch(f"what the registry calls {wanted} is {found}")
    return found


@contextlib.contextmanager
def _scratch(store: Store) -> Iterator[Path]:
    """A private directory beside the layers, gone at the end."""
    parent = store.root / "tmp"
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with disk_full_told(parent):
        path = Path(tempfile.mkdtemp(dir=parent, prefix="registry-"))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _watch(scratch: Path, total: int, progress: Progress | None) -> Callable[[], None] | None:
    """Counts what has been written below `scratch`."""
    if progress is None:
        return None

    def count() -> None:
        done = 0
        for path in scratch.rglob("*"):
            with contextlib.suppress(OSError):
                done += path.lstat().st_blocks * 512
        progress(min(done, total), total)

    return count


def _ticking(progress: Progress | None) -> Callable[[], None] | None:
    return None if progress is None else lambda: progress(0, 0)


def _skopeo(arguments: list[str], beside: Callable[[], None] | None, reference: str) -> bytes:
    """What it prints; `beside` is called now and then. Raises what its complaint means."""
    program = shutil.which("skopeo")
    if program is None:
        raise HostNotReady(
            "images can't be exchanged with registries", cause="there is no skopeo on this host",
            mend="install it (Debian: apt-get install skopeo)",
        )  # fmt: skip
    policy = [] if Path("/etc/containers/policy.json").exists() else ["--insecure-policy"]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as complaint:
        process = subprocess.Popen(
            [program, *policy, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=complaint,
        )  # fmt: skip
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL)
                    break
                if beside:
                    beside()
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait()
        out.seek(0)
        complaint.seek(0)
        data = out.read(DOCUMENT_LIMIT + 1)
        if process.returncode != 0:
            raise _meaning(complaint.read(_ERROR_LIMIT).decode(errors="replace"), reference)
    if len(data) > DOCUMENT_LIMIT:
        raise RegistryFailed(f"{reference} answers more than can be right")
    return data


def _meaning(complaint: str, reference: str) -> RegistryFailed | RegistryDenied:
    """skopeo's last words (`level=fatal msg="..."`) as an error."""
    match = re.findall(r'level=fatal msg="((?:[^"\\]|\\.)*)"', complaint)
    cause = (match[-1].replace('\\"', '"') if match else complaint.strip())[-1000:]
    lower = cause.lower()
    if any(word in lower for word in _DENIED):
        return RegistryDenied(f"the registry does not let us at {reference}", cause=cause)
    what, mend = f"the registry could not be asked for {reference}", RegistryFailed.mend
    if "manifest unknown" in lower or "name unknown" in lower or "not found" in lower:
        what, mend = f"the registry has no {reference}", "look at name and tag"
    elif "http response to https" in lower:
        mend = "the registry does not speak TLS: repeat with --tls-verify=false if that may be so"
    elif "x509" in lower or "certificate" in lower:
        mend = "give the authority that signed its certificate with --ca FILE"
    return RegistryFailed(what, cause=cause, mend=mend)
