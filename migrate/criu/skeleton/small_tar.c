/*
 * Preloaded into CRIU: a small tmpfs is saved and put back without starting `tar` and `gzip`.
 *
 * CRIU runs `tar --create --gzip` for each tmpfs that it dumps and `tar --extract --gzip` for each
 * that it restores (criu/filesystems.c, tmpfs_dump and tmpfs_restore), 4 ms each, nearly all of it
 * for starting programs. Here its forked child does the work of tar itself where that is little:
 * directories, links, devices, fifos, and files that are short, have one name and no holes. Sockets
 * are left out, as tar leaves them out: CRIU makes them anew. Of all else, and of whatever goes
 * wrong, tar is left in charge: it begins at the beginning, and tells its errors in CRIU's log.
 *
 * What is written is what tar would write, a gzip stream of a GNU tar, but not compressed: CRIU
 * without this can restore it. What is read may be of any maker; it is ours to do when its blocks
 * are not compressed and it has nothing but the kinds above.
 */

#include "small_tar.inc"

extern char **environ;
extern void *malloc(unsigned long size);
extern int execvpe(const char *file, char *const arguments[], char *const environment[]);

unsigned char *tar_bytes;
long tar_used;
static struct status top;

/* Fills a field of a head but for its last byte, which stays 0; whether the number fits. */
static int put_octal(char *field, int size, u64 number)
{
	for (int i = size - 2; i >= 0; i--, number >>= 3)
		field[i] = '0' + (number & 7);
	return !number;
}

static char kind_of(u32 mode)
{
	switch (mode & KIND) {
	case REGULAR:
		return '0';
	case LINK:
		return '2';
	case CHARACTER:
		return '3';
	case BLOCK_DEVICE:
		return '4';
	case DIRECTORY:
		return '5';
	case FIFO:
		return '6';
	}
	return 0;
}

/* A zeroed piece of the tar, a whole number of blocks; 0 when there is no room. */
static unsigned char *room_for(u64 size)
{
	unsigned char *at = tar_bytes + tar_used;
	u64 whole;

	if (size > MOST)
		return 0;
	whole = (size + BLOCK - 1) / BLOCK * BLOCK;
	if (tar_used + whole > MOST)
		return 0;
	for (u64 i = 0; i < whole; i++)
		at[i] = 0;
	tar_used += whole;
	return at;
}

/* Reads exactly that much; there must be no more. */
static int read_whole(int descriptor, unsigned char *to, long size)
{
	char more;
	long got = 0, count = 1;

	while (got < size && (count = syscall(SYS_READ, (long)descriptor, to + got, size - got)) > 0)
		got += count;
	return got == size && syscall(SYS_READ, (long)descriptor, &more, 1l) == 0;
}

static int add_content(int directory, const char *name, u64 size)
{
	unsigned char *to = room_for(size);
	long descriptor;
	int done;

	if (!to)
		return 0;
	descriptor = syscall(SYS_OPENAT, (long)directory, name, (long)(O_NOFOLLOW_ | O_CLOEXEC_), 0l);
	if (descriptor < 0)
		return 0;
	done = read_whole(descriptor, to, size);
	syscall(SYS_CLOSE, descriptor);
	return done;
}

/* Adds the head of a file, and what is in it; 0 for one that tar has to deal with. */
static int add(int directory, const char *name, const char *path, long length,
	       const struct status *status)
{
	struct head *head = (struct head *)room_for(BLOCK);
	u64 size = (status->mode & KIND) == REGULAR ? status->size : 0;
	int fits;

	if (!head || length > (long)sizeof(head->name) || status->modified.seconds < 0)
		return 0;
	copy(head->name, path, length);
	copy(head->magic, "ustar  ", 8);
	head->kind = kind_of(status->mode);
	fits = head->kind && put_octal(head->mode, 8, status->mode & 07777) &&
	       put_octal(head->uid, 8, status->uid) && put_octal(head->gid, 8, status->gid) &&
	       put_octal(head->size, 12, size) &&
	       put_octal(head->modified, 12, status->modified.seconds);
	if (head->kind == '3' || head->kind == '4')
		fits = fits && put_octal(head->major, 8, status->device_major) &&
		       put_octal(head->minor, 8, status->device_minor);
	if (head->kind == '2') {
		long count = syscall(SYS_READLINKAT, (long)directory, name, head->link,
				     (long)sizeof(head->link));

		fits = fits && count > 0 && count < (long)sizeof(head->link);
	}
	if (!fits)
		return 0;
	put_octal(head->checksum, 7, sum_of(head));
	head->checksum[7] = ' ';
	if (head->kind != '0')
		return head->kind == '5' || status->links == 1;
	return status->links == 1 && status->blocks * BLOCK >= size && add_content(directory, name, size);
}

static int add_tree(int directory, char *path, long length, int depth);

/* Adds what a directory's entry names. `path` has room for every name that fits into a head. */
static int add_named(int directory, const char *name, char *path, long length, int depth)
{
	struct status status;
	long size = 0, inside;
	int done;

	if (syscall(SYS_STATX, (long)directory, name, (long)AT_SYMLINK_NOFOLLOW_, (long)STATX_BASIC,
		    &status) < 0)
		return 0;
	if ((status.mode & KIND) == SOCKET)
		return 1;
	while (name[size])
		size++;
	if (length + size > 100)
		return 0;
	copy(path + length, name, size + 1);
	if ((status.mode & KIND) != DIRECTORY)
		return add(directory, name, path, length + size, &status);
	/* What is mounted over it is not of this file system. */
	if (status.on_major != top.on_major || status.on_minor != top.on_minor)
		return 0;
	inside = syscall(SYS_OPENAT, (long)directory, name,
			 (long)(O_DIRECTORY_ | O_NOFOLLOW_ | O_CLOEXEC_), 0l);
	if (inside < 0)
		return 0;
	path[length + size] = '/';
	done = add(directory, name, path, length + size + 1, &status) &&
	       add_tree(inside, path, length + size + 1, depth + 1);
	syscall(SYS_CLOSE, inside);
	return done;
}

/* Adds what is in a directory; its own head is there already. */
static int add_tree(int directory, char *path, long length, int depth)
{
	u64 buffer[256]; /* aligned */
	long count;

	if (depth > DEEPEST)
		return 0;
	while ((count = syscall(SYS_GETDENTS64, (long)directory, buffer, (long)sizeof(buffer))) > 0)
		for (long at = 0; at < count;) {
			struct entry *entry = (struct entry *)((char *)buffer + at);

			at += entry->length;
			if (same(entry->name, ".") || same(entry->name, ".."))
				continue;
			if (!add_named(directory, entry->name, path, length, depth))
				return 0;
		}
	return count == 0;
}

static int put(const void *from, long size)
{
	for (long done = 0, count; done < size; done += count) {
		count = syscall(SYS_WRITE, 1l, (const char *)from + done, size - done);
		if (count <= 0)
			return 0;
	}
	return 1;
}

/* The tar as a gzip stream of stored blocks (RFC 1952, RFC 1951 3.2.4) on standard output. */
static int put_gzip(void)
{
	static const unsigned char first[10] = { 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3 };
	unsigned char last[8], block[5];

	if (!put(first, sizeof(first)))
		return 0;
	for (long at = 0, size; at < tar_used; at += size) {
		size = tar_used - at < STORED_MOST ? tar_used - at : STORED_MOST;
		block[0] = at + size == tar_used;
		put_little_endian(block + 1, size, 2);
		put_little_endian(block + 3, ~size, 2);
		if (!put(block, sizeof(block)) || !put(tar_bytes + at, size))
			return 0;
	}
	put_little_endian(last, crc_of(tar_bytes, tar_used), 4);
	put_little_endian(last + 4, tar_used, 4);
	return put(last, sizeof(last));
}

/* Whether the directory has been written to standard output, whole; else nothing has. */
static int create(const char *directory)
{
	char path[128] = "./";
	long begun = syscall(SYS_LSEEK, 1l, 0l, 1l /* SEEK_CUR */);
	long descriptor = syscall(SYS_OPENAT, (long)AT_FDCWD_, directory,
				  (long)(O_DIRECTORY_ | O_CLOEXEC_), 0l);

	if (begun < 0 || descriptor < 0)
		return 0;
	if (syscall(SYS_STATX, descriptor, "", (long)AT_EMPTY_PATH_, (long)STATX_BASIC, &top) < 0 ||
	    !add(descriptor, "", path, 2, &top) || !add_tree(descriptor, path, 2, 0) ||
	    !room_for(2 * BLOCK))
		return 0;
	if (put_gzip())
		return 1;
	syscall(SYS_FTRUNCATE, 1l, begun);
	syscall(SYS_LSEEK, 1l, begun, 0l /* SEEK_SET */);
	return 0;
}

/* Whether the arguments are these, where "" stands for any one. */
static int are(char *const arguments[], const char *const expected[])
{
	long i = 0;

	for (; arguments[i] && expected[i]; i++)
		if (*expected[i] && !same(arguments[i], expected[i]))
			return 0;
	return !arguments[i] && !expected[i];
}

/* Takes the place of the C library's, in a child that CRIU has forked. */
int execvp(const char *file, char *const arguments[])
{
	static const char *const creating[] = {
		"tar", "--create", "--gzip", "--no-unquote", "--no-wildcards", "--one-file-system",
		"--check-links", "--preserve-permissions", "--sparse", "--numeric-owner",
		"--directory", "", ".", 0,
	};
	static const char *const extracting[] = {
		"tar", "--extract", "--gzip", "--no-unquote", "--no-wildcards", "--directory", "", 0,
	};

	if (same(file, "tar") && (tar_bytes = malloc(MOST)) &&
	    ((are(arguments, creating) && create(arguments[11])) ||
	     (are(arguments, extracting) && extract_small_tar(arguments[6]))))
		syscall(SYS_EXIT_GROUP, 0l);
	return execvpe(file, arguments, environ);
}
