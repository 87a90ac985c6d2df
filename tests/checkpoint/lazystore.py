"""A full dump taken apart: a skeleton for CRIU, and a store of pages for the page server."""

from __future__ import annotations

import array
import contextlib
from pathlib import Path

from migrate.checkpoint import dump as dumping
from migrate.checkpoint import freezing
from migrate.checkpoint.files import portable
from migrate.checkpoint.restore import Restorer
from migrate.checkpoint.state import State, describe
from migrate.criu import client, pagemap_images
from migrate.criu.pagemap_images import PE_LAZY, pages_of
from migrate.runtime.lifecycle.create import load_spec, making_place, unmake
from migrate.runtime.lifecycle.delete import dismiss_monitor
from migrate.runtime.paths import ContainerPaths
from migrate.runtime.records import Record, load_process
from migrate.runtime.status import process_of_container
from tests.checkpoint.conftest import Place

PAGE = 4096


def split(images: Path, store: Path) -> int:
    """Move what can be restored lazily out of CRIU's images; how many bytes that were."""
    store.mkdir(parents=True)
    paths = [path for path in images.glob("pagemap-*.img") if "shmem" not in path.name]
    return sum(_split(path, images, store) for path in paths)


def _split(path: Path, images: Path, store: Path) -> int:
    pid = path.name.removeprefix("pagemap-").removesuffix(".img")
    head, *entries = pagemap_images.read(path)
    pages = images / f"pages-{head.pages_id}.img"
    kept, runs = [], []
    new = pages.with_suffix(".new")
    with pages.open("rb") as file, new.open("wb") as rest, (store / pid).open("wb") as content:
        for entry in entries:
            length = pages_of(entry) * PAGE
            if not entry.flags & PE_LAZY:
                kept.append(entry)
                rest.write(file.read(length))
                continue
            content.seek(entry.vaddr)
            for _ in range(pages_of(entry)):
                content.write(file.read(PAGE))
            runs += [entry.vaddr, entry.vaddr + length]
    new.rename(pages)
    pagemap_images.write(path, [head, *kept])
    (store / f"{pid}.present").write_bytes(array.array("Q", runs).tobytes())
    return sum(runs[1::2]) - sum(runs[::2])


class Dumped:
    """A container that was dumped and ended; to be restored from `images` and `store`."""

    def __init__(self, place: Place, record: Record, directory: Path) -> None:
        self.place, self.record = place, record
        paths = place.paths
        self.own = paths.container(record.identifier)
        self.images, self.store = directory / "criu", directory / "pages"
        self.images.mkdir(parents=True)
        process = process_of_container(paths, record)
        self.state: State = describe(
            paths, portable(paths, record), load_spec(paths, record), process
        )
        with client.swrk() as criu:
            freezing.freeze(paths, record)
            dumping.dump(paths, criu, self.state, process, self.images)
        dismiss_monitor(paths, record)
        self.own.exit.unlink(missing_ok=True)
        unmake(paths, record)
        self.bytes = split(self.images, self.store)

    def restore(self, *, fill_rate: int = 0) -> Restorer:
        """It runs again, and is being filled."""
        with making_place(self.place.paths, self.record):
            restorer = Restorer(self.place.paths, self.state, self.store, fill_rate=fill_rate)
            try:
                restorer.restore(self.images, self.state)
                restorer.let_run()
            except BaseException:
                restorer.abandon()
                raise
        return restorer


def page_servers(own: ContainerPaths) -> list[int]:
    """The page server of a container, while it has one."""
    process = load_process(own)
    if process is None:
        return []
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            head, _, tail = stat.read_text().rpartition(")")
            if tail.split()[1] == str(process.monitor) and head.endswith("(migrate-pages"):
                found.append(int(stat.parent.name))
    return found
