"""The image of open files (CRIU, images/fdinfo.proto and regfile.proto)."""

from __future__ import annotations

from pathlib import Path

_NO_POSITION = (1 << 64) - 1  # CRIU then does not seek (criu/files-reg.c, open_path)
_NAME = "files.img"


def free_external(images: Path) -> None:
    """Have CRIU take any descriptor in place of an external file, and leave its position as it is.

    What stands for it at a restore is another file, or a pipe. For images of this host's own dump.
    Raises OSError.
    """
    import pycriu.images

    path = images / _NAME
    with path.open("rb") as file:
        image = pycriu.images.load(file)
    external = [e["reg"] for e in image["entries"] if "reg" in e and e["reg"].get("ext")]
    if not external:
        return
    for entry in external:
        entry["pos"] = _NO_POSITION
        entry.pop("mode", None)
        entry.pop("size", None)
    new = path.with_name(f".{_NAME}.new")
    with new.open("wb") as file:
        pycriu.images.dump(image, file)
    new.chmod(0o600)
    new.rename(path)
