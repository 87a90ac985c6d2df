"""An nginx, and a slow download from it that never ends; each copy's checksum is verified."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
from pathlib import Path

from tests.evacuate.workloads.workload import Reporter, wait_for_port
from tests.hosts.host import Client, Host
from tests.hosts.redis import MIGRATE

PORT, SIZE = 80, 8 << 20  # bytes of the file: 5 s a copy
IMAGE = "nginx"
# The worker is root as its master is: see postgres.py for what another uid needs.
CONFIGURATION = """
user root;
worker_processes 1;
daemon off;
pid /tmp/nginx.pid;
error_log stderr;
events { worker_connections 64; }
http {
  access_log off;
  sendfile on;
  keepalive_requests 100000000;
  keepalive_timeout 3600;
  send_timeout 3600;
  client_body_temp_path /tmp/body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  server { listen 80; root /srv; }
}
"""


def content() -> bytes:
    """Of the file that is served; the same each time."""
    return random.Random(4).randbytes(SIZE)


def make_image(shared: Path, host: Host) -> None:
    """Import the image `nginx` on the host."""
    archive = shared / "nginx.tar"
    if not archive.exists():
        with tarfile.open(archive, "w") as tar:
            add_skeleton(tar)
            for name, data in (("nginx.conf", CONFIGURATION.encode()), ("srv/file", content())):
                add_file(tar, name, data)
            add_file(tar, "etc/passwd", b"root:x:0:0::/:/bin/sh\n")
            add_file(tar, "etc/group", b"root:x:0:\n")
    host.run([MIGRATE, "image", "import", str(archive), IMAGE])


def add_skeleton(tar: tarfile.TarFile) -> None:
    """Empty directories, and links as on every Debian, for an image whose /usr is bound."""
    for name in ("usr", "bench", "etc", "tmp", "proc", "sys", "dev", "run", "srv"):
        add_directory(tar, name, 0o1777 if name == "tmp" else 0o755)
    for name in ("bin", "lib", "lib64", "sbin"):
        member = tarfile.TarInfo(name)
        member.type, member.linkname = tarfile.SYMTYPE, f"usr/{name}"
        tar.addfile(member)


def add_directory(tar: tarfile.TarFile, name: str, mode: int = 0o755) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, mode
    tar.addfile(member)


def add_file(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), mode
    tar.addfile(member, io.BytesIO(data))


class Nginx:
    """With programs/download.py."""

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address
        self._download: Reporter | None = None

    def start(self, host: Host, client: Client) -> None:
        host.run([
            MIGRATE, "run", "-d", "--name", self.name, "--network", "bridge",
            "--bridge", "br-lan", "--ip", f"{self.address}/24", "-v", "/usr:/usr:ro",
            IMAGE, "/usr/sbin/nginx", "-c", "/nginx.conf", "-e", "stderr",
        ])  # fmt: skip
        wait_for_port(client, self.address, PORT)
        digest = hashlib.sha256(content()).hexdigest()
        self._download = Reporter(
            client, "download.py", self.address, str(PORT), "/file", digest
        )  # fmt: skip

    def mark(self) -> float:
        assert self._download
        return float(self._download.mark()["gap"])

    def finish(self, host: Host) -> list[str]:
        assert self._download
        told = self._download.finish()
        wrong = list(told["errors"])
        if not told.get("copies"):
            wrong.append("no copy came whole")
        return wrong

    def kill(self) -> None:
        if self._download:
            self._download.kill()
