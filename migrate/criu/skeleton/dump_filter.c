/*
 * Preloaded into `criu dump`: what has travelled already looks absent to it, so that it writes a
 * skeleton, and what is known to be empty is not searched.
 *
 * CRIU asks the ioctl PAGEMAP_SCAN (include/uapi/linux/fs.h) which pages of a process exist
 * (criu/pagemap-cache.c). For each process with a file $MIGRATE_SKELETON/PID, ranges named in it are
 * left out of the answer. The file holds pairs of native 64-bit addresses [start, end), ascending.
 *
 * CRIU asks for all tracked connections of a network namespace, twice (criu/net.c, dump_nf_ct), and
 * the kernel walks its whole table, that of all namespaces, each time. Where there is a file
 * $MIGRATE_SKELETON/no-connections, the namespace has none, and the kernel is asked for another
 * list that is empty then, of connections about to go.
 *
 * CRIU reads /proc/PID/smaps, for which the kernel counts all pages of the process. Where there is a
 * file $MIGRATE_SKELETON/PID.smaps, it reads that.
 *
 * smaps is the first that CRIU reads of a process that it dumps, before it puts anything into it
 * (criu/cr-dump.c, dump_one_task). While there is a file $MIGRATE_SKELETON/looking, it is not given
 * smaps before there is the file of that process: who looks at all of them, one after the other,
 * has looked at this one then.
 *
 * No header and no start file is used, so that any C compiler will do without a C library's
 * development files; what is declared here comes from the C library that CRIU has loaded.
 */

typedef unsigned long u64; /* 64-bit architectures only */

extern char *getenv(const char *name);
extern long syscall(long number, ...);
extern void *malloc(unsigned long size);
extern void free(void *block);
extern long readlink(const char *path, char *buffer, unsigned long size);
extern int open(const char *path, int flags, ...);
extern long read(int descriptor, void *buffer, unsigned long size);
extern int close(int descriptor);
extern long lseek(int descriptor, long offset, int whence);
extern int access(const char *path, int mode);
extern int usleep(unsigned int microseconds);
extern int getppid(void);
extern int is_settled_map(const char *path, int flags);

#if defined(__x86_64__)
#define SYS_IOCTL 16
#define SYS_OPENAT 257
#define SYS_SENDMSG 46
#elif defined(__aarch64__)
#define SYS_IOCTL 29
#define SYS_OPENAT 56
#define SYS_SENDMSG 211
#else
#error "not one of the architectures that migrate knows"
#endif

#define PAGEMAP_SCAN 0xc0606610ul /* _IOWR('f', 16, struct pm_scan_arg) */
#define NO_PID (-1)
#define PATH_SIZE 4096
#define LOOK_EVERY 100 /* microseconds */
#define LOOKS 300000 /* at least half a minute, for all processes together */

/* include/uapi/linux/netlink.h, netfilter/nfnetlink.h and nfnetlink_conntrack.h */
#define NLM_F_DUMP 0x300
#define CONNECTIONS 0x0101 /* NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET */
#define DYING 0x0106 /* IPCTNL_MSG_CT_GET_DYING */

struct page_region {
	u64 start, end, categories;
};

struct pm_scan_arg {
	u64 size, flags, start, end, walk_end, vec, vec_len, max_pages;
	u64 category_inverted, category_mask, category_anyof_mask, return_mask;
};

struct nlmsghdr {
	unsigned int length;
	unsigned short type, flags;
	unsigned int sequence, port;
};

struct iovec {
	void *base;
	u64 length;
};

struct msghdr {
	void *name;
	unsigned int name_length;
	struct iovec *parts;
	u64 part_count;
	void *control;
	u64 control_length;
	int flags;
};

struct range {
	u64 start, end;
};

static struct {
	long pid;
	long count;
	struct range *ranges;
} known = { NO_PID, 0, 0 };

/* Appends decimal digits; the new end. */
static char *put_number(char *at, long number)
{
	char digits[24];
	int count = 0;

	do {
		digits[count++] = '0' + number % 10;
		number /= 10;
	} while (number);
	while (count)
		*at++ = digits[--count];
	*at = 0;
	return at;
}

static char *put_text(char *at, const char *text)
{
	while (*text)
		*at++ = *text++;
	*at = 0;
	return at;
}

static int same(const char *one, const char *other)
{
	while (*one && *one == *other)
		one++, other++;
	return *one == *other;
}

/* The PID of a descriptor that is /proc/PID and what `ending` says, wherever procfs is mounted;
 * else NO_PID. */
static long pid_of(int descriptor, const char *ending)
{
	char link[64], target[256];
	long length, at, pid = 0, unit = 1;

	put_number(put_text(link, "/proc/self/fd/"), descriptor);
	length = readlink(link, target, sizeof(target) - 1);
	if (length <= 0 || length == (long)sizeof(target) - 1)
		return NO_PID;
	target[length] = 0;
	for (at = length; at > 0 && !same(target + at, ending);)
		at--;
	for (at--; at >= 0 && target[at] >= '0' && target[at] <= '9'; at--, unit *= 10)
		pid += unit * (target[at] - '0');
	return unit > 1 && at >= 0 && target[at] == '/' ? pid : NO_PID;
}

/* The path of a file of ours, a number, if there is one, before its name; 0 where there is no
 * directory, or its own is too long. */
static int path_of(char *path, long number, const char *name)
{
	const char *directory = getenv("MIGRATE_SKELETON");
	long size = 0;

	if (!directory)
		return 0;
	while (directory[size])
		if (++size > PATH_SIZE - 64)
			return 0;
	path = put_text(put_text(path, directory), "/");
	if (number != NO_PID)
		path = put_number(path, number);
	put_text(path, name);
	return 1;
}

/* Reads the ranges of a process once; none where there is no file, or it can't be read: then CRIU
 * writes more than it need, which is slow but right. */
static void learn(long pid)
{
	char path[PATH_SIZE];
	long size, got = 0, count;
	int descriptor;

	if (known.pid == pid)
		return;
	free(known.ranges);
	known.pid = pid;
	known.count = 0;
	known.ranges = 0;
	if (!path_of(path, pid, ""))
		return;
	descriptor = open(path, 02000000 /* O_CLOEXEC */);
	if (descriptor < 0)
		return;
	size = lseek(descriptor, 0, 2 /* SEEK_END */);
	lseek(descriptor, 0, 0);
	if (size > 0)
		known.ranges = malloc(size);
	while (known.ranges && got < size) {
		count = read(descriptor, (char *)known.ranges + got, size - got);
		if (count <= 0)
			break;
		got += count;
	}
	close(descriptor);
	if (known.ranges && got == size)
		known.count = size / (long)sizeof(struct range);
}

/* One real scan of [start, end), its regions appended to the caller's vector; what the kernel says. */
static long scan_part(int descriptor, const struct pm_scan_arg *whole, u64 start, u64 end, long have,
		      u64 *walk_end)
{
	struct pm_scan_arg part = *whole;
	long found;

	part.start = start;
	part.end = end;
	part.vec = whole->vec + have * sizeof(struct page_region);
	part.vec_len = whole->vec_len - have;
	found = syscall(SYS_IOCTL, (long)descriptor, PAGEMAP_SCAN, &part);
	*walk_end = part.walk_end;
	return found;
}

/* The scan of all that lies between the ranges left out. */
static long scan_around(int descriptor, struct pm_scan_arg *arg)
{
	u64 at = arg->start, walk_end;
	long have = 0;

	for (long i = 0; at < arg->end; i++) {
		u64 stop = arg->end, next = arg->end;
		long found;

		while (i < known.count && known.ranges[i].end <= at)
			i++;
		if (i < known.count && known.ranges[i].start < arg->end) {
			stop = known.ranges[i].start > at ? known.ranges[i].start : at;
			next = known.ranges[i].end < arg->end ? known.ranges[i].end : arg->end;
		}
		if (stop > at) {
			if (arg->vec && (u64)have == arg->vec_len)
				break;
			found = scan_part(descriptor, arg, at, stop, have, &walk_end);
			if (found < 0)
				return found;
			have += found;
			if (walk_end < stop) {
				at = walk_end;
				break;
			}
		}
		at = next;
	}
	arg->walk_end = at;
	return have;
}

/* Takes the place of the C library's. */
int ioctl(int descriptor, unsigned long request, void *argument)
{
	struct pm_scan_arg *arg = argument;

	if ((request & 0xffffffff) == PAGEMAP_SCAN && arg && arg->max_pages == 0) {
		long pid = pid_of(descriptor, "/pagemap");

		if (pid != NO_PID) {
			learn(pid);
			if (known.count)
				return scan_around(descriptor, arg);
		}
	}
	return syscall(SYS_IOCTL, (long)descriptor, request, argument);
}

static int exists(long pid, const char *name)
{
	char path[PATH_SIZE];

	return path_of(path, pid, name) && access(path, 0 /* F_OK */) == 0;
}

static int parent; /* who started CRIU, and looks */

/* Not for ever, and not for who has died: CRIU writes more than it need then. */
static void wait_for_look(long pid)
{
	static int looks;

	while (exists(NO_PID, "looking") && !exists(pid, "") && looks++ < LOOKS &&
	       getppid() == parent)
		usleep(LOOK_EVERY);
}

/* Takes the place of the C library's; `mode` may not be there. */
int openat64(int directory, const char *path, int flags, unsigned int mode)
{
	char ours[PATH_SIZE];
	long pid, descriptor;

	if (!parent) /* CRIU opens files long before it dumps a process */
		parent = getppid();
	if (is_settled_map(path, flags)) /* join_userns.c */
		path = "/dev/null";
	if (same(path, "smaps") && (pid = pid_of(directory, "")) != NO_PID) {
		wait_for_look(pid);
		if (path_of(ours, pid, ".smaps") && (descriptor = open(ours, flags)) >= 0)
			return descriptor;
	}
	return syscall(SYS_OPENAT, (long)directory, path, (long)flags, (long)mode);
}

static int has_no_connections(void)
{
	char path[PATH_SIZE];
	int descriptor;

	if (!path_of(path, NO_PID, "no-connections"))
		return 0;
	descriptor = open(path, 02000000 /* O_CLOEXEC */);
	if (descriptor < 0)
		return 0;
	close(descriptor);
	return 1;
}

/* Takes the place of the C library's. */
long sendmsg(int descriptor, const struct msghdr *message, int flags)
{
	struct nlmsghdr *head = 0;
	long sent;

	if (message->part_count == 1 && message->parts->length >= sizeof(*head)) {
		head = message->parts->base;
		if (head->type == CONNECTIONS && (head->flags & NLM_F_DUMP) == NLM_F_DUMP &&
		    head->length == message->parts->length && has_no_connections())
			head->type = DYING;
		else
			head = 0;
	}
	sent = syscall(SYS_SENDMSG, (long)descriptor, message, (long)flags);
	if (head)
		head->type = CONNECTIONS;
	return sent;
}
