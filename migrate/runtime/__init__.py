"""Containers on this host: specification, lifecycle, init, namespaces, cgroups, networks, monitor."""
