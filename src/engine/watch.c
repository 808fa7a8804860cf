/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A pass costs a listing of /proc and one pread a process. A file of /proc/PID that is open belongs
 * to that very process: once it has ended, reading fails, whoever has its number then. Processes
 * without a file (there are more than files) are told apart by their start time.
 */
#include "engine/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "util/procfs_read.h"

#define REFRESH_PASSES 64 /* a process may be moved, or exec */
#define RARE_PASSES 8	  /* those without an open file are read once in so many */
#define BALANCE_PASSES 16 /* the largest get the files */
#define FILES_FOR_OTHERS 64
#define MOST_FILES 32768
#define PROCESSES_PER_GROUP 4 /* by the files that are kept open */
#define WANTED_FILES (MOST_FILES + MOST_FILES / PROCESSES_PER_GROUP + FILES_FOR_OTHERS)

/*
 * The kernel counts pages per CPU and adds a batch of them up at a time (percpu_counter, lib/): one
 * thread's memory is seen in steps of one batch, that of threads on several CPUs in several.
 */
#define LEAST_BATCH_PAGES 32
#define BATCHES 2

uint64_t watch__noise_bytes(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF), page = sysconf(_SC_PAGESIZE);
	long batch = 2 * cpus > LEAST_BATCH_PAGES ? 2 * cpus : LEAST_BATCH_PAGES;

	return (uint64_t)(BATCHES * batch * page);
}

size_t watch__raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return 0;
	if (limit.rlim_max < WANTED_FILES)
		setrlimit(RLIMIT_NOFILE, &(struct rlimit){WANTED_FILES, WANTED_FILES});
	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < WANTED_FILES) {
		limit.rlim_cur = limit.rlim_max < WANTED_FILES ? limit.rlim_max : WANTED_FILES;
		setrlimit(RLIMIT_NOFILE, &limit);
		getrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_cur >= WANTED_FILES)
		return MOST_FILES;
	return limit.rlim_cur > FILES_FOR_OTHERS
		       ? (limit.rlim_cur - FILES_FOR_OTHERS) / (PROCESSES_PER_GROUP + 1) *
				 PROCESSES_PER_GROUP
		       : 0;
}

static enum proc_anon_source choose_source(void)
{
	struct host_memory host;

	return !host_memory__read(&host) && host.swap ? PROC_ANON_STATUS : PROC_ANON_STATM;
}

int watch__init(struct watch *watch, const struct watch_opts *opts)
{
	int err;

	*watch = (struct watch){.opts = *opts, .source = choose_source()};
	watch_kills__init(&watch->kills);
	err = watch_groups__init(&watch->groups);
	watch->groups.max_open = opts->max_open / PROCESSES_PER_GROUP;
	return err;
}

/* ---- one process ---- */

static void close_file(struct watch *watch, struct watched *item)
{
	if (item->fd < 0)
		return;
	close(item->fd);
	item->fd = -1;
	watch->open_cnt--;
}

static void drop(struct watch *watch, struct watched *item)
{
	close_file(watch, item);
	watch_groups__put(&watch->groups, item->group);
	free(item->growth);
	free(item->life);
	item->group = NULL;
	item->growth = NULL;
	item->life = NULL;
}

void watch__destroy(struct watch *watch)
{
	for (size_t i = 0; i < watch->items.cnt; i++)
		drop(watch, &watch->items.items[i]);
	array_free(&watch->items);
	watch_services__clear(watch);
	watch_kills__destroy(watch);
	watch_groups__destroy(&watch->groups);
}

static int set_group(struct watch *watch, struct watched *item)
{
	char *path = proc_thread_cgroup(item->pid, item->thread);
	struct watch_group *group;

	if (!path) /* it has ended, or there are no groups: what was known stays */
		return 0;
	if (item->group && !strcmp(item->group->path, path)) {
		free(path);
		return 0;
	}
	group = watch_groups__get(&watch->groups, path);
	free(path);
	if (!group)
		return -ENOMEM;
	watch_groups__put(&watch->groups, item->group);
	item->group = group;
	return 0;
}

/* Reads what the kernel tells of the very process. Returns 0, -ESRCH or another negative errno. */
static int read_info(const struct watched *item, struct proc_info *ret)
{
	int err = proc_info__read(item->pid, ret);

	return !err && ret->start_ns != item->start_ns ? -ESRCH : err;
}

/* One that is not reaped yet is in no group any more (v1): what was known stays. */
int watch__refresh(struct watch *watch, struct watched *item)
{
	struct proc_info info;
	int err;

	err = read_info(item, &info);
	if (err)
		return err;
	memcpy(item->comm, info.comm, sizeof(item->comm));
	return info.zombie && !item->thread ? 0 : set_group(watch, item);
}

/* Returns 0, -ESRCH or another negative errno. */
static int find_process(struct watch *watch, pid_t pid, uint64_t now_ns, struct watched *ret)
{
	struct watched item = {.pid = pid, .fd = -1, .found_ns = now_ns};
	struct proc_info info;
	int err;

	err = proc_info__read(pid, &info);
	if (err)
		return err;
	item.start_ns = info.start_ns;
	item.first = (struct watch_first){.pid = pid, .start_ns = info.start_ns};
	memcpy(item.comm, info.comm, sizeof(item.comm));
	if (!info.kernel_thread) {
		item.growth = calloc(1, sizeof(*item.growth));
		err = item.growth ? set_group(watch, &item) : -ENOMEM;
	}
	if (err)
		drop(watch, &item);
	else
		*ret = item;
	return err;
}

/* Takes the process off the list. */
static void end_process(struct watch *watch, struct watched *item, uint64_t now_ns)
{
	watch_kills__end(watch, item);
	watch_services__end(watch, item, now_ns);
	drop(watch, item);
}

/* ---- reading ---- */

/* Opens the file of the very process. Returns a descriptor, -ESRCH or another negative errno. */
static int open_file(const struct watch *watch, const struct watched *item)
{
	int fd = proc_anon__open(item->pid, item->thread, watch->source);
	struct proc_info info;
	int err;

	if (fd < 0)
		return fd;
	err = read_info(item, &info);
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* Whether it is the turn of a process that is not looked at in each pass. */
static bool is_turn(const struct watch *watch, const struct watched *item)
{
	return (watch->pass + (uint64_t)item->pid) % RARE_PASSES == 0;
}

/* The thread that told the memory has left: another one tells the same. A process that is not
 * reaped yet has none. Returns 0, -ESRCH or another negative errno. */
static int change_thread(struct watch *watch, struct watched *item)
{
	struct proc_info info;
	int err;

	close_file(watch, item);
	item->thread = 0;
	err = read_info(item, &info);
	if (err)
		return err;
	item->thread = proc_anon__find_thread(item->pid, watch->source);
	return item->thread ? set_group(watch, item) : 0;
}

static void add_sample(struct watched *item, uint64_t now_ns)
{
	item->recent_bytes[item->passes % WATCH_RECENT] = item->anon_bytes;
	if (now_ns < item->held_ns)
		return;
	growth__add(item->growth, now_ns, item->anon_bytes);
	if (item->life)
		growth__add(&item->life->own, now_ns, item->anon_bytes);
}

/* Returns 0 (also when it is not its turn), -ESRCH or another negative errno. */
static int read_process(struct watch *watch, struct watched *item, uint64_t now_ns)
{
	bool keep = item->fd >= 0 || (watch->open_cnt < watch->opts.max_open &&
				      item->anon_bytes >= watch->least_bytes);
	int fd = item->fd, err;

	if (!keep && item->passes && !is_turn(watch, item))
		return 0;
	if (fd < 0)
		fd = open_file(watch, item);
	if (fd == -ESRCH && item->thread)
		return change_thread(watch, item);
	if (fd < 0)
		return fd;
	err = proc_anon__read(fd, watch->source, &item->anon_bytes);
	if (!err)
		add_sample(item, now_ns);
	if (item->fd < 0 && keep && err != -ESRCH) {
		item->fd = fd;
		watch->open_cnt++;
	} else if (item->fd < 0) {
		close(fd);
	}
	if ((err == -ENODATA && is_turn(watch, item)) || (err == -ESRCH && item->thread))
		return change_thread(watch, item);
	return err == -ESRCH ? err : 0;
}

/* Where files do not reach for all, the smallest processes give theirs back. */
static int balance_files(struct watch *watch)
{
	size_t cnt = 0;
	uint64_t *sizes;

	if (watch->pass % BALANCE_PASSES)
		return 0;
	watch->least_bytes = 0;
	if (watch->items.cnt <= watch->opts.max_open)
		return 0;
	sizes = malloc(watch->items.cnt * sizeof(*sizes));
	if (!sizes)
		return -ENOMEM;
	for (size_t i = 0; i < watch->items.cnt; i++)
		if (watch->items.items[i].growth)
			sizes[cnt++] = watch->items.items[i].anon_bytes;
	watch->least_bytes = least_of_largest(sizes, cnt, watch->opts.max_open);
	free(sizes);
	for (size_t i = 0; i < watch->items.cnt; i++)
		if (watch->items.items[i].anon_bytes < watch->least_bytes)
			close_file(watch, &watch->items.items[i]);
	return 0;
}

/* Swap that came or went makes another file the right one. */
static void check_source(struct watch *watch)
{
	enum proc_anon_source source;

	if (watch->pass % REFRESH_PASSES)
		return;
	source = choose_source();
	if (source == watch->source)
		return;
	for (size_t i = 0; i < watch->items.cnt; i++)
		close_file(watch, &watch->items.items[i]);
	watch->source = source;
}

static int sample_process(struct watch *watch, struct watched *item, uint64_t now_ns)
{
	int err = 0;

	if (!item->growth)
		return 0;
	if (item->passes == 1 || (item->passes + (uint32_t)item->pid) % REFRESH_PASSES == 0)
		err = watch__refresh(watch, item);
	if (!err)
		err = watch_services__follow(watch, item, now_ns);
	if (!err)
		err = read_process(watch, item, now_ns);
	item->passes++;
	return err;
}

/* ---- passes ---- */

static int list_processes(const struct watch *watch, pid_t **ret_pids, size_t *ret_cnt)
{
	struct pid_list list = {0};
	int err = 0;

	if (!watch->opts.cgroup_cnt)
		return proc_list(ret_pids, ret_cnt);
	for (size_t i = 0; i < watch->opts.cgroup_cnt && !err; i++) {
		pid_t *pids = NULL;
		size_t cnt = 0;

		err = proc_list_cgroup(watch->opts.cgroups[i], &pids, &cnt);
		if (err == -ENOENT) /* it may come back */
			err = 0;
		for (size_t j = 0; j < cnt && !err; j++)
			err = array_push(&list.pids, pids[j]);
		free(pids);
	}
	if (err)
		array_free(&list.pids);
	else
		pid_list__finish(&list, ret_pids, ret_cnt);
	return err;
}

static int compare_items(const void *a, const void *b)
{
	const struct watched *left = a, *right = b;

	return left->pid < right->pid ? -1 : left->pid > right->pid;
}

/* Ends those that are not listed any more. */
static void end_unlisted(struct watch *watch, const pid_t *pids, size_t cnt, uint64_t now_ns)
{
	size_t kept = 0, at = 0;

	for (size_t i = 0; i < watch->items.cnt; i++) {
		struct watched *item = &watch->items.items[i];

		while (at < cnt && pids[at] < item->pid)
			at++;
		if (at < cnt && pids[at] == item->pid)
			watch->items.items[kept++] = *item;
		else
			end_process(watch, item, now_ns);
	}
	watch->items.cnt = kept;
}

/* Adds those that are listed for the first time. Returns 0 or -ENOMEM. */
static int add_listed(struct watch *watch, const pid_t *pids, size_t cnt, uint64_t now_ns)
{
	size_t known = watch->items.cnt, at = 0;
	struct watched item;
	int err = 0;

	watch->left_out = 0;
	for (size_t i = 0; i < cnt && err != -ENOMEM; i++) {
		while (at < known && watch->items.items[at].pid < pids[i])
			at++;
		if ((at < known && watch->items.items[at].pid == pids[i]) || pids[i] == getpid())
			continue;
		if (watch->items.cnt >= watch->opts.max_procs) {
			watch->left_out++;
			continue;
		}
		err = find_process(watch, pids[i], now_ns, &item);
		if (err)
			continue;
		err = array_push(&watch->items, item);
		if (err)
			drop(watch, &item);
	}
	if (watch->items.cnt > known)
		qsort(watch->items.items, watch->items.cnt, sizeof(item), compare_items);
	return err == -ENOMEM ? err : 0;
}

/* Samples all; who turns out to have ended leaves the list. Returns 0 or -ENOMEM. */
static int sample_all(struct watch *watch, uint64_t now_ns)
{
	size_t kept = 0;
	int err = 0;

	for (size_t i = 0; i < watch->items.cnt; i++) {
		struct watched *item = &watch->items.items[i];
		int lost = err ? 0 : sample_process(watch, item, now_ns);

		err = lost == -ENOMEM ? lost : err;
		if (lost == -ESRCH)
			end_process(watch, item, now_ns);
		else
			watch->items.items[kept++] = *item;
	}
	watch->items.cnt = kept;
	return err;
}

int watch__pass(struct watch *watch, uint64_t now_ns)
{
	pid_t *pids = NULL;
	size_t cnt = 0;
	int err;

	err = list_processes(watch, &pids, &cnt);
	if (err)
		return err;
	check_source(watch);
	watch_services__forget(watch, now_ns);
	end_unlisted(watch, pids, cnt, now_ns);
	err = add_listed(watch, pids, cnt, now_ns);
	free(pids);
	if (!err)
		err = sample_all(watch, now_ns);
	if (!err)
		err = balance_files(watch);
	if (!err)
		err = watch_groups__sample(&watch->groups, now_ns,
					   watch->source == PROC_ANON_STATUS);
	if (!err)
		err = watch_kills__pass(watch, now_ns);
	watch->pass++;
	return err;
}
