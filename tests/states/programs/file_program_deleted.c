/* A program whose file is gone. */
#include "state.h"
static void make(void)
{
    if (access("copy", F_OK) < 0 && strcmp(program_invocation_short_name, "copy")) {
        int from = done(open("/proc/self/exe", O_RDONLY)), to = done(open("copy", O_WRONLY | O_CREAT, 0755));
        char part[4096];
        ssize_t got;
        while ((got = read(from, part, sizeof part)) > 0)
            must(write(to, part, got) == got);
        close(from);
        close(to);
        execl("./copy", "copy", NULL);
        must(!"execl");
    }
    done(unlink("copy"));
}
static void check(void)
{
    char link[200] = {0};
    done(readlink("/proc/self/exe", link, sizeof link - 1));
    must(strstr(link, "copy"));
    must(access("/work/file_program_deleted/copy", F_OK) < 0);
}
