"""Mounts, namespaces and cgroups."""

from __future__ import annotations

from migrate.criu.catalogue.known import Known

MOUNT_IT = "mount it with -v, so that migrate knows it"

MOUNTS = (
    Known(
        "file-on-no-mount", "criu/files-reg.c", "dump_one_reg_file",
        "Can't lookup mount=%d for fd=%d path=%s",
        "a process has a file open that lies on no mount of the container",
        "close it (a queue of mq_open(3), too), or mount its directory into the container",
    ),
    Known(
        "file-overmounted", "criu/files-reg.c", "dump_one_reg_file",
        "Open files on overmounted mounts are not supported yet; mount=%d fd=%d path=%s",
        "a process has a file open that another mount hides",
        "close it, or unmount what hides it",
    ),
    Known(
        "mount-from-outside", "criu/mount.c", "validate_mounts",
        "mnt: %d:%s doesn't have a proper root mount",
        "a mount inside the container comes from outside it", MOUNT_IT,
    ),
    Known(
        "mount-kind", "criu/mount.c", "validate_mounts",
        "mnt: FS mnt %s dev %#x root %s unsupported id %d",
        "the container has mounted a file system of a kind that CRIU can't mount again",
        "unmount it first, or mount it on the host and give it to the container with -v",
    ),
    Known(
        "mounts-collide", "criu/mount.c", "validate_children_collision",
        "mnt: Mount %d has two children with same mountpoint: %d %d",
        "two mounts lie one over the other at the same place", "unmount the upper one first",
    ),
    Known(
        "mount-shared-outside", "criu/mount.c", "resolve_shared_mounts",
        "mnt: Mount %d %s (master_id: %d shared_id: %d) has unreachable sharing. "
        "Try --enable-external-masters.",
        "a mount takes part in the propagation of a mount outside the container",
        "make it private inside (mount --make-rprivate), or mount it with -v",
    ),
    Known(
        "mount-shared-outside-restore", "criu/mount-v2.c", "resolve_shared_mounts_v2",
        "mnt-v2: Sharing group (%d, %d) has unreachable sharing. Try --enable-external-masters.",
        "a mount takes part in the propagation of a mount that is not here",
        "make it private inside (mount --make-rprivate), then checkpoint it anew",
    ),
    Known(
        "mount-not-given", "criu/mount.c", "get_mp_root", "mnt: No mapping for %d:%s mountpoint",
        "a mount that came from outside the container is not given here",
        "restore with the same volumes and paths (-v) that it was made with",
    ),
    Known(
        "mount-autodetected", "criu/mount.c", "get_mp_root",
        "mnt: Mount %d:%s is autodetected external mount. "
        'Try "--ext-mount-map auto" to allow them.',
        "the images have a mount of the host that only the host's own CRIU finds",
        "make the checkpoint with migrate, or " + MOUNT_IT,
    ),
    Known(
        "mount-content", "criu/mount.c", "dump_one_fs",
        "mnt: Unable to dump a file system for %d:%s",
        "the contents of a mount (a tmpfs, most of the time) could not be packed: tar failed",
        "look at the lines before it in the log; tar must be installed on this host",
    ),
    Known(
        "mount-refused", "criu/mount-v2.c", "do_mount_root_v2", "mnt-v2: Unable to mount %s",
        "the root of the container could not be mounted",
        "look that its root file system is there and mounted, then try again", effect=True,
    ),
    Known(
        "mount-refused-by-kernel", "criu/mount.c", "do_simple_mount",
        "mnt: Unable to mount %s %s (id=%d): %s",
        "the kernel refuses a mount of the container's: it lacks the file system, or its source",
        "load that file system's module (modprobe), or look that its source is there",
    ),
    Known(
        "root-not-of-mntns", "criu/mount.c", "__mntns_get_root_fd",
        "mnt: The root task has another root than mntns: %s",
        "the first process has changed its root (chroot) inside its mount namespace",
        "start it with that directory as its root file system instead",
    ),
    Known(
        "nested-namespace", "criu/namespaces.c", "generate_ns_id",
        "Can't dump nested %s namespace for %d",
        "a process has made a namespace of its own inside the container (a sandbox, such as a "
        "browser's, or a container inside)",
        "end that process, or switch its sandbox off", "nested (?!time )",
    ),
    Known(
        "nested-time-namespace", "criu/namespaces.c", "dump_task_ns_ids",
        "Can't dump nested time namespace for %d",
        "a process has made a time namespace of its own inside the container", "end that process",
    ),
    Known(
        "namespaces-of-two-users", "criu/namespaces.c", "check_user_ns",
        "One or more namespaces doesn't belong to the target user namespace",
        "the container's user namespace does not own all its other namespaces",
        "start it with all its namespaces made together with the user namespace",
    ),
    Known(
        "pid-namespace-without-init", "criu/namespaces.c", "dump_namespaces",
        "Can't dump a pid namespace without the process init",
        "the process to be dumped is not the first of its pid namespace",
        "dump the whole container: the process with pid 1 inside",
    ),
    Known(
        "time-namespace", "criu/timens.c", "prepare_timens",
        "Unable to create a new time namespace: %s",
        "the kernel here makes no time namespace", "use a host with Linux 5.6 or newer",
    ),
    Known(
        "clock-offset", "criu/timens.c", "prepare_timens",
        "Unable to set a monotonic clock offset: %s",
        "the kernel refuses the container's clock: this host has been up for too short a time, or "
        "the images' clock is no good",
        "look at both hosts' clocks ('migrate doctor'), then checkpoint it anew",
    ),
    Known(
        "cgroup-not-joined", "criu/cgroup.c", "move_in_cgroup",
        "cg: Can't move into %s (%d/%d): %s",
        "a process could not be put into its cgroup: that is full, frozen or not there",
        "look at pids.max and cpuset of that cgroup, then try again",
    ),
    Known(
        "cgroup-missing", "criu/cgroup.c", "prepare_cgroup_dirs", "cg: Cgroup dir %s doesn't exist",
        "a cgroup that the images name is not on this host",
        "restore with migrate, which makes its own, or make that cgroup first",
    ),
    Known(
        "freezer-stuck", "criu/seize.c", "freeze_processes",
        "Unable to freeze cgroup %s (%lu x %lums attempts, timeout: %us)",
        "the container could not be frozen: a task sits in a system call that can't be interrupted",
        "look for state D in /proc/PID/status and at /proc/PID/stack, then try again",
    ),
    Known(
        "freezer-missing", "criu/seize.c", "cgroup_version",
        "Neither a cgroupv1 (freezer.state) or cgroupv2 (cgroup.freeze) control file found.",
        "the container's cgroup has no freezer, or is gone",
        "look that it still runs (migrate ps); 'migrate doctor' tells about the freezer",
    ),
)  # fmt: skip
