"""Containers on this host: specification, lifecycle, namespaces, cgroups, networks, monitor."""
