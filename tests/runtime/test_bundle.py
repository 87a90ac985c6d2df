"""What of a bundle 'migrate run' can't carry out is refused, not passed over."""

from __future__ import annotations

from typing import Any

import pytest

from migrate.runtime.bundle import refuse_what_would_be_ignored
from migrate.runtime.errors import SpecInvalid
from migrate.runtime.usual import Options, build


def test_the_usual_is_carried_out() -> None:
    spec = build(Options(["sh"]))
    spec["process"]["apparmorProfile"] = "unconfined"
    spec["linux"] |= {"seccomp": None, "devices": [], "resources": {"devices": [{"allow": False}]}}
    refuse_what_would_be_ignored(spec | {"hooks": {}, "domainname": ""})


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"hooks": {"prestart": [{"path": "/bin/true"}]}}, "hooks"),
        ({"domainname": "example"}, "domainname"),
        ({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}}}, "linux.seccomp"),
        ({"linux": {"devices": [{"path": "/dev/fuse"}]}}, "linux.devices"),
        ({"linux": {"timeOffsets": {"boottime": {"secs": 1}}}}, "linux.timeOffsets"),
        ({"process": {"apparmorProfile": "web"}}, "process.apparmorProfile"),
        ({"process": {"scheduler": {"policy": "SCHED_FIFO"}}}, "process.scheduler"),
    ],
)
def test_what_would_be_ignored_is_told(change: dict[str, Any], name: str) -> None:
    spec = build(Options(["sh"]))
    for key, value in change.items():
        spec[key] = spec[key] | value if isinstance(spec.get(key), dict) else value
    with pytest.raises(SpecInvalid) as caught:
        refuse_what_would_be_ignored(spec)
    assert name in caught.value.cause
    assert "migrate-oci" in caught.value.mend
