/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/host_allocs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- files ----------------------------------------------------------------------------------- */

static int count_sites(struct host_file *file)
{
	struct attach_plan plan;
	int err;

	/* The counts are the same in all modes. */
	err = attach_plan__make(&file->allocs, LINK_PERF, &plan);

	if (err)
		return err;
	file->emulated_cnt = plan.emulated_cnt;
	file->stepped_cnt = plan.stepped_cnt;
	attach_plan__free(&plan);
	return 0;
}

static int read_file(struct host_allocs *allocs, struct host_file *file, pid_t pid,
		     const struct proc_map *map)
{
	int fd = proc_map__open(pid, map);
	uint64_t subvolume;

	if (fd < 0) {
		file->err = fd;
		return 0;
	}
	subvolume = subvolumes__note(&allocs->subvolumes, map, fd);
	file->dev = subvolume ? subvolume : file->dev;
	file->err = elf_allocs__read(fd, NULL, &file->allocs);
	close(fd);
	return file->err == -ENOMEM ? -ENOMEM : count_sites(file);
}

/* Returns the device by which a mapping's file is known. */
static uint64_t device_of(const struct host_allocs *allocs, pid_t pid, const struct proc_map *map)
{
	uint64_t subvolume = subvolumes__find(&allocs->subvolumes, pid, map);

	return subvolume ? subvolume : map->dev;
}

/* That it is in a subvolume may have shown only when it was read. */
static int add_file(struct host_allocs *allocs, struct host_file file)
{
	uint64_t *slot;
	bool is_new;

	if (array_push(&allocs->files, file))
		return -ENOMEM;
	slot = hashmap__insert(&allocs->by_inode, file.dev, file.ino, &is_new);
	if (slot && is_new)
		*slot = allocs->files.cnt - 1;
	return 0;
}

/* Returns the file behind a mapping, read at first sight; NULL: no memory. */
static struct host_file *file_of(struct host_allocs *allocs, pid_t pid, const struct proc_map *map)
{
	uint64_t dev = device_of(allocs, pid, map);
	struct host_file file = {.dev = dev, .ino = map->ino, .deleted = map->deleted};
	bool is_new;
	uint64_t *slot = hashmap__insert(&allocs->by_inode, dev, map->ino, &is_new);

	if (!slot)
		return NULL;
	if (!is_new) {
		struct host_file *known = &allocs->files.items[*slot];

		/* Its file system may have come back. */
		return known->err == -ETIMEDOUT && read_file(allocs, known, pid, map) ? NULL
										      : known;
	}
	*slot = allocs->files.cnt;
	file.path = strdup(map->path);
	if (!file.path || read_file(allocs, &file, pid, map) || add_file(allocs, file)) {
		elf_allocs__free(&file.allocs);
		free(file.path);
		hashmap__remove(&allocs->by_inode, dev, map->ino);
		return NULL;
	}
	return &allocs->files.items[allocs->files.cnt - 1];
}

/* ---- processes ------------------------------------------------------------------------------- */

/* Takes over `exe`. */
static int add_unfollowed(struct host_allocs *allocs, const struct proc_info *info, char *exe,
			  const char *reason, int err)
{
	struct host_unfollowed process = {
		.pid = info->pid,
		.exe = exe,
		.rss_bytes = proc_rss_bytes(info->pid),
		.reason = reason,
		.err = err,
	};

	memcpy(process.comm, info->comm, sizeof(process.comm));
	if (array_push(&allocs->unfollowed, process)) {
		free(exe);
		return -ENOMEM;
	}
	return 0;
}

/* Returns the file that code is mapped from, seen before, or NULL. */
static const struct host_file *find_file(const struct host_allocs *allocs, pid_t pid,
					 const struct proc_map *map)
{
	const uint64_t *index;

	if (!map->executable || !map->ino)
		return NULL;
	index = hashmap__find(&allocs->by_inode, device_of(allocs, pid, map), map->ino);
	return index ? &allocs->files.items[*index] : NULL;
}

/*
 * Nothing of the process can be probed: says why, by what its files lost, by its own file and by
 * files that could not be read.
 */
static int explain(struct host_allocs *allocs, const struct proc_info *info,
		   const struct proc_maps *maps)
{
	const char *reason = "no allocator functions found: a stripped static program, or an "
			     "allocator of its own; name them with --alloc-fn and --free-fn";
	const char *loss = NULL;
	char *exe = proc_exe(info->pid);
	int err = 0;

	for (size_t i = 0; i < maps->maps.cnt; i++) {
		const struct proc_map *map = &maps->maps.items[i];
		const struct host_file *file = find_file(allocs, info->pid, map);

		if (file && !loss)
			loss = elf_allocs__loss(&file->allocs, NULL);
		if (!file || !file->err || (err && exe && strcmp(exe, map->path)))
			continue;
		err = file->err;
		if (exe && !strcmp(exe, map->path))
			break;
	}
	if (loss)
		return add_unfollowed(allocs, info, exe, loss, 0);
	if (err == -ENOTSUP)
		reason = "a 32-bit or foreign program: only native 64-bit code can be traced";
	else if (err == -EBADMSG)
		reason = "its ELF headers are broken";
	else if (err == -ETIMEDOUT)
		reason = "its code is on a file system that does not answer";
	else if (err && err != -ENOEXEC)
		reason = "its code cannot be read";
	else
		err = 0;
	return add_unfollowed(allocs, info, exe, reason,
			      err == -ENOTSUP || err == -EBADMSG || err == -ETIMEDOUT ? 0 : err);
}

static int scan_maps(struct host_allocs *allocs, const struct proc_info *info,
		     const struct proc_maps *maps)
{
	size_t code_cnt = 0, found = 0;

	for (size_t i = 0; i < maps->maps.cnt; i++) {
		const struct proc_map *map = &maps->maps.items[i];
		struct host_file *file;

		if (!map->executable || !map->ino)
			continue;
		file = file_of(allocs, info->pid, map);
		if (!file)
			return -ENOMEM;
		code_cnt++;
		found += file->allocs.sites.cnt;
		file->proc_cnt += file->last_pid != info->pid;
		file->last_pid = info->pid;
	}
	allocs->proc_cnt += code_cnt != 0;
	/* Without code it has just ended. */
	return code_cnt && !found ? explain(allocs, info, maps) : 0;
}

static int scan_process(struct host_allocs *allocs, pid_t pid)
{
	struct proc_maps maps = {0};
	struct proc_info info;
	int err;

	if (pid == getpid() || proc_info__read(pid, &info) || info.kernel_thread || info.zombie)
		return 0;
	err = proc_maps__read(pid, &maps);
	if (err == -ESRCH || err == -ENOMEM)
		return err == -ESRCH ? 0 : err;
	if (err) {
		allocs->proc_cnt++;
		return add_unfollowed(allocs, &info, proc_exe(pid), "its mappings cannot be read",
				      err);
	}
	err = scan_maps(allocs, &info, &maps);
	proc_maps__free(&maps);
	return err;
}

bool host_unfollowed__is_denied(const struct host_unfollowed *process)
{
	return process->err == -EACCES || process->err == -EPERM;
}

static int compare_files(const void *a, const void *b)
{
	const struct host_file *left = a, *right = b;
	bool has_left = left->allocs.allocator, has_right = right->allocs.allocator;

	if (has_left != has_right)
		return has_left ? -1 : 1;
	if (left->proc_cnt != right->proc_cnt)
		return left->proc_cnt > right->proc_cnt ? -1 : 1;
	return strcmp(left->path, right->path);
}

static int compare_unfollowed(const void *a, const void *b)
{
	const struct host_unfollowed *left = a, *right = b;

	if (left->rss_bytes != right->rss_bytes)
		return left->rss_bytes > right->rss_bytes ? -1 : 1;
	return left->pid < right->pid ? -1 : left->pid > right->pid;
}

int host_allocs__scan(struct host_allocs *ret)
{
	struct host_allocs allocs = {0};
	pid_t *pids = NULL;
	size_t cnt = 0;
	int err;

	err = proc_list(&pids, &cnt);
	for (size_t i = 0; i < cnt && !err; i++)
		err = scan_process(&allocs, pids[i]);
	free(pids);
	if (err) {
		host_allocs__free(&allocs);
		return err;
	}
	hashmap__free(&allocs.by_inode); /* its indexes end here */
	if (allocs.files.cnt)
		qsort(allocs.files.items, allocs.files.cnt, sizeof(*allocs.files.items),
		      compare_files);
	if (allocs.unfollowed.cnt)
		qsort(allocs.unfollowed.items, allocs.unfollowed.cnt,
		      sizeof(*allocs.unfollowed.items), compare_unfollowed);
	while (allocs.allocator_cnt < allocs.files.cnt &&
	       allocs.files.items[allocs.allocator_cnt].allocs.allocator)
		allocs.allocator_cnt++;
	*ret = allocs;
	return 0;
}

void host_allocs__free(struct host_allocs *allocs)
{
	for (size_t i = 0; i < allocs->files.cnt; i++) {
		free(allocs->files.items[i].path);
		elf_allocs__free(&allocs->files.items[i].allocs);
	}
	for (size_t i = 0; i < allocs->unfollowed.cnt; i++)
		free(allocs->unfollowed.items[i].exe);
	array_free(&allocs->files);
	array_free(&allocs->unfollowed);
	hashmap__free(&allocs->by_inode);
	subvolumes__free(&allocs->subvolumes);
}

/* ---- what it would cost ---------------------------------------------------------------------- */

/*
 * Returns the function with this cookie that is most likely the one everybody calls: malloc before
 * je_malloc or valloc.
 */
static const struct alloc_site *find_site(const struct elf_allocs *allocs, uint64_t cookie,
					  const char *name)
{
	const struct alloc_site *best = NULL;
	int best_score = 0;

	for (size_t i = 0; i < allocs->sites.cnt; i++) {
		const struct alloc_site *site = &allocs->sites.items[i];
		size_t len = strlen(site->symbol), name_len = strlen(name);
		int score = 1;

		if (site->cookie != cookie)
			continue;
		if (len >= name_len && !strcmp(site->symbol + len - name_len, name))
			score = len == name_len ? 3 : 2;
		if (score > best_score) {
			best = site;
			best_score = score;
		}
	}
	return best;
}

bool predict_pair_ns(const struct elf_allocs *allocs, const struct trap_costs *costs,
		     double *ret_ns)
{
	const struct alloc_site *alloc =
		find_site(allocs, ALLOC_FN(ALLOC_OP_ALLOC, 1, 0, 0, 0), "malloc");
	const struct alloc_site *release =
		find_site(allocs, ALLOC_FN(ALLOC_OP_FREE, 0, 0, 1, 0), "free");
	double ns = costs->call_return_ns;

	if (!alloc || !release)
		return false;
	if (alloc->cost == PROBE_STEPPED)
		ns += costs->stepped_ns - costs->emulated_ns;
	ns += release->cost == PROBE_STEPPED ? costs->stepped_ns : costs->emulated_ns;
	*ret_ns = ns;
	return true;
}
