"""Test hosts: several hosts on one machine, each a set of namespaces with its own sshd and state.

```python
from tests.hosts import Lan

with Lan() as lan:
    alpha, beta = lan.host("alpha"), lan.host("beta")
    alpha.run(["ssh", "beta", "hostname"])
```

On the command line: `python -m tests.hosts --help`.
"""

from tests.hosts.host import Client, Host
from tests.hosts.lan import Lan
from tests.hosts.leftovers import leftovers, snapshot, sweep

__all__ = ["Lan", "Host", "Client", "snapshot", "leftovers", "sweep"]
