"""peers: what a container's move costs by Podman and by runc, against ours, on the same hosts.

The load is one process of `--mib` that writes random pages at a rate (`workloads/datagrams.py`), in
a container with its host's network, on one of two test hosts; a client on a third place asks both
hosts all the time. Sides: `migrate move` (pre-copy), Podman `checkpoint --export` + ship + `restore
--import`, plain, with zstd, and with its one pre-checkpoint round; runc `checkpoint` + ship +
`restore`, plain, with a pre-dump, and with lazy pages. The sides take turns, each time with a fresh
container; the first turn does not count. Podman, crun and runc are Debian 13's, in a root of their
own on each host (place.py); CRIU is the one that migrate uses, for all. Figures: the service gap,
seen by the client; the tick, the load's own longest time between two ticks; *whole*, from the first
command to the end of the last one (with lazy pages: until all have come); and bytes on the wire.
After each move all content is checked. A side that this machine can't do is told with the reason.

In favour of the peers: addresses need not move, the connection over which bytes are shipped is open
before, with the quickest cipher, and nothing is started anew that could have been before.
"""
