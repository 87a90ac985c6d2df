"""Memory: mappings, shared memory, asynchronous I/O, page servers."""

from __future__ import annotations

from migrate.criu.catalogue.known import Known

FREE_MEMORY = "free memory here, or raise the container's memory limit; then try again"
PAGE_SERVER = "look at the network and at the other host, then try again"

MEMORY = (
    Known(
        "device-mapping", "criu/proc_parse.c", "handle_vma",
        "Can't handle non-regular mapping on %d's map %lx",
        "a process has mapped a device's memory (a graphics card, KVM, io_uring)",
        "close the device first: its state is in the driver, and can't be moved",
    ),
    Known(
        "special-mapping", "criu/proc_parse.c", "vma_list_add",
        "Unsupported mapping found %016lx-%016lx",
        "a process has mapped a device's memory privately, which CRIU can't dump",
        "look at that address in /proc/PID/maps, and close that device first",
    ),
    Known(
        "mapped-file-gone", "criu/proc_parse.c", "vma_get_mapfile_user",
        "Failed to resolve mapping %lx filename",
        "a mapped file is not to be found by its name any more", "start the program again",
    ),
    Known(
        "sysv-shared-outside", "criu/cr-dump.c", "check_sysvipc_map_dump",
        "Task %d with SysVIPC shmem map @%lx doesn't live in IPC ns",
        "a process uses System V shared memory of the host's",
        "run the container with an IPC namespace of its own, which every one of migrate's has",
    ),
    Known(
        "sysv-hole", "criu/shmem.c", "open_shmem_sysv", "Sysv shmem %lx with a hole not supported",
        "a part of System V shared memory was unmapped in a process, which CRIU can't restore",
        "have the program detach it as a whole (shmdt), then checkpoint it anew",
    ),
    Known(
        "sysv-tail", "criu/shmem.c", "fixup_sysv_shmems",
        "Sysv shmem %lx with tail hole not supported",
        "the end of System V shared memory was unmapped in a process, which CRIU can't restore",
        "have the program detach it as a whole (shmdt), then checkpoint it anew",
    ),
    Known(
        "aio-ring", "criu/pie/parasite.c", "parasite_check_aios", "Not valid ring #%d",
        "a process uses asynchronous I/O (io_setup) of a kernel whose ring CRIU does not know",
        "switch it off in the program (innodb_use_native_aio=0 for MySQL)",
    ),
    Known(
        "aio-not-restored", "criu/pie/restorer.c", "restore_aio_ring", "Ring setup failed with %d",
        "asynchronous I/O (io_setup) can't be had here: the system's limit is reached",
        "raise fs.aio-max-nr here (sysctl), then try again",
    ),
    Known(
        "no-memory-to-map", "criu/mem.c", "prepare_mappings",
        "Unable to reserve memory (%lu bytes): %s",
        "there is no memory for the container here", FREE_MEMORY,
    ),
    Known(
        "no-memory-at-address", "criu/pie/restorer.c", "__export_restore_task",
        "Can't restore %lx mapping with %lx",
        "a mapping can't be made again at its address: no memory, no huge pages, or it is taken",
        "reserve as many huge pages here (vm.nr_hugepages), or " + FREE_MEMORY,
    ),
    Known(
        "shared-memory-size", "criu/shmem.c", "restore_memfd_shmem_content",
        "Can't mmap shmem 0x%lx size=%ld: %s",
        "there is no memory for the container's shared memory here", FREE_MEMORY,
    ),
    Known(
        "parent-pages-missing", "criu/pagemap.c", "read_parent_page",
        "Missing %lx in parent pagemap",
        "a page that an earlier round was to have is not in its images",
        "the images are not whole: make the checkpoint again",
    ),
    Known(
        "parent-missing", "criu/pagemap.c", "read_parent_page",
        "No parent for snapshot pagemap",
        "the images of the earlier rounds, which these build on, are not there",
        "put the parent's directory back, or make the checkpoint again",
    ),
    Known(
        "pages-truncated", "criu/pagemap.c", "read_local_page", "Can't read mapping page %zd: %s",
        "the images' memory can't be read: the file is damaged or too short",
        "make the checkpoint again, and look at the disk (dmesg)",
    ),
    Known(
        "page-server-lost", "criu/page-xfer.c", "page_server_hangup_event",
        "page-xfer: Remote side closed connection",
        "the host that has the memory's pages has closed the connection", PAGE_SERVER,
    ),
    Known(
        "page-server-silent", "criu/page-xfer.c", "open_page_server_xfer",
        "page-xfer: The page server doesn't answer: %s",
        "the page server at the other end does not answer", PAGE_SERVER,
    ),
    Known(
        "page-server-closed", "criu/page-xfer.c", "page_server_add",
        "page-xfer: A socket was closed unexpectedly",
        "the connection to the page server broke off", PAGE_SERVER,
    ),
    Known(
        "page-server-write", "criu/page-xfer.c", "write_pages_to_server",
        "page-xfer: Can't write pages to socket: %s",
        "memory could not be sent to the page server", PAGE_SERVER,
    ),
    Known(
        "lazy-pages-absent", "criu/uffd.c", "prepare_lazy_pages_socket",
        "uffd: connect to %s failed: %s",
        "nobody serves the memory that is to follow: the page server has ended",
        "try again; if it ends again, its own error is in the container's log",
    ),
    Known(
        "lazy-pages-refused", "criu/uffd.c", "setup_uffd",
        "uffd: Unable to open an userfaultfd descriptor: %s",
        "the kernel here gives no userfaultfd, so that memory can't follow after the thaw",
        "set vm.unprivileged_userfaultfd=1 (sysctl), or move with --mode stop-copy",
    ),
    Known(
        "lazy-pages-register", "criu/pie/restorer.c", "enable_uffd",
        "lazy-pages: register %lx failed: rc:%d, ",
        "the kernel here can't fill a mapping's memory after the thaw",
        "move with --mode stop-copy, which needs no userfaultfd",
    ),
)  # fmt: skip
