/* A BPF map with content, and one that is mapped. */
#include <linux/bpf.h>
#include "state.h"
static int map;
static long bpf(int call, union bpf_attr *what)
{
    return syscall(SYS_bpf, call, what, sizeof *what);
}
static void make(void)
{
    map = done(bpf(BPF_MAP_CREATE, &(union bpf_attr){.map_type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 8, .max_entries = 10, .map_name = "kinds"}));
    for (unsigned key = 0; key < 5; key++) {
        uint64_t value = 1000 + key;
        done(bpf(BPF_MAP_UPDATE_ELEM, &(union bpf_attr){.map_fd = map, .key = (uintptr_t)&key, .value = (uintptr_t)&value}));
    }
}
static void check(void)
{
    for (unsigned key = 0; key < 5; key++) {
        uint64_t value = 0;
        done(bpf(BPF_MAP_LOOKUP_ELEM, &(union bpf_attr){.map_fd = map, .key = (uintptr_t)&key, .value = (uintptr_t)&value}));
        must(value == 1000 + key);
    }
}
