"""Sockets of every family, and the network's devices and filters."""

from __future__ import annotations

from migrate.criu.catalogue.known import CLOSE, Known

TCP_OPTION = "make sure that this is CRIU 4.2.1: run 'make setup', or 'migrate doctor --fix'"

SOCKETS = (
    Known(
        "mptcp", "criu/sk-inet.c", "can_dump_ipproto", "inet: Unsupported proto %d for socket %x",
        "a process has a Multipath TCP socket, which CRIU can't dump (Go listens so by default)",
        "switch it off: GODEBUG=multipathtcp=0 for Go, else net.mptcp.enabled=0", "proto 262 ",
    ),
    Known(
        "sctp", "criu/sk-inet.c", "can_dump_ipproto", "inet: Unsupported proto %d for socket %x",
        "a process has an SCTP socket, which CRIU can't dump", CLOSE, "proto 132 ",
    ),
    Known(
        "ip-protocol", "criu/sk-inet.c", "can_dump_ipproto",
        "inet: Unsupported proto %d for socket %x",
        "a process has an internet socket of another protocol than TCP, UDP and ICMP",
        CLOSE, "^(?!.*proto (?:262|132) )",
    ),
    Known(
        "inet-socket-type", "criu/sk-inet.c", "can_dump_inet_sk",
        "inet: Can't dump %d inet socket %x. Only stream, dgram and raw are supported.",
        "a process has an internet socket of a type that CRIU can't dump", CLOSE,
    ),
    Known(
        "corked-udp", "criu/sk-inet.c", "do_dump_one_inet_fd",
        "inet: Can't dump corked dgram socket %x",
        "a UDP socket holds back a packet that is not finished (UDP_CORK)",
        "try again: the program sends it soon",
    ),
    Known(
        "tcp-connected", "criu/sk-inet.c", "can_dump_inet_sk",
        "inet: Connected TCP socket, consider using --%s option.",
        "a TCP connection is open, and CRIU was not told to keep it",
        "this is no dump of migrate's, which keeps them: give CRIU --tcp-established",
    ),
    Known(
        "socket-not-collected", "criu/sockets.c", "lookup_socket",
        "sockets: Sockets (family %d proto %d) are not collected",
        "the kernel does not tell about sockets of that kind: its module is not loaded",
        "load it: modprobe -a unix_diag tcp_diag udp_diag inet_diag raw_diag netlink_diag "
        "af_packet_diag",
    ),
    Known(
        "socket-family", "criu/sockets.c", "dump_socket",
        "sockets: BUG! Unknown socket collected (family %d)",
        "a process has a socket of a family that CRIU can't dump; its number is in the line "
        "(29 CAN, 31 Bluetooth, 38 AF_ALG of the kernel's cryptography, 40 vsock, 44 XDP)", CLOSE,
    ),
    Known(
        "socket-pass-credentials", "criu/sockets.c", "do_dump_opt",
        "sockets: Can't get %d:%d opt: %s",
        "this CRIU asks an internet socket for an option that this kernel keeps for unix sockets "
        "(SO_PASSCRED, SO_PASSSEC)", TCP_OPTION, "get 1:(?:16|34) opt",
    ),
    Known(
        "socket-option", "criu/sockets.c", "do_dump_opt", "sockets: Can't get %d:%d opt: %s",
        "the kernel does not tell a socket's option that CRIU asks for (level:option in the line)",
        TCP_OPTION, "^(?!.*get 1:(?:16|34) opt)",
    ),
    Known(
        "socket-of-other-netns", "criu/net.c", "get_socket_ns",
        "net: Unable to dump a socket from an external network namespace",
        "a process has a socket that was made in a network outside the container",
        "close it first: whoever started the program has left it open",
    ),
    Known(
        "unix-external", "criu/sk-unix.c", "__dump_external_socket",
        "unix: External socket is used. Consider using --ext-unix-sk option.",
        "a unix socket is connected to a process outside the container",
        "close that connection, or run the peer in the container",
    ),
    Known(
        "unix-half", "criu/sk-unix.c", "__dump_external_socket",
        "unix: Can't dump half of stream unix connection. name: %s; peer name: %s",
        "the other end of a unix stream is a process outside the container",
        "close that connection, or run the peer in the container",
    ),
    Known(
        "unix-without-peer", "criu/sk-unix.c", "dump_one_unix_fd",
        "unix: Unix socket %u without peer %u",
        "the other end of a unix socket is outside the container, where CRIU sees no sockets",
        "close that connection, or run the peer in the container",
    ),
    Known(
        "unix-in-flight-data", "criu/sk-unix.c", "dump_one_unix_fd",
        "unix: Non-empty write queue on an in-flight socket %#x",
        "a unix connection that was not accepted yet has data in it",
        "try again: the listener accepts it soon; if it never does, end the one who connects",
    ),
    Known(
        "unix-in-flight-closed", "criu/sk-unix.c", "dump_one_unix_fd",
        "unix: Found a closed in-flight socket to %#x",
        "a unix connection was closed before the listener accepted it",
        "try again: the listener accepts it soon",
    ),
    Known(
        "message-credentials", "criu/sk-queue.c", "dump_packet_cmsg",
        "skqueue: Control messages in queue, not supported",
        "a message that waits in a unix socket carries its sender's identity (SO_PASSCRED)",
        "try again: the receiver reads it soon",
    ),
    Known(
        "message-without-sender", "criu/sk-unix.c", "unix_note_scm_rights",
        "unix: Can't find sender for %#x",
        "open files were on their way in a unix socket (SCM_RIGHTS) whose sender is gone",
        "checkpoint it anew, when the receiver has read them",
    ),
    Known(
        "unix-name-taken", "criu/sk-unix.c", "bind_unix_sk",
        "unix: Can't bind id %#x ino %u addr %s: %s",
        "a unix socket could not be made again at its name: its directory is not there, or an "
        "abstract name is in use on this host's network",
        "make the directory (a volume that goes along has it), or end the other process",
    ),
    Known(
        "netlink-data", "criu/sk-netlink.c", "can_dump_netlink_sk",
        "netlink: The socket has data to read",
        "a netlink socket has messages that were not read yet, which CRIU would lose",
        "try again: the program reads them soon",
    ),
    Known(
        "netlink-groups", "criu/sk-netlink.c", "dump_one_netlink_fd",
        "netlink: The netlink socket 0x%x has more than 32 groups",
        "a netlink socket listens to a group above 32, which CRIU can't dump", CLOSE,
    ),
    Known(
        "packet-multicast", "criu/sk-packet.c", "dump_mreqs",
        "packet: Multiple MC membership not supported (but can be)",
        "a packet socket has joined a multicast group more than once", "close it first (tcpdump?)",
    ),
    Known(
        "network-device", "criu/net.c", "dump_unknown_device",
        "net: Unsupported link %d (type %d kind %s)",
        "the container has made a network device of a kind that CRIU can't dump",
        "delete it first (ip link), or let the host give the container its network",
    ),
    Known(
        "network-lock-iptables", "criu/net.c", "iptables_network_lock_internal",
        "net: Locking network failed: iptables-restore returned %d. This may be connected to "
        "disabled CONFIG_NETFILTER_XT_MARK kernel build config option.",
        "iptables is missing or refused on this host, with which CRIU was to stop packets",
        "this is no dump of migrate's: install iptables, or give CRIU --network-lock skip",
    ),
    Known(
        "network-lock-nftables", "criu/net.c", "nftables_lock_network_internal",
        "net: Locking network failed using nftables",
        "the kernel refuses nftables, with which CRIU was to stop packets",
        "this is no dump of migrate's: modprobe nf_tables, or give CRIU --network-lock skip",
    ),
    Known(
        "iptables-rules", "criu/net.c", "run_iptables_tool", "net: %s failed",
        "the container's firewall rules can't be read or set: iptables failed here",
        "install iptables on this host, and run the same command by hand to see why",
    ),
    Known(
        "iptables-legacy", "criu/net.c", "restore_iptables",
        "net: Can't restore iptables dump - no legacy version present",
        "the container's firewall rules are iptables-legacy's, which is not on this host",
        "install it here: apt-get install iptables",
    ),
    Known(
        "address-not-here", "criu/sk-inet.c", "inet_bind",
        "inet: Can't bind inet socket (id %d): %s",
        "the container's address is not there",
        "give the container its address back (--ip at run), or the host its own",
        "Cannot assign requested address",
    ),
    Known(
        "port-taken", "criu/sk-inet.c", "inet_bind", "inet: Can't bind inet socket (id %d): %s",
        "another process listens at the container's address and port already",
        "end that process (ss -lntup), or give the container a network of its own",
        "Address already in use",
    ),
    Known(
        "interface-not-here", "criu/sk-inet.c", "inet_bind", "inet: couldn't find ifindex for %s",
        "a socket is bound to a network interface that is not there",
        "give the container an interface of that name",
    ),
    Known(
        "tcp-not-connected", "criu/sk-inet.c", "inet_connect",
        "inet: Can't connect inet socket back: %s",
        "a socket could not be connected to its peer again: there is no way to that address",
        "look at the container's routes here (ip route), then try again",
    ),
)  # fmt: skip
