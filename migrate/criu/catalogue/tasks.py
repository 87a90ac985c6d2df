"""Processes that can't be stopped or entered, and what a dump or a restore finds in them."""

from __future__ import annotations

from migrate.criu.catalogue.known import Known

DETACH = "detach it first (strace -p, gdb, a profiler); TracerPid in /proc/PID/status names it"
OTHER_HOST = "choose a host with the same CPU features"
KERNEL = "use a host with a newer kernel; 'migrate doctor' tells what this one lacks"

TASKS = (
    Known(
        "not-seizable", "compel/src/lib/infect.c", "compel_interrupt_task",
        "Unable to interrupt task: %d (%s)",
        "a process can't be seized: a debugger or tracer is attached to it, or its main thread has "
        "ended while others run", DETACH, "Operation not permitted", warning=True,
    ),
    Known(
        "traced-or-stuck", "compel/src/lib/infect.c", "compel_wait_task",
        "Unseizable non-zombie %d found, state %c, err %d/%d",
        "a debugger or tracer is attached to a process, or CRIU may not trace it", DETACH,
    ),
    Known(
        "criu-inside", "compel/src/lib/infect.c", "compel_wait_task",
        "The criu itself is within dumped tree.",
        "the processes to be dumped include the command that dumps them",
        "run it from outside the container",
    ),
    Known(
        "pending-trap", "compel/src/lib/infect.c", "compel_wait_task",
        "Can't dump the %d thread with a pending SIGTRAP.",
        "a thread stands at a breakpoint that a debugger has left",
        "detach the debugger properly (gdb: detach), then try again",
    ),
    Known(
        "pid-reused", "compel/src/lib/infect.c", "compel_wait_task",
        "Task pid reused while suspending (%d: %d -> %d)",
        "a process ended during the dump and another took its number",
        "try again; a program that forks without end can need some tries",
    ),
    Known(
        "not-stopped", "compel/src/lib/infect.c", "compel_wait_task",
        "SEIZE %d: task not stopped after seize",
        "a process did not stop when CRIU seized it: it is ending, or another tracer lets it run",
        DETACH,
    ),
    Known(
        "stop-signal", "compel/src/lib/infect.c", "compel_wait_task",
        "SEIZE %d: unsupported stop signal %d",
        "a process is stopped in a way that CRIU does not know",
        "send it SIGCONT, detach tracers if there are any, then try again",
    ),
    Known(
        "zombie-while-seizing", "criu/seize.c", "seize_cgroup_tree",
        "zombie %d (comm %s) found while seizing",
        "a process of the frozen container can't be seized: it is traced, or has ended and its "
        "parent does not ask for its exit status",
        "detach tracers; or have the parent wait for its children (run with an init)",
    ),
    Known(
        "zombie-thread", "criu/seize.c", "collect_threads", "Zombie thread not supported",
        "a thread has ended and is not gone yet", "try again; detach tracers, if there are any",
    ),
    Known(
        "main-thread-gone", "criu/seize.c", "collect_threads",
        "Zombies with threads are not supported",
        "a process's main thread has ended (pthread_exit) while others run, which CRIU can't dump",
        "have the program's main thread wait for the others (pthread_join)",
    ),
    Known(
        "thread-stopped-alone", "criu/seize.c", "collect_threads",
        "Individually stopped threads not supported",
        "some threads of a process are stopped, others are not: a debugger has left them so",
        "send the process SIGCONT, then try again",
    ),
    Known(
        "timeout", "criu/cr-dump.c", "alarm_handler", "Timeout reached. Try to interrupt: %d",
        "a task could not be stopped: it sits in an uninterruptible system call",
        "look for state D in /proc/PID/status and at /proc/PID/stack, then try again",
    ),
    Known(
        "session-leader-outside", "criu/cr-dump.c", "dump_one_task",
        "A session leader of %d(%d) is outside of its pid namespace",
        "a process belongs to a session that began outside the container",
        "start it with setsid, so that it has a session of its own",
    ),
    Known(
        "session-leader-gone", "criu/pstree.c", "prepare_pstree_ids",
        "Can't find a session leader for %d",
        "a process's session has lost its leader, and another than the container's first process "
        "has taken the process in (a subreaper): CRIU can't put it into that session again",
        "end the process, or start it with setsid, so that it leads a session of its own",
    ),
    Known(
        "memory-of-two-processes", "criu/cr-dump.c", "dump_task_kobj_ids",
        "Can't make VM id for %d",
        "two processes have one memory (clone(2) with CLONE_VM, or vfork(2)), which CRIU can't "
        "dump",
        "wait until one of them has ended or run a program (execve), then try again",
    ),
    Known(
        "directory-of-two-processes", "criu/cr-dump.c", "dump_task_kobj_ids",
        "Can't make FS id for %d",
        "two processes have one working directory (clone(2) with CLONE_FS), which CRIU can't dump",
        "end one of them, then try again",
    ),
    Known(
        "zombie-session-outside", "criu/cr-dump.c", "dump_zombies",
        "A session leader of zombie process %d(%d) is outside of its pid namespace",
        "a process that has ended belonged to a session that began outside the container",
        "have its parent wait for it, or start such programs with setsid",
    ),
    Known(
        "root-task-dead", "criu/cr-dump.c", "dump_zombies", "A root task is dead",
        "the container's first process has ended", "look why (migrate logs), and start it again",
    ),
    Known(
        "task-32-bit", "compel/arch/x86/src/lib/infect.c", "arch_can_dump_task",
        "Can't dump task %d running in 32-bit mode",
        "a process is a 32-bit program, which this build of CRIU can't dump",
        "use the program's 64-bit build, or move it with --mode cold",
    ),
    Known(
        "restore-32-bit", "criu/pie/restorer.c", "__export_restore_task",
        "Compatible mode without vdso map support",
        "a process is a 32-bit program, and the kernel here can't restore its vDSO",
        "use a host with the same kernel configuration (CONFIG_IA32_EMULATION, Linux 4.12)",
    ),
    Known(
        "task-with-ldt", "compel/arch/x86/src/lib/infect.c", "arch_can_dump_task",
        "Can't dump task %d with LDT descriptors",
        "a process has segments of its own (modify_ldt: Wine, DOS emulators)",
        "stop the program and move it with --mode cold",
    ),
    Known(
        "rlimit", "criu/cr-dump.c", "dump_task_rlimits", "Can't get rlimit %d: %s",
        "CRIU may not read the limits of another user's process: CAP_SYS_RESOURCE is missing here",
        "run migrate with that capability, or the container's programs as root",
    ),
    Known(
        "rseq-kernel", "criu/cr-dump.c", "check_thread_rseq",
        "%d has rseq but kernel lacks get_rseq_conf feature",
        "a process uses restartable sequences (every program with glibc 2.35), about which the "
        "kernel here tells CRIU nothing", "use a host with Linux 5.13 or newer; or set "
        "GLIBC_TUNABLES=glibc.pthread.rseq=0 for the program",
    ),
    Known(
        "rseq-restore", "criu/cr-restore.c", "prep_rseq",
        "rseq: can't restore as kernel doesn't support it",
        "a process uses restartable sequences, which the kernel here lacks", KERNEL,
    ),
    Known(
        "seccomp-not-readable", "criu/seccomp.c", "collect_filter",
        "seccomp: Can't fetch filter on tid_real %d i %zu: %s",
        "the kernel does not give out a process's seccomp filter (CONFIG_CHECKPOINT_RESTORE), or "
        "CRIU runs under a filter itself",
        "run migrate outside any container; 'migrate doctor' tells about the kernel",
    ),
    Known(
        "seccomp-not-restored", "criu/pie/restorer.c", "restore_seccomp_filter",
        "seccomp: SECCOMP_SET_MODE_FILTER returned %d on tid %d",
        "the kernel here refuses a process's seccomp filter", KERNEL,
    ),
    Known(
        "seccomp-suspend", "criu/cr-restore.c", "attach_to_tasks",
        "failed to suspend seccomp, restore will probably fail...",
        "CRIU may not suspend seccomp filters: it lacks CAP_SYS_ADMIN, or is under a filter itself",
        "run migrate as root, outside any container",
    ),
    Known(
        "uprobes", "criu/proc_parse.c", "handle_vma",
        "PID %d has uprobes vma. Consider using --allow-uprobes.",
        "a tracer on the host has put probes into a process (uprobes: perf, bpftrace)",
        "end that tracer, and start the program again: the mark of the probes stays in it",
    ),
    Known(
        "parasite-refused", "criu/cr-dump.c", "dump_one_task",
        "Can't infect (pid: %d) with parasite",
        "CRIU could not run its code inside a process: a seccomp filter or a security module (LSM) "
        "forbids it, or the process is out of memory or mappings",
        "raise its memory limit, or loosen the profile (dmesg tells who refused), then try again",
        effect=True,
    ),
    Known(
        "parasite-interrupted", "compel/src/lib/infect.c", "parasite_trap",
        "Unexpected %d task interruption, aborting",
        "a process got a signal while CRIU's code ran inside it", "try again",
    ),
    Known(
        "parasite-killed", "criu/parasite-syscall.c", "sigchld_handler",
        "%d was killed by %d unexpectedly: %s",
        "a process was killed during the dump (out of memory, or by hand)",
        "look at the kernel's log (dmesg) for its memory limit, then try again", effect=True,
    ),
    Known(
        "parasite-memory", "criu/parasite-syscall.c", "parasite_infect_seized",
        "No suitable VM found",
        "a process has no executable memory in which CRIU could run its code",
        "it is ending just now: try again",
    ),
    Known(
        "cpu-unknown", "criu/arch/x86/cpu.c", "cpu_validate_cpuinfo", "cpu: No cpuinfo image",
        "the images do not say which CPU they need, and the restore was to check it",
        "make the checkpoint anew, or restore it on the same CPU without that check",
    ),
    Known(
        "cpu-instructions", "criu/arch/x86/cpu.c", "cpu_validate_ins_features",
        "cpu: CPU instruction capabilities do not match run time",
        "the CPU here lacks instructions that the program may have begun to use", OTHER_HOST,
    ),
    Known(
        "cpu-features", "criu/arch/x86/cpu.c", "cpu_validate_features",
        "cpu: CPU capabilities do not match run time",
        "the CPU here is not the one of the dump", OTHER_HOST,
    ),
    Known(
        "cpu-fpu", "criu/arch/x86/cpu.c", "cpu_validate_features",
        "cpu: FPU feature required by image is not supported on host "
        "(fpu:%d fxsr:%d osxsave:%d xsaves:%d)",
        "the CPU here can't hold the floating point state of the dump", OTHER_HOST,
    ),
    Known(
        "cpu-xfeatures", "criu/arch/x86/cpu.c", "cpu_validate_features",
        "cpu: CPU xfeatures has unsupported bits (%#lx)",
        "the CPU here lacks registers that the program may have begun to use (AVX-512, AMX)",
        OTHER_HOST,
    ),
    Known(
        "cpu-xsave-size", "criu/arch/x86/cpu.c", "cpu_validate_features",
        "cpu: CPU xsave size mismatch (%u/%u)",
        "the CPU here lays its registers out in another size than the one of the dump", OTHER_HOST,
    ),
)  # fmt: skip
