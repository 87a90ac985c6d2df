/* Machine code that was made while the program runs (x86-64 and aarch64: return 42). */
#include "state.h"
static int (*made)(void);
static void make(void)
{
#if defined(__x86_64__)
    static const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};
#else
    static const unsigned char code[] = {0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6};
#endif
    char *place = done(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    memcpy(place, code, sizeof code);
    done(mprotect(place, 4096, PROT_READ | PROT_EXEC));
    __builtin___clear_cache(place, place + sizeof code);
    made = (int (*)(void))place;
}
static void check(void)
{
    must(made() == 42);
}
