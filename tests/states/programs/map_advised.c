/* Flags of madvise(2): what a fork finds, and what smaps says. */
#include "state.h"
static char *wiped, *unforked, *huge;
static int flagged(void *address, const char *flag)
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[500];
    int inside = 0, found = 0;
    while (fgets(line, sizeof line, maps)) {
        unsigned long start, end;
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2 && strchr(line, '-') < strchr(line, ' '))
            inside = start <= (unsigned long)address && (unsigned long)address < end;
        if (inside && strncmp(line, "VmFlags:", 8) == 0)
            found = strstr(line, flag) != NULL;
    }
    fclose(maps);
    return found;
}
static void make(void)
{
    wiped = done(mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    fill(wiped, 65536, 32);
    done(madvise(wiped, 65536, MADV_WIPEONFORK));
    unforked = done(mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    fill(unforked, 65536, 33);
    done(madvise(unforked, 65536, MADV_DONTFORK));
    huge = done(mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    madvise(huge, 8 << 20, MADV_HUGEPAGE);
    fill(huge, 8 << 20, 34);
}
static void check(void)
{
    must(is_filled(wiped, 65536, 32) && is_filled(unforked, 65536, 33) && is_filled(huge, 8 << 20, 34));
    must(flagged(wiped, " wf") && flagged(unforked, " dc"));
    pid_t pid = done(fork());
    if (pid == 0) {
        unsigned char seen;
        must(wiped[0] == 0 && wiped[65535] == 0);
        must(syscall(SYS_mincore, unforked, 4096, &seen) < 0);
        _exit(0);
    }
    int status;
    done(waitpid(pid, &status, 0));
    must(status == 0);
}
