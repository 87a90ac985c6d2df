"""Virtual machines with a stock Debian kernel, for what this machine's own kernel can't show.

    with Pair() as (alpha, beta):
        alpha.run(["migrate", "move", "name", beta.ssh_target])

QEMU emulates them in software (no KVM). Each has 1 GiB, two processors, cgroup v2 alone, its own
sshd, and an address on an Ethernet that only the two are on. What they are made of comes from
Debian by `make setup-vm`, into a cache below this checkout; nothing is installed on the machine.
"""

from tests.vm.machine import Machine
from tests.vm.pair import Pair

__all__ = ["Machine", "Pair"]
