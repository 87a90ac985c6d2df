/* Name, arguments, environment, personality, no_new_privs, parent-death signal, dumpable. */
#include <sys/personality.h>
#include "state.h"
static unsigned long before;
static void make(void)
{
    done(prctl(PR_SET_NAME, "renamed"));
    done(setenv("MARK", "set by itself", 1));
    done(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    done(prctl(PR_SET_PDEATHSIG, SIGHUP));
    before = (unsigned long)environ;
}
static void check(void)
{
    char name[16], line[200] = {0};
    done(prctl(PR_GET_NAME, name));
    must(strcmp(name, "renamed") == 0);
    int fd = done(open("/proc/self/cmdline", O_RDONLY));
    must(read(fd, line, sizeof line - 1) > 0 && strcmp(line, "/states/process_identity") == 0);
    close(fd);
    must(strcmp(getenv("MARK"), "set by itself") == 0 && (unsigned long)environ == before);
    must(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    int number;
    done(prctl(PR_GET_PDEATHSIG, &number));
    must(number == SIGHUP);
}
