"""What a restore finds changed on the host, and images that are not right."""

from __future__ import annotations

from migrate.criu.catalogue.known import Known

SAME_FILES = "put the same file there, of the same image or package, then try again"
THIS_CRIU = "run 'make setup', or 'migrate doctor --fix', for CRIU 4.2.1"
AGAIN = "copy the checkpoint again, or make it anew"

RESTORE = (
    Known(
        "file-missing", "criu/files-reg.c", "do_open_reg_noseek_flags",
        "Can't open file %s on restore: %s",
        "a file that a process had open or mapped is not there, or may not be opened",
        "put it back (a volume that goes along keeps it), then try again",
    ),
    Known(
        "file-size", "criu/files-reg.c", "validate_file", "File %s has bad size %lu (expect %lu)",
        "a file that a process had open or mapped was changed since: its size is another",
        SAME_FILES,
    ),
    Known(
        "file-mode", "criu/files-reg.c", "open_path", "File %s has bad mode 0%o (expect 0%o)",
        "a file that a process had open was changed since: its permissions are others",
        "give it the mode that the line expects (chmod), then try again",
    ),
    Known(
        "file-build-id", "criu/files-reg.c", "validate_with_build_id", "File %s has bad build-ID",
        "a program or library is another build than the one that ran", SAME_FILES,
    ),
    Known(
        "directory-missing", "criu/files-reg.c", "make_parent_dirs_if_need",
        "Can't create dir: %s AT %d: %s",
        "the directory of a deleted file that is still open can't be made again",
        "look that its file system is writable and has room, then try again",
    ),
    Known(
        "deleted-file-missing", "criu/files-reg.c", "open_path", "Can't link %s -> %s: %s",
        "the name that stands for a deleted file that is still open is not there, or taken",
        "restore the files of the same checkpoint, with their link_remap names",
    ),
    Known(
        "mapped-program-missing", "criu/pie/restorer.c", "restore_self_exe_late",
        "Can't restore EXE link (%d)",
        "the program that a process runs could not be made its own again",
        "look that CRIU has CAP_SYS_RESOURCE or CAP_CHECKPOINT_RESTORE here",
    ),
    Known(
        "pid-taken", "criu/cr-restore.c", "fork_with_pid", "Can't fork for %d: %s",
        "a process with the container's pid still exists", "wait a moment and try again",
        "File exists",
    ),
    Known(
        "no-memory-to-fork", "criu/cr-restore.c", "fork_with_pid", "Can't fork for %d: %s",
        "no process can be made here: memory or the number of processes is used up",
        "raise the cgroup's pids.max and memory limit, or ulimit -u; then try again",
        "Cannot allocate memory|Resource temporarily unavailable",
    ),
    Known(
        "fork-not-permitted", "criu/cr-restore.c", "fork_with_pid", "Can't fork for %d: %s",
        "CRIU may not choose pids or make namespaces here",
        "run migrate as root, outside any container", "Operation not permitted",
    ),
    Known(
        "pid-mismatch", "criu/cr-restore.c", "__restore_task_with_children",
        "Pid %d do not match expected %d",
        "another process took the container's pid meanwhile", "try again",
    ),
    Known(
        "pid-not-settable", "criu/cr-restore.c", "set_next_pid",
        "Failed to write %s to /proc/%s: %s",
        "CRIU may not choose pids here",
        "run migrate as root with a writable /proc, outside any container",
    ),
    Known(
        "session-mismatch", "criu/cr-restore.c", "restore_sid",
        "Requested sid %d doesn't match inherited %d",
        "a process belongs to a session that is not here",
        "checkpoint the whole session: start the program with setsid",
    ),
    Known(
        "new-pid-namespace-needed", "criu/cr-restore.c", "restore_root_task",
        "This process tree can only be restored in a new pid namespace.",
        "the images are of a process with pid 1, but have no pid namespace",
        "make the checkpoint of the whole container, by migrate",
    ),
    Known(
        "capabilities", "criu/pie/restorer.c", "restore_creds",
        "Unable to restore capabilities: %d",
        "a process had capabilities that CRIU itself does not have here",
        "run migrate as root with all capabilities, outside any container",
    ),
    Known(
        "groups", "criu/pie/restorer.c", "restore_creds", "Can't setgroups([%zu gids]): %d",
        "a process's groups can't be set: CRIU may not, or the user namespace maps fewer",
        "run migrate as root, and with the same user mappings as at the dump",
    ),
    Known(
        "security-label", "criu/pie/restorer.c", "lsm_set_label", "can't write lsm profile %d",
        "the security profile of a process (AppArmor, SELinux) is not loaded here, or forbids it",
        "load the same profile on this host (apparmor_parser -r), then try again",
    ),
    Known(
        "security-module", "criu/lsm.c", "validate_lsm",
        "mismatched lsm types and lsm profile specified",
        "the host of the dump had another security module (AppArmor, SELinux) than this one",
        "choose a host with the same one, or run the container unconfined before the dump",
    ),
    Known(
        "timers", "criu/pie/restorer.c", "create_posix_timers",
        "Can't create posix timer - %d: %d",
        "a timer could not be made again: the limit of pending signals is reached here",
        "raise ulimit -i for the container's user, then try again",
    ),
    Known(
        "task-killed", "criu/cr-restore.c", "sigchld_process", "%d killed by signal %d: %s",
        "a process was killed while it was restored: out of memory, by its cgroup's limit or the "
        "host's",
        "look at the kernel's log (dmesg); raise the memory limit, or free memory here",
        "by signal 9:", effect=True,
    ),
    Known(
        "task-crashed", "criu/cr-restore.c", "sigchld_process", "%d killed by signal %d: %s",
        "a process crashed while it was restored",
        "look at the lines before it in the log; the host's CPU and kernel must fit the dump's",
        "by signal (?!9:)", effect=True,
    ),
    Known(
        "image-not-opened", "criu/image.c", "do_open_image", "Unable to open %s: %s",
        "an image can't be opened or made",
        "look that the images' directory is there and writable, then try again",
    ),
    Known(
        "image-magic", "criu/image.c", "img_check_magic", "Magic doesn't match for %s",
        "an image is damaged, or another file under its name", AGAIN,
    ),
    Known(
        "image-head-magic", "criu/image.c", "img_check_magic", "Head magic doesn't match for %s",
        "an image is damaged, or no image of CRIU's", AGAIN,
    ),
    Known(
        "image-absent", "criu/protobuf.c", "do_pb_read_one", "Unexpected EOF on %s",
        "an image is not there: the checkpoint is not whole, or is no checkpoint", AGAIN,
        r"\(empty-image\)",
    ),
    Known(
        "image-truncated", "criu/protobuf.c", "do_pb_read_one", "Unexpected EOF on %s",
        "an image is too short", AGAIN, r"on (?!\(empty-image\))",
    ),
    Known(
        "image-cut-off", "criu/protobuf.c", "do_pb_read_one",
        "Read %d bytes while %d expected from %s: %s", "an image breaks off", AGAIN,
    ),
    Known(
        "image-damaged", "criu/protobuf.c", "do_pb_read_one",
        "Failed unpacking object %p from %s",
        "an image is damaged, or of a CRIU that knows more than this one",
        "copy the checkpoint again; else restore it with the CRIU that has made it",
    ),
    Known(
        "image-version", "criu/image.c", "check_img_inventory", "Not supported images version %u",
        "the images are of a newer CRIU than this one",
        THIS_CRIU,
    ),
    Known(
        "image-too-old", "criu/image.c", "check_img_inventory",
        "Too old image, no longer supported",
        "the images are of a CRIU that is too old for this one",
        "make the checkpoint anew with CRIU 4.2.1",
    ),
    Known(
        "image-plugin", "criu/image.c", "check_inventory_plugins", "Missing required plugin: %s",
        "the dump used a plug-in of CRIU (for graphics cards) that is not here",
        "install that plug-in, or make the checkpoint without the device",
    ),
    Known(
        "feature-cache", "criu/kerndat.c", "kerndat_try_load_cache", "Can't read kdat cache: %s",
        "what CRIU keeps about the kernel can't be read (/run/criu.kdat)",
        "delete /run/criu.kdat: CRIU makes it anew",
    ),
    Known(
        "kernel-not-understood", "criu/kerndat.c", "kerndat_init",
        "kerndat_vdso_fill_symtable failed when initializing kerndat.",
        "this CRIU does not understand the kernel's vDSO: it is older than the kernel",
        THIS_CRIU,
    ),
    Known(
        "script-refused", "criu/cr-service.c", "send_criu_rpc_script",
        "RPC client reported script error", "migrate itself broke off at a step of CRIU's",
        "the error beside this one says why", effect=True,
    ),
)  # fmt: skip
