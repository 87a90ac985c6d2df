/*
 * Preloaded into CRIU: a small tmpfs is put back without `tar` (small_tar.c says when and why).
 */

#include "small_tar.inc"

extern void *malloc(unsigned long size);

/* The tar in a gzip stream of stored blocks on standard input; 0 for any other. */
static int get_gzip(void)
{
	unsigned char *all = malloc(MOST + (MOST >> 4)), expected[8];
	long have = 0, at = 10, count;
	int last = 0;

	if (!all)
		return 0;
	while ((count = syscall(SYS_READ, 0l, all + have, MOST + (MOST >> 4) - have)) > 0)
		have += count;
	if (count < 0 || have < 10 || all[0] != 0x1f || all[1] != 0x8b || all[2] != 8 || all[3] != 0)
		return 0;
	for (tar_used = 0; !last; tar_used += count, at += 5 + count) {
		if (have - at < 5 || all[at] > 1)
			return 0;
		last = all[at];
		count = all[at + 1] | all[at + 2] << 8;
		if ((count ^ (all[at + 3] | all[at + 4] << 8)) != 0xffff || have - at - 5 < count ||
		    tar_used + count > MOST)
			return 0;
		copy(tar_bytes + tar_used, all + at + 5, count);
	}
	if (have - at != 8 || tar_used % BLOCK)
		return 0;
	put_little_endian(expected, crc_of(tar_bytes, tar_used), 4);
	put_little_endian(expected + 4, tar_used, 4);
	for (long i = 0; i < 8; i++)
		if (all[at + i] != expected[i])
			return 0;
	return 1;
}

/* The number in a field as this file writes them; -1 for any other. */
static long octal_in(const char *field, int size)
{
	long number = 0;

	for (int i = 0; i < size - 1; i++) {
		if (field[i] < '0' || field[i] > '7')
			return -1;
		number = number << 3 | (field[i] - '0');
	}
	return field[size - 1] ? -1 : number;
}

static int is_empty(const unsigned char *block)
{
	for (long i = 0; i < BLOCK; i++)
		if (block[i])
			return 0;
	return 1;
}

struct member {
	const struct head *head;
	const unsigned char *content;
	char path[101], *name; /* within its directory; "" for the top */
	long mode, uid, gid, size, modified, major, minor;
};

/* Takes a member apart, whose path must begin with "./"; where the next one is, 0 if it can't be. */
static long take_apart(long at, struct member *member)
{
	const struct head *head = (const struct head *)(tar_bytes + at);
	long end = 0;

	member->head = head;
	member->content = tar_bytes + at + BLOCK;
	member->mode = octal_in(head->mode, 8);
	member->uid = octal_in(head->uid, 8);
	member->gid = octal_in(head->gid, 8);
	member->size = octal_in(head->size, 12);
	member->modified = octal_in(head->modified, 12);
	member->major = member->minor = 0;
	if (head->kind == '3' || head->kind == '4') {
		member->major = octal_in(head->major, 8);
		member->minor = octal_in(head->minor, 8);
	}
	if (octal_in(head->checksum, 7) != (long)sum_of(head) || member->mode < 0 ||
	    member->uid < 0 || member->gid < 0 || member->modified < 0 || member->major < 0 ||
	    member->minor < 0 || member->size < 0 || (member->size && head->kind != '0') ||
	    member->size > tar_used - at - BLOCK || head->kind < '0' || head->kind > '6' ||
	    head->kind == '1' || !same(head->magic, "ustar  ") || head->name[0] != '.' ||
	    head->name[1] != '/')
		return 0;
	copy(member->path, head->name, 100);
	member->path[100] = 0;
	while (member->path[end])
		end++;
	if (member->path[end - 1] == '/' && head->kind == '5' && end > 2)
		member->path[--end] = 0;
	while (end > 0 && member->path[end - 1] != '/')
		end--;
	member->name = member->path + end;
	if (!*member->name != (end == 2 && head->kind == '5' && !member->path[2]))
		return 0;
	return at + BLOCK + (member->size + BLOCK - 1) / BLOCK * BLOCK;
}

/* The directory that a member is in, beneath the top and reached by no link; negative: none. */
static long parent_of(int directory, struct member *member)
{
	struct how how = { O_PATH_ | O_DIRECTORY_ | O_CLOEXEC_, 0, BENEATH_WITHOUT_LINKS };
	char first = *member->name;
	long found;

	*member->name = 0;
	found = syscall(SYS_OPENAT2, (long)directory, member->path, &how, (long)sizeof(how));
	*member->name = first;
	return found;
}

static int write_content(long parent, const struct member *member)
{
	long done = 0, count = 1;
	long descriptor = syscall(SYS_OPENAT, parent, member->name,
				  (long)(O_WRONLY_ | O_CREAT_ | O_EXCL_ | O_NOFOLLOW_ | O_CLOEXEC_),
				  0600l);

	if (descriptor < 0)
		return 0;
	while (done < member->size &&
	       (count = syscall(SYS_WRITE, descriptor, member->content + done, member->size - done)) > 0)
		done += count;
	syscall(SYS_CLOSE, descriptor);
	return done == member->size;
}

/* Makes a member, which must not be there yet. */
static int make(long parent, const struct member *member)
{
	static const u32 modes[] = { 0, 0, 0, CHARACTER, BLOCK_DEVICE, 0, FIFO };
	u64 device = (member->major & 0xfffu) << 8 | (member->minor & 0xffu) |
		     (u64)(member->minor & ~0xffu) << 12 | (u64)(member->major & ~0xfffu) << 32;
	char link[101];

	switch (member->head->kind) {
	case '0':
		return write_content(parent, member);
	case '2':
		copy(link, member->head->link, 100);
		link[100] = 0;
		return syscall(SYS_SYMLINKAT, link, parent, member->name) == 0;
	case '5':
		return !*member->name || syscall(SYS_MKDIRAT, parent, member->name, 0700l) == 0;
	}
	return syscall(SYS_MKNODAT, parent, member->name,
		       (long)(modes[member->head->kind - '0'] | 0600), device) == 0;
}

/* Owner, mode and time: the owner first, since chown(2) takes set-user-ID bits away. */
static int dress(long parent, const struct member *member)
{
	struct time times[2] = { { 0, UTIME_NOW_ }, { member->modified, 0 } };
	const char *name = *member->name ? member->name : ".";

	if (syscall(SYS_FCHOWNAT, parent, name, member->uid, member->gid, (long)AT_SYMLINK_NOFOLLOW_))
		return 0;
	/* The name is of a file made here just now: fchmodat(2) follows no link. */
	if (member->head->kind != '2' && syscall(SYS_FCHMODAT, parent, name, member->mode))
		return 0;
	return syscall(SYS_UTIMENSAT, parent, name, times, (long)AT_SYMLINK_NOFOLLOW_) == 0;
}

/* One walk over the members. Directories are dressed by a second one: what is made in them changes
 * their times. */
static int walk(int directory, int second)
{
	for (long at = 0; at < tar_used && !is_empty(tar_bytes + at);) {
		struct member member;
		long next = take_apart(at, &member), parent;
		int done = 1;

		if (!next || (parent = parent_of(directory, &member)) < 0)
			return 0;
		if (!second)
			done = make(parent, &member);
		if (done && second == (member.head->kind == '5'))
			done = dress(parent, &member);
		syscall(SYS_CLOSE, parent);
		if (!done)
			return 0;
		at = next;
	}
	return 1;
}

/* Whether all of standard input is in the directory. */
int extract_small_tar(const char *directory)
{
	long begun = syscall(SYS_LSEEK, 0l, 0l, 1l /* SEEK_CUR */);
	long descriptor = syscall(SYS_OPENAT, (long)AT_FDCWD_, directory,
				  (long)(O_DIRECTORY_ | O_CLOEXEC_), 0l);

	if (begun < 0 || descriptor < 0)
		return 0;
	if (get_gzip() && walk(descriptor, 0) && walk(descriptor, 1))
		return 1;
	syscall(SYS_LSEEK, 0l, begun, 0l /* SEEK_SET */);
	return 0;
}
