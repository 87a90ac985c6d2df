/*
 * Preloaded into `criu restore`: the root task is made in a user namespace that is there already.
 *
 * CRIU makes a new one (criu/namespaces.c), and enters an external network namespace from there,
 * which the kernel allows only to the user namespace that it belongs to. So where
 * $MIGRATE_USER_NAMESPACE is the path of one, the clone3(2) that would make a new one is done by a
 * process between that has entered it, with CLONE_PARENT: the child is as if it were CRIU's own. All
 * namespaces that are made with it belong to the one that is joined. Its id maps are written
 * already, so what CRIU would write goes nowhere.
 *
 * The root task mounts with the ids of the namespace's root, who can't search directories of the
 * host's root. $MIGRATE_PLACES names what is to be mounted, with a colon behind each: the task opens
 * it, in its own mount namespace, while it has the host's ids still, and open_tree(2) goes by that.
 *
 * No header and no start file is used, as in dump_filter.c.
 */

typedef unsigned long u64; /* 64-bit architectures only */

extern char *getenv(const char *name);
extern int *__errno_location(void);
extern void *dlsym(void *library, const char *name);

#define PATH_SIZE 4096
#define RTLD_NEXT ((void *)-1l)

#if defined(__x86_64__)
#define SYS_READ 0
#define SYS_WRITE 1
#define SYS_CLOSE 3
#define SYS_OPENAT 257
#define SYS_WAIT4 61
#define SYS_EXIT_GROUP 231
#define SYS_PIPE2 293
#define SYS_SETNS 308
#elif defined(__aarch64__)
#define SYS_READ 63
#define SYS_WRITE 64
#define SYS_CLOSE 57
#define SYS_OPENAT 56
#define SYS_WAIT4 260
#define SYS_EXIT_GROUP 94
#define SYS_PIPE2 59
#define SYS_SETNS 268
#else
#error "not one of the architectures that migrate knows"
#endif

#define SYS_OPEN_TREE 428
#define SYS_CLONE3 435
#define AT_FDCWD (-100)
#define O_CLOEXEC 02000000
#define O_PATH 010000000
#define AT_EMPTY_PATH 0x1000
#define CLONE_PARENT 0x8000ul
#define CLONE_NEWUSER 0x10000000ul
#define SIGCHLD 17
#define WALL 0x40000000 /* __WALL */
#define EIO 5
#define EINTR 4

/* include/uapi/linux/sched.h, up to set_tid_size (Linux 5.5) */
struct clone_args {
	u64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
		set_tid_size;
};

/* The C library's own `syscall`, its error as a negative number. */
static long raw(long number, long a, long b, long c, long d, long e, long f)
{
	static long (*real)(long number, ...);
	long result;

	if (!real)
		real = (long (*)(long number, ...))dlsym(RTLD_NEXT, "syscall");
	result = real(number, a, b, c, d, e, f);
	return result == -1 ? -*__errno_location() : result;
}

static long call3(long number, long a, long b, long c)
{
	return raw(number, a, b, c, 0, 0, 0);
}

static long call1(long number, long a)
{
	return raw(number, a, 0, 0, 0, 0, 0);
}

#define MOST_PLACES 256
static struct {
	const char *path; /* not ended by a zero byte */
	long length;
	int descriptor;
} places[MOST_PLACES];
static int place_count;

static void open_places(void)
{
	const char *at = getenv("MIGRATE_PLACES");
	char path[PATH_SIZE];

	while (at && *at && place_count < MOST_PLACES) {
		long length = 0;

		while (at[length] && at[length] != ':' && length < PATH_SIZE - 1) {
			path[length] = at[length];
			length++;
		}
		if (at[length] != ':')
			return;
		path[length] = 0;
		places[place_count].path = at;
		places[place_count].length = length;
		places[place_count].descriptor = call3(SYS_OPENAT, AT_FDCWD, (long)path, O_PATH | O_CLOEXEC);
		if (places[place_count].descriptor >= 0)
			place_count++;
		at += length + 1;
	}
}

/* The descriptor of a place that was opened; -1 for every other path. */
static int opened(const char *path)
{
	for (int which = 0; which < place_count; which++) {
		long at = 0;

		while (at < places[which].length && path[at] == places[which].path[at])
			at++;
		if (at == places[which].length && !path[at])
			return places[which].descriptor;
	}
	return -1;
}

/* The process between: enters the namespace, makes the child, tells its pid or an error. Returns in
 * the child alone. */
static void make_within(const char *path, const struct clone_args *wanted, u64 size, int tell)
{
	struct clone_args own = *wanted;
	long result = call3(SYS_OPENAT, AT_FDCWD, (long)path, O_CLOEXEC);

	if (result >= 0) {
		long namespace = result;

		result = call3(SYS_SETNS, namespace, CLONE_NEWUSER, 0);
		call1(SYS_CLOSE, namespace);
	}
	if (result >= 0) {
		own.flags = (own.flags & ~CLONE_NEWUSER) | CLONE_PARENT;
		own.exit_signal = 0; /* that of this process's own end (clone(2)) */
		result = call3(SYS_CLONE3, (long)&own, size, 0);
		if (result == 0)
			return;
	}
	call3(SYS_WRITE, tell, (long)&result, sizeof(result));
	call1(SYS_EXIT_GROUP, 0);
}

static long clone_within(const char *path, const struct clone_args *wanted, u64 size)
{
	struct clone_args between = { 0 };
	int ends[2];
	long pid, result = -EIO, got;

	if (size > sizeof(*wanted) || (result = call3(SYS_PIPE2, (long)ends, O_CLOEXEC, 0)) < 0)
		return size > sizeof(*wanted) ? -EIO : result;
	between.flags = wanted->flags & CLONE_PARENT;
	between.exit_signal = between.flags ? 0 : SIGCHLD;
	pid = call3(SYS_CLONE3, (long)&between, sizeof(between), 0);
	if (pid == 0) {
		call1(SYS_CLOSE, ends[0]);
		make_within(path, wanted, size, ends[1]);
		call1(SYS_CLOSE, ends[1]);
		open_places();
		return 0;
	}
	call1(SYS_CLOSE, ends[1]);
	result = pid;
	if (pid > 0) {
		do
			got = call3(SYS_READ, ends[0], (long)&result, sizeof(result));
		while (got == -EINTR);
		if (got != sizeof(result))
			result = -EIO;
		if (!between.flags)
			raw(SYS_WAIT4, pid, 0, WALL, 0, 0, 0);
	}
	call1(SYS_CLOSE, ends[0]);
	return result;
}

/* Takes the place of the C library's, for this library's other files as well. */
long syscall(long number, long a, long b, long c, long d, long e, long f)
{
	const struct clone_args *wanted = (const struct clone_args *)a;
	const char *path = (const char *)b;
	int place;
	long result;

	if (number == SYS_OPEN_TREE && path && (place = opened(path)) >= 0) {
		a = place;
		b = (long)"";
		c |= AT_EMPTY_PATH;
	}
	if (number == SYS_CLONE3 && wanted->flags & CLONE_NEWUSER &&
	    (path = getenv("MIGRATE_USER_NAMESPACE")))
		result = clone_within(path, wanted, b);
	else
		result = raw(number, a, b, c, d, e, f);
	if ((u64)result < -4095ul)
		return result;
	*__errno_location() = -result;
	return -1;
}

/* Whether what CRIU opens to write is an id map of the namespace that it has not made. */
int is_settled_map(const char *path, int flags)
{
	static const char *const names[] = { "uid_map", "gid_map" };

	if (!(flags & 3) || !getenv("MIGRATE_USER_NAMESPACE"))
		return 0;
	for (int which = 0; which < 2; which++) {
		const char *one = path, *other = names[which];

		while (*one && *one == *other)
			one++, other++;
		if (*one == *other)
			return 1;
	}
	return 0;
}
