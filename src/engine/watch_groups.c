/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/watch_groups.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/hash.h"
#include "model/sweep.h"
#include "util/format.h"

#define STAT_TEXT_MAX 8192 /* of memory.stat: what is read of it stands before that */
#define MOST_FILES 8192	   /* unless the caller says otherwise */
#define RARE_PASSES 8	   /* those without an open file are read once in so many */
#define BALANCE_PASSES 16  /* the largest get the files */

/* ---- the list ---- */

int watch_groups__init_at(struct watch_groups *groups, const char *unified, const char *memory,
			  const char *root)
{
	*groups = (struct watch_groups){
		.mounts.unified = unified ? strdup(unified) : NULL,
		.mounts.memory = memory ? strdup(memory) : NULL,
		.root = strdup(root),
		.max_open = MOST_FILES,
	};
	if (groups->root && !groups->mounts.unified == !unified &&
	    !groups->mounts.memory == !memory)
		return 0;
	watch_groups__destroy(groups);
	return -ENOMEM;
}

int watch_groups__init(struct watch_groups *groups)
{
	struct cgroup_mounts mounts = {0};
	int err;

	if (cgroup_mounts__read(&mounts) == -ENOMEM)
		return -ENOMEM;
	err = watch_groups__init_at(groups, mounts.unified, mounts.memory, "/");
	cgroup_mounts__free(&mounts);
	return err;
}

static void close_file(struct watch_groups *groups, struct watch_group *group)
{
	if (group->fd < 0)
		return;
	close(group->fd);
	group->fd = -1;
	groups->open_cnt--;
}

static void free_group(struct watch_groups *groups, struct watch_group *group)
{
	close_file(groups, group);
	cgroup_name__free(&group->name);
	cgroup_memory__free(&group->limit);
	free(group->path);
	free(group);
}

void watch_groups__destroy(struct watch_groups *groups)
{
	for (size_t i = 0; i < groups->index.cap; i++) {
		struct watch_group *group = NULL, *next;

		if (groups->index.slots[i].used)
			group = (struct watch_group *)groups->index.slots[i].value;
		for (; group; group = next) {
			next = group->next;
			free_group(groups, group);
		}
	}
	hashmap__free(&groups->index);
	cgroup_mounts__free(&groups->mounts);
	free(groups->root);
	*groups = (struct watch_groups){0};
}

static struct watch_group *find_path(struct watch_group *first, const char *path)
{
	while (first && strcmp(first->path, path))
		first = first->next;
	return first;
}

struct watch_group *watch_groups__get(struct watch_groups *groups, const char *path)
{
	uint64_t *first = hashmap__insert(&groups->index, hash_text(path), 0, NULL);
	struct watch_group *group;

	if (!first)
		return NULL;
	group = find_path((struct watch_group *)*first, path);
	if (group) {
		group->refs++;
		return group;
	}
	group = calloc(1, sizeof(*group));
	if (group)
		group->path = strdup(path);
	if (!group || !group->path) {
		if (!*first)
			hashmap__remove(&groups->index, hash_text(path), 0);
		free(group);
		return NULL;
	}
	group->fd = -1;
	group->nr = groups->made_cnt++;
	group->refs = 1;
	group->next = (struct watch_group *)*first;
	*first = (uint64_t)group;
	groups->cnt++;
	return group;
}

struct watch_group *watch_group__ref(struct watch_group *group)
{
	if (group)
		group->refs++;
	return group;
}

void watch_groups__put(struct watch_groups *groups, struct watch_group *group)
{
	uint64_t hash, *first;
	struct watch_group *at;

	if (!group || --group->refs)
		return;
	hash = hash_text(group->path);
	first = hashmap__find(&groups->index, hash, 0);
	at = (struct watch_group *)*first;
	if (at == group && !group->next) {
		hashmap__remove(&groups->index, hash, 0);
	} else if (at == group) {
		*first = (uint64_t)group->next;
	} else {
		while (at->next != group)
			at = at->next;
		at->next = group->next;
	}
	groups->cnt--;
	free_group(groups, group);
}

struct watch_group *watch_groups__above(struct watch_groups *groups,
					const struct watch_group *group)
{
	char *path = strdup(group->path), *slash;
	struct watch_group *above = NULL;
	uint64_t *first;

	while (path && !above && (slash = strrchr(path, '/'))) {
		*slash = '\0';
		first = hashmap__find(&groups->index, hash_text(path), 0);
		above = first ? find_path((struct watch_group *)*first, path) : NULL;
	}
	free(path);
	return above;
}

void watch_groups__each(struct watch_groups *groups,
			void (*visit)(struct watch_group *group, void *target), void *target)
{
	for (size_t i = 0; i < groups->index.cap; i++) {
		if (!groups->index.slots[i].used)
			continue;
		for (struct watch_group *group = (struct watch_group *)groups->index.slots[i].value;
		     group; group = group->next)
			visit(group, target);
	}
}

/* ---- memory ---- */

/* The memory controller is in one hierarchy only. */
static const char *mount_of(const struct watch_groups *groups)
{
	return groups->mounts.memory ? groups->mounts.memory : groups->mounts.unified;
}

static int open_stat(const char *mount, const char *path)
{
	char *name = format_text("%s%s/memory.stat", mount, path);
	int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;

	free(name);
	return fd;
}

static int read_stat(const struct watch_groups *groups, int fd, struct cgroup_stat *ret)
{
	char text[STAT_TEXT_MAX];
	ssize_t len;

	do
		len = pread(fd, text, sizeof(text) - 1, 0);
	while (len < 0 && errno == EINTR);
	if (len < 0)
		return -errno;
	text[len] = '\0';
	return cgroup_stat__parse(ret, text, groups->mounts.memory);
}

/* A group that was made anew under its old path begins anew: it may have other members. Returns a
 * descriptor or -1. */
static int open_group(const struct watch_groups *groups, struct watch_group *group)
{
	const char *mount = mount_of(groups);
	uint64_t id = mount ? cgroup_id(mount, group->path) : 0;
	int fd;

	/* A path that leads elsewhere is not this group's: it has no directory here. */
	fd = id ? open_stat(mount, group->path) : -1;
	if (id != group->id || !group->is_read)
		group->growth = group->shmem_growth = (struct growth){0};
	group->id = id;
	return fd;
}

uint64_t watch_group__bytes(const struct watch_group *group)
{
	uint64_t bytes;

	return __builtin_add_overflow(group->anon_bytes, group->shmem_bytes, &bytes) ? UINT64_MAX
										     : bytes;
}

uint64_t watch_group__recent_shmem(const struct watch_group *group)
{
	uint64_t most = 0;

	for (size_t i = 0; i < GROUP_RECENT; i++)
		if (group->recent_shmem_bytes[i] > most)
			most = group->recent_shmem_bytes[i];
	return most;
}

struct sampling {
	struct watch_groups *groups;
	uint64_t now_ns;
	bool has_swap;
};

static void read_group(const struct sampling *sampling, struct watch_group *group, int fd)
{
	const struct watch_groups *groups = sampling->groups;
	struct cgroup_stat stat;
	uint64_t swapped = 0;

	group->is_read = fd >= 0 && !read_stat(groups, fd, &stat);
	if (!group->is_read)
		return;
	if (sampling->has_swap)
		swapped = cgroup_swapped(mount_of(groups), groups->mounts.memory, group->path);
	if (__builtin_add_overflow(stat.anon_bytes, swapped, &group->anon_bytes))
		group->anon_bytes = UINT64_MAX;
	group->shmem_bytes = stat.shmem_bytes;
	group->recent_shmem_bytes[group->sample_cnt++ % GROUP_RECENT] = stat.shmem_bytes;
	growth__add(&group->growth, sampling->now_ns, watch_group__bytes(group));
	growth__add(&group->shmem_growth, sampling->now_ns, group->shmem_bytes);
}

static void sample(struct watch_group *group, void *target)
{
	const struct sampling *sampling = target;
	struct watch_groups *groups = sampling->groups;
	bool keep = group->fd >= 0 || (groups->open_cnt < groups->max_open &&
				       watch_group__bytes(group) >= groups->least_bytes);
	int fd = group->fd;

	if (!strcmp(group->path, "/"))
		return;
	if (!keep && group->is_read && (groups->pass + group->nr) % RARE_PASSES)
		return;
	if (fd < 0)
		fd = open_group(groups, group);
	read_group(sampling, group, fd);
	if (!group->is_read) {
		if (group->fd < 0 && fd >= 0)
			close(fd);
		close_file(groups, group);
	} else if (group->fd < 0 && keep) {
		group->fd = fd;
		groups->open_cnt++;
	} else if (group->fd < 0) {
		close(fd);
	}
}

/* ---- files ---- */

static int compare_sizes(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left > right ? -1 : left < right;
}

uint64_t least_of_largest(uint64_t *sizes, size_t cnt, size_t max)
{
	if (cnt <= max)
		return 0;
	qsort(sizes, cnt, sizeof(*sizes), compare_sizes);
	return sizes[max] < UINT64_MAX ? sizes[max] + 1 : UINT64_MAX;
}

struct size_list {
	uint64_t *items;
	size_t cnt;
};

static void list_size(struct watch_group *group, void *target)
{
	struct size_list *sizes = target;

	if (group->is_read)
		sizes->items[sizes->cnt++] = watch_group__bytes(group);
}

static void close_small(struct watch_group *group, void *target)
{
	struct watch_groups *groups = target;

	if (watch_group__bytes(group) < groups->least_bytes)
		close_file(groups, group);
}

/* Where files do not reach for all, the smallest groups give theirs back. */
static int balance_files(struct watch_groups *groups)
{
	struct size_list sizes = {0};

	if (groups->pass % BALANCE_PASSES)
		return 0;
	groups->least_bytes = 0;
	if (groups->cnt <= groups->max_open)
		return 0;
	sizes.items = malloc(groups->cnt * sizeof(*sizes.items));
	if (!sizes.items)
		return -ENOMEM;
	watch_groups__each(groups, list_size, &sizes);
	groups->least_bytes = least_of_largest(sizes.items, sizes.cnt, groups->max_open);
	free(sizes.items);
	watch_groups__each(groups, close_small, groups);
	return 0;
}

int watch_groups__sample(struct watch_groups *groups, uint64_t now_ns, bool has_swap)
{
	struct sampling sampling = {.groups = groups, .now_ns = now_ns, .has_swap = has_swap};
	int err;

	watch_groups__each(groups, sample, &sampling);
	err = balance_files(groups);
	groups->pass++;
	return err;
}

int watch_group__limit(const struct watch_groups *groups, const struct watch_group *group,
		       uint64_t swap_free_bytes, struct cgroup_memory *ret)
{
	const char *mount = mount_of(groups);

	return mount ? cgroup_memory__find_with_swap(mount, groups->mounts.memory, group->path,
						     swap_free_bytes, ret)
		     : -ENOENT;
}

int watch_group__oom_kills(const struct watch_groups *groups, const struct watch_group *group,
			   uint64_t *ret)
{
	const char *mount = mount_of(groups);

	return mount ? cgroup_oom_kills(mount, groups->mounts.memory, group->path, ret) : -ENOENT;
}

void watch_group__read_ooms(const struct watch_groups *groups, struct watch_group *group)
{
	const char *mount = mount_of(groups);

	if (mount)
		oom_levels__read(&group->ooms, mount, groups->mounts.memory, group->path);
}

struct hit {
	const char *path; /* whose limit it was */
	size_t level;
	struct oom_level as;
};

static void note_hit(struct watch_group *group, void *target)
{
	const struct hit *hit = target;

	if (hit->level < group->ooms.cnt && sweep_limit__has(hit->path, group->path))
		group->ooms.items[hit->level] = hit->as;
}

enum oom_limit watch_group__find_hit(struct watch_groups *groups, struct watch_group *group,
				     uint64_t pass, char **ret_path, uint64_t *ret_bytes)
{
	const char *mount = mount_of(groups);
	enum oom_limit limit;
	struct hit hit;
	size_t len;

	*ret_path = NULL;
	if (!mount)
		return OOM_LIMIT_UNKNOWN;
	limit = oom_levels__judge(&group->ooms, mount, groups->mounts.memory, group->path, pass,
				  &hit.level);
	if (limit != OOM_LIMIT_GROUP)
		return limit;
	len = oom_level__len(group->path, hit.level);
	*ret_path = len ? strndup(group->path, len) : strdup("/");
	if (!*ret_path)
		return OOM_LIMIT_UNKNOWN;
	hit.path = *ret_path;
	hit.as = group->ooms.items[hit.level];
	watch_groups__each(groups, note_hit, &hit);
	if (!cgroup_limit__read(mount, groups->mounts.memory, *ret_path, ret_bytes))
		return groups->mounts.memory ? OOM_LIMIT_LIKELY : OOM_LIMIT_GROUP;
	free(*ret_path);
	*ret_path = NULL;
	return OOM_LIMIT_UNKNOWN;
}

/* ---- names ---- */

const struct cgroup_name *watch_group__name(struct watch_groups *groups, struct watch_group *group)
{
	if (!group->has_name && !cgroup_name__of(group->path, groups->root, &group->name))
		group->has_name = true;
	return group->has_name ? &group->name : NULL;
}

bool cgroup_name__is_service(const struct cgroup_name *name)
{
	const char *end = strrchr(name->service, '.');

	return name->runtime != RUNTIME_NONE ||
	       (end && !strcmp(end, ".service") && strncmp(name->service, "user@", 5));
}
