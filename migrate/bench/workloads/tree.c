/* A tree of processes that hold memory together, write to it slowly and check it: `tree.py` in C.
 *
 * `tree PROCESSES MIB PAGES_PER_SECOND KIND PORT`. What tree.py does, and what it says of itself,
 * holds here, with the same answers on the port (memory.py), and without an interpreter, which
 * writes some fifty pages whenever it wakes. A page holds its number, its version, and behind them
 * what can be computed again from its number and the seed of the process that made it.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, WORDS = PAGE / 8, HEAD = 2, SHARED = 512, LEAST = 16, MOST = 1024 };
static const double EVERY = 0.05; /* seconds between two writes of a process that waits */
static const double TICK = 0.001;
static const char TEXT[] =
    "the of and to in that is was he for it with as his on be at by had not are but from ";

struct part {
    uint64_t *map, *versions, seed;
    long pages;
};
struct parts {
    struct part shared, own;
    long pages;
};

static char kind; /* r, t or z */
static uint64_t state;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t next(uint64_t *from) { /* xorshift64* (Vigna, "An experimental exploration") */
    *from ^= *from >> 12;
    *from ^= *from << 25;
    *from ^= *from >> 27;
    return *from * 2685821657736338717u;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static uint64_t word(const struct part *part, uint64_t *random, int at) {
    uint64_t text;
    if (kind == 'r') return next(random);
    if (kind == 'z') return 0;
    memcpy(&text, TEXT + (part->seed + (uint64_t)at * 8) % (sizeof TEXT - 9), 8);
    return text;
}

static void *anonymous(size_t size) {
    void *map = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) fail("mmap");
    return map;
}

static uint64_t seed_of(const struct part *part, long number) {
    return (part->seed + (uint64_t)number) * 11400714819323198485u | 1;
}

static void make(struct part *part, long pages, uint64_t seed) {
    part->pages = pages;
    part->seed = seed;
    part->map = anonymous(pages * PAGE);
    part->versions = anonymous(pages * 8);
    if (kind == 'z') return;
    for (long number = 0; number < pages; number++) {
        uint64_t *page = part->map + number * WORDS, random = seed_of(part, number);
        page[0] = number;
        for (int at = HEAD; at < WORDS; at++) page[at] = word(part, &random, at);
    }
}

static long wrong_in(const struct part *part) {
    long wrong = 0;
    for (long number = 0; number < part->pages; number++) {
        uint64_t *page = part->map + number * WORDS, random = seed_of(part, number);
        uint64_t named = kind == 'z' && !part->versions[number] ? 0 : (uint64_t)number;
        int bad = page[0] != named || page[1] != part->versions[number];
        for (int at = HEAD; at < WORDS && !bad; at++) bad = page[at] != word(part, &random, at);
        wrong += bad;
    }
    return wrong;
}

static long wrong_of(const struct parts *parts) {
    return wrong_in(&parts->shared) + wrong_in(&parts->own);
}

static void write_page(struct parts *parts) {
    long number = next(&state) % parts->pages;
    struct part *part = number < parts->shared.pages ? &parts->shared : &parts->own;
    if (part == &parts->own) number -= parts->shared.pages;
    part->map[number * WORDS] = number;
    part->map[number * WORDS + 1] = ++part->versions[number];
}

static long resident(void) { /* anonymous pages; proc_pid_statm(5): resident without shared */
    char line[128] = "";
    long size, all, shared;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || !fgets(line, sizeof line, file)) fail("/proc/self/statm");
    fclose(file);
    sscanf(line, "%ld %ld %ld", &size, &all, &shared);
    return all - shared;
}

/* The process's own part, so that it has so many pages with all that it has besides. */
static void complete(struct parts *parts, long each) {
    long own = each - resident();
    state = (uint64_t)getpid() << 20 | 1;
    own -= own / WORDS + 1; /* where the versions are */
    make(&parts->own, own < LEAST ? LEAST : own, getpid());
    parts->pages = parts->shared.pages + parts->own.pages;
}

static int waits(int channel, double seconds) {
    fd_set set;
    struct timeval time = {(long)seconds, (seconds - (long)seconds) * 1e6};
    FD_ZERO(&set);
    FD_SET(channel, &set);
    return select(channel + 1, &set, 0, 0, &time) > 0;
}

static void say(int channel, const char *text) {
    (void)!send(channel, text, strlen(text), MSG_NOSIGNAL); /* who reads it finds out */
}

static void live(struct parts *parts, double rate, int channel) {
    double last = now(), owed = 0;
    char asked, told[32];
    say(channel, "ready");
    for (;;) {
        int ready = waits(channel, EVERY);
        double time = now();
        owed += (time - last) * rate;
        if (owed > rate) owed = rate; /* a pause is not made up for */
        last = time;
        for (; owed >= 1; owed--) write_page(parts);
        if (!ready) continue;
        if (read(channel, &asked, 1) <= 0) _exit(0);
        snprintf(told, sizeof told, "%ld", wrong_of(parts));
        say(channel, told);
    }
}

static long wrong_of_all(const struct parts *parts, const int *others, int count) {
    long wrong = wrong_of(parts);
    for (int other = 0; other < count; other++) {
        char told[32] = "";
        say(others[other], "v");
        wrong += read(others[other], told, sizeof told - 1) > 0 ? atol(told) : parts->pages;
    }
    return wrong;
}

/* What memory.py's Server does, with the same rules for what is written after a pause. */
static void serve(struct parts *parts, double rate, int listener, const int *others, int count) {
    double last = now(), owed = 0, longest = 0;
    long written = 0;
    int channel = -1;
    for (;;) {
        int ready = waits(channel < 0 ? listener : channel, TICK);
        double time = now(), most = rate / 10 > 1 ? rate / 10 : 1;
        long due, at_once = rate / 100 > 1 ? rate / 100 : 1;
        char asked[4096], told[64];
        if (time - last > longest) longest = time - last;
        owed += (time - last) * rate;
        if (owed > most) owed = most;
        last = time;
        due = owed < at_once ? owed : at_once;
        for (long page = 0; page < due; page++) write_page(parts);
        written += due;
        owed -= due;
        if (!ready) continue;
        if (channel < 0) {
            int yes = 1;
            channel = accept(listener, 0, 0);
            if (channel >= 0) setsockopt(channel, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
            continue;
        }
        long got = read(channel, asked, sizeof asked - 1);
        if (got <= 0) {
            close(channel);
            channel = -1;
            continue;
        }
        asked[got] = 0;
        if (strchr(asked, 'v')) {
            snprintf(told, sizeof told, "%ld\n", wrong_of_all(parts, others, count));
            last = now(); /* it took long, and is to be in no tick */
        } else if (strchr(asked, 'r')) {
            snprintf(told, sizeof told, "%ld %ld\n", (long)(longest * 1e6), written);
            longest = 0;
            written = 0;
        } else {
            snprintf(told, sizeof told, "%ld\n", (long)(longest * 1e6));
            for (char *line = strchr(asked, '\n'); line && (line = strchr(line + 1, '\n'));)
                say(channel, told);
        }
        say(channel, told);
    }
}

static int listening(int port) {
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&any, sizeof any) || listen(listener, 8)) fail("listen");
    return listener;
}

int main(int count, char **words) {
    static int others[MOST];
    static struct parts parts;
    if (count != 6 || atoi(words[1]) < 1 || atoi(words[1]) > MOST) return 2;
    int processes = atoi(words[1]);
    long each = atol(words[2]) * (1024 * 1024 / PAGE) / processes;
    double rate = atof(words[3]);
    kind = words[4][0];
    make(&parts.shared, SHARED, 1);
    for (int other = 0; other < processes - 1; other++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) fail("socketpair");
        pid_t child = fork();
        if (child < 0) fail("fork");
        if (!child) {
            for (int before = 0; before < other; before++) close(others[before]);
            close(pair[0]);
            complete(&parts, each);
            live(&parts, rate / processes, pair[1]);
        }
        close(pair[1]);
        others[other] = pair[0];
    }
    complete(&parts, each);
    for (int other = 0; other < processes - 1; other++) {
        char ready[8];
        if (read(others[other], ready, sizeof ready) <= 0) fail("a child");
    }
    int listener = listening(atoi(words[5]));
    puts("ready");
    fflush(stdout);
    serve(&parts, rate / processes, listener, others, processes - 1);
}
