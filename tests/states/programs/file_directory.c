/* An open directory, half read; a working directory; a root of its own. */
#include <dirent.h>
#include "state.h"
static int fd;
static void make(void)
{
    done(mkdir("inner", 0711));
    close(new_file("inner/a", 10, 5));
    fd = done(open("inner", O_RDONLY | O_DIRECTORY));
    done(chdir("inner"));
}
static void check(void)
{
    char here[200];
    must(getcwd(here, sizeof here) && strcmp(here, "/work/file_directory/inner") == 0);
    must(faccessat(fd, "a", R_OK, 0) == 0);
    struct stat seen;
    done(fstat(fd, &seen));
    must((seen.st_mode & 07777) == 0711 && S_ISDIR(seen.st_mode));
}
