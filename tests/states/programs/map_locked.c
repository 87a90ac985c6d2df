/* Memory that is locked. */
#include "state.h"
static char *locked;
static void make(void)
{
    locked = done(mmap(NULL, 32768, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    fill(locked, 32768, 35);
    done(mlock(locked, 32768));
}
static void check(void)
{
    must(is_filled(locked, 32768, 35));
    FILE *status = fopen("/proc/self/status", "r");
    char line[200];
    long kilobytes = -1;
    while (fgets(line, sizeof line, status))
        sscanf(line, "VmLck: %ld", &kilobytes);
    fclose(status);
    must(kilobytes == 32);
}
