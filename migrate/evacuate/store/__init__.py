"""Who works on which host and container of a fleet: claims that end with their owner.

Rules (`rules.py`) are pure; `fleet.py` applies them to key-values that change all or nothing
(`keyvalues.py`), kept in a file of this machine (`files.py`) or in etcd (`etcd.py`).
"""
