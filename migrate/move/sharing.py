"""How much more memory a container would need if its processes shared none copy-on-write.

Memory that is filled in after the thaw comes page by page into each process: a page that a parent
and its children have in common becomes one for each of them. (CRIU's own restore keeps it shared,
since there the children inherit what the parent has.)
"""

from __future__ import annotations

from migrate.kernel.maps import copy_on_write
from migrate.runtime.cgroups.group import ControlGroup


def extra_bytes(group: ControlGroup) -> int:
    """Bytes; processes that end meanwhile don't count."""
    total = 0
    for pid in group.pids():
        try:
            total += copy_on_write(pid)
        except OSError:
            continue
    return total
