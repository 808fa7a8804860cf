/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Processes, their mappings and the files behind them, as /proc tells (proc(5)).
 *
 * A process can end, exec or remap between any two reads, and chooses its own names and paths. So
 * nothing is taken on trust: a file counts as the one that is mapped only when its inode says so.
 */
#include "util/procfs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "util/format.h"
#include "util/procfs_read.h"
#include "util/regular_file.h"
#include "util/remote_mount.h"

#define PF_KTHREAD 0x00200000 /* include/linux/sched.h, shown in field 9 of /proc/PID/stat */
#define PF_EXITING 0x4
#define XINO_MASK                                                                                  \
	((1ULL << 56) - 1) /* overlayfs xino= puts the layer into the top bits of st_ino */

/* ---- /proc/PID/stat ------------------------------------------------------------------------- */

/* Parses what follows the name: state is field 3 of proc(5), ppid 4, flags 9, num_threads 20,
 * starttime 22. */
static int parse_stat_fields(const char *text, struct proc_info *info)
{
	long ticks_per_second = sysconf(_SC_CLK_TCK);
	unsigned long long value;
	uint64_t flags = 0;
	char state, *end;

	text += strspn(text, " ");
	state = *text;
	if (!state || text[1] != ' ' || ticks_per_second <= 0)
		return -EBADMSG;
	info->zombie = state == 'Z' || state == 'X' || state == 'x';
	text++;
	for (int field = 4; field <= 22; field++) {
		errno = 0;
		value = strtoull(text, &end, 10);
		if (end == text || errno)
			return -EBADMSG;
		text = end;
		if (field == 4)
			info->ppid = (pid_t)value;
		else if (field == 9)
			flags = value;
		else if (field == 20)
			info->zombie |= flags & PF_EXITING && value <= 1;
		else if (field == 22)
			info->start_ns = value * (1000000000ULL / (unsigned long)ticks_per_second);
	}
	info->kernel_thread = flags & PF_KTHREAD;
	return 0;
}

static int parse_stat(const char *text, struct proc_info *info)
{
	/*
	 * The name is the process's own choice and may hold ')' and spaces: it ends at the last
	 * ')'.
	 */
	const char *name = strchr(text, '('), *end = strrchr(text, ')');
	size_t len;

	if (!name || !end || end < name)
		return -EBADMSG;
	name++;
	len = (size_t)(end - name);
	if (len > PROC_COMM_MAX)
		len = PROC_COMM_MAX;
	memcpy(info->comm, name, len);
	info->comm[len] = '\0';
	return parse_stat_fields(end + 1, info);
}

int proc_info__read(pid_t pid, struct proc_info *ret)
{
	struct proc_info info = {.pid = pid};
	size_t len;
	char *text;
	int err;

	err = procfs_read_pid(pid, "stat", &text, &len);
	if (err)
		return err;
	err = parse_stat(text, &info);
	free(text);
	if (!err)
		*ret = info;
	return err;
}

/* Returns false when /proc/PID/statm does not tell. */
static bool read_statm(pid_t pid, uint64_t *ret_rss_bytes, uint64_t *ret_shared_bytes)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	unsigned long long rss, shared;
	bool is_told;
	size_t len;
	char *text;

	if (procfs_read_pid(pid, "statm", &text, &len))
		return false;
	is_told = sscanf(text, "%*u %llu %llu", &rss, &shared) == 2;
	free(text);
	if (!is_told)
		return false;
	*ret_rss_bytes = rss * page_bytes;
	*ret_shared_bytes = shared * page_bytes;
	return true;
}

uint64_t proc_rss_bytes(pid_t pid)
{
	uint64_t rss, shared;

	return read_statm(pid, &rss, &shared) ? rss : 0;
}

uint64_t proc_anon_bytes(pid_t pid)
{
	uint64_t rss, shared;

	return read_statm(pid, &rss, &shared) && rss > shared ? rss - shared : 0;
}

pid_t proc_ns_pid(pid_t pid)
{
	char *text, *numbers, *end;
	long innermost = 0;
	size_t len;

	if (procfs_read_pid(pid, "status", &text, &len))
		return 0;
	numbers = strstr(text, "\nNSpid:");
	for (char *pos = numbers ? numbers + 7 : NULL; pos; pos = *end == '\t' ? end : NULL)
		innermost = strtol(pos, &end, 10);
	free(text);
	return innermost > 0 && innermost <= INT32_MAX && innermost != pid ? (pid_t)innermost : 0;
}

char *proc_exe(pid_t pid)
{
	char *path = format_text("/proc/%d/exe", (int)pid), *target = NULL, *grown;
	size_t cap = 256;
	ssize_t len = -1;

	while (path) {
		grown = realloc(target, cap);
		if (!grown)
			break;
		target = grown;
		len = readlink(path, target, cap);
		if (len < 0 || (size_t)len < cap)
			break;
		len = -1;
		cap *= 2;
	}
	free(path);
	if (len < 0) {
		free(target);
		return NULL;
	}
	target[len] = '\0';
	procfs_cut_deleted(target);
	return target;
}

/* ---- /proc/PID/maps ------------------------------------------------------------------------- */

/* Reads a number and the one character that must follow it, and steps over both. */
static bool take_number(const char **pos, int base, char follow, uint64_t *ret)
{
	char *end;

	if (!isxdigit((unsigned char)**pos))
		return false;
	errno = 0;
	*ret = strtoull(*pos, &end, base);
	if (errno || *end != follow)
		return false;
	*pos = end + (follow != '\0');
	return true;
}

/* 55d0c8a00000-55d0c8a21000 r-xp 00002000 fe:01 1234      /path with spaces */
int proc_map__parse(const char *line, size_t len, struct proc_map *ret)
{
	struct proc_map map = {0};
	uint64_t major_nr, minor_nr;
	const char *pos = line;

	if (!take_number(&pos, 16, '-', &map.start) || !take_number(&pos, 16, ' ', &map.end) ||
	    map.end <= map.start || strnlen(pos, 5) < 5 || pos[4] != ' ')
		return -EBADMSG;
	map.readable = pos[0] == 'r';
	map.writable = pos[1] == 'w';
	map.executable = pos[2] == 'x';
	map.shared = pos[3] == 's';
	pos += 5;
	if (!take_number(&pos, 16, ' ', &map.off) || !take_number(&pos, 16, ':', &major_nr) ||
	    !take_number(&pos, 16, ' ', &minor_nr))
		return -EBADMSG;
	/* The kernel pads a path to its column; a line without a path ends right after the inode.
	 */
	if (!take_number(&pos, 10, ' ', &map.ino) && !take_number(&pos, 10, '\0', &map.ino))
		return -EBADMSG;
	map.dev = makedev((unsigned int)major_nr, (unsigned int)minor_nr);
	pos += strspn(pos, " ");
	map.path = procfs_unescape(pos, len - (size_t)(pos - line), "\n");
	if (!map.path)
		return -ENOMEM;
	map.deleted = procfs_cut_deleted(map.path);
	*ret = map;
	return 0;
}

int proc_maps__read(pid_t pid, struct proc_maps *ret)
{
	struct proc_maps maps = {0};
	struct proc_map map;
	char *text, *line, *end;
	size_t len;
	int err;

	err = procfs_read_pid(pid, "maps", &text, &len);
	if (err)
		return err;
	for (line = text; !err && *line; line = end + 1) {
		end = strchr(line, '\n');
		if (!end) {
			err = -EBADMSG;
			break;
		}
		*end = '\0';
		err = proc_map__parse(line, (size_t)(end - line), &map);
		if (!err && array_push(&maps.maps, map)) {
			free(map.path);
			err = -ENOMEM;
		}
	}
	free(text);
	if (err)
		proc_maps__free(&maps);
	else
		*ret = maps;
	return err;
}

void proc_maps__free(struct proc_maps *maps)
{
	if (!maps)
		return;
	for (size_t i = 0; i < maps->maps.cnt; i++)
		free(maps->maps.items[i].path);
	array_free(&maps->maps);
}

const struct proc_map *proc_maps__find(const struct proc_maps *maps, uint64_t addr)
{
	size_t low = 0, high = maps->maps.cnt;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct proc_map *map = &maps->maps.items[middle];

		if (addr < map->start)
			high = middle;
		else if (addr >= map->end)
			low = middle + 1;
		else
			return map;
	}
	return NULL;
}

/* ---- the file behind a mapping -------------------------------------------------------------- */

/* Whether a file is the mapped one, by what stat(2) says of it. */
enum likeness { FILE_OTHER, FILE_SAME, FILE_UNCLEAR };

/*
 * /proc/PID/maps shows the device of the file system proper; stat(2) shows another one for files of
 * an overlay and of a btrfs subvolume.
 */
static enum likeness compare_numbers(int fd, const struct stat *st, const struct proc_map *map)
{
	struct statfs fs;

	if (st->st_ino == map->ino && st->st_dev == map->dev)
		return FILE_SAME;
	if (fstatfs(fd, &fs))
		return FILE_OTHER;
	if ((unsigned long)fs.f_type == OVERLAYFS_SUPER_MAGIC)
		return ((st->st_ino ^ map->ino) & XINO_MASK) == 0 ? FILE_SAME : FILE_UNCLEAR;
	return (unsigned long)fs.f_type == BTRFS_SUPER_MAGIC && st->st_ino == map->ino ? FILE_SAME
										       : FILE_OTHER;
}

/*
 * Whether a mapping of the file here is shown with the same numbers. Of what was copied up in an
 * overlay stat(2) may show others: before Linux 6.8 (commit 3efdc78fdc21) maps has the upper file's
 * inode and stat the lower one's; after it maps may still have the lower one's, and stat the upper
 * one's, if there are other links to it.
 */
static bool maps_alike(int fd, const struct proc_map *map)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	void *own = mmap(NULL, page_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
	const struct proc_map *shown;
	struct proc_maps maps = {0};
	bool is_alike = false;

	if (own == MAP_FAILED)
		return false;
	if (!proc_maps__read(getpid(), &maps)) {
		shown = proc_maps__find(&maps, (uint64_t)(uintptr_t)own);
		is_alike = shown && shown->dev == map->dev && shown->ino == map->ino;
	}
	proc_maps__free(&maps);
	munmap(own, page_bytes);
	return is_alike;
}

/*
 * Opens for reading what the O_PATH descriptor `fd` (closed here) names, when it is the mapped
 * regular file.
 */
static int reopen_mapped(int fd, const struct proc_map *map)
{
	enum likeness likeness = FILE_OTHER;
	struct stat st;
	int file;

	file = regular_file__stat(fd, &st);
	if (!file)
		likeness = compare_numbers(fd, &st, map);
	if (!file)
		file = likeness == FILE_OTHER ? -ESTALE : regular_file__reopen(fd);
	close(fd);
	if (file >= 0 && likeness == FILE_UNCLEAR && !maps_alike(file, map)) {
		close(file);
		file = -ESTALE;
	}
	return file;
}

static int open_map_files(pid_t pid, const struct proc_map *map)
{
	char *path = format_text("/proc/%d/map_files/%llx-%llx", (int)pid,
				 (unsigned long long)map->start, (unsigned long long)map->end);
	int fd;

	if (!path)
		return -ENOMEM;
	fd = open(path, O_PATH | O_CLOEXEC);
	free(path);
	return fd < 0 ? -errno : reopen_mapped(fd, map);
}

/* Opens the path as seen from `root`; links in it, even absolute ones, stay below that root. */
static int open_below(const char *root, const struct proc_map *map)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd;

	if (root_fd < 0)
		return -errno;
	fd = (int)syscall(SYS_openat2, root_fd, map->path, &how, sizeof(how));
	fd = fd < 0 ? -errno : fd;
	close(root_fd);
	return fd < 0 ? fd : reopen_mapped(fd, map);
}

/* What is needed to open a mapped file, for a child. */
struct map_of {
	pid_t pid;
	const struct proc_map *map;
};

static int open_map(pid_t pid, const struct proc_map *map)
{
	char *root;
	int fd;

	fd = open_map_files(pid, map);
	if (fd >= 0 || map->deleted || map->path[0] != '/')
		return fd;
	/*
	 * No CAP_SYS_ADMIN, or the range was split or merged since: by name, in its namespace, then
	 * in ours.
	 */
	root = format_text("/proc/%d/root", (int)pid);
	if (!root)
		return -ENOMEM;
	fd = open_below(root, map);
	free(root);
	return fd >= 0 ? fd : open_below("/", map);
}

static void try_open_map(const void *arg)
{
	const struct map_of *of = arg;

	open_map(of->pid, of->map);
}

int proc_map__open(pid_t pid, const struct proc_map *map)
{
	int err;

	if (!map->ino)
		return -ENOENT;
	err = remote_mount__try(pid, map->dev, try_open_map,
				&(struct map_of){.pid = pid, .map = map});
	return err ? err : open_map(pid, map);
}

/* ---- lists of processes --------------------------------------------------------------------- */

int proc_list(pid_t **ret_pids, size_t *ret_cnt)
{
	struct pid_list list = {0};
	struct dirent *entry;
	int err = 0;
	char *end;
	DIR *dir;

	dir = opendir("/proc");
	if (!dir)
		return -errno;
	while (!err && (errno = 0, entry = readdir(dir)))
		if (entry->d_name[strspn(entry->d_name, "0123456789")] == '\0')
			err = pid_list__add(&list, entry->d_name, &end);
	if (!err && errno)
		err = -errno;
	closedir(dir);
	if (err)
		array_free(&list.pids);
	else
		pid_list__finish(&list, ret_pids, ret_cnt);
	return err;
}
