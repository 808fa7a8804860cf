/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/watch_groups.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/hash.h"
#include "util/format.h"

#define STAT_TEXT_MAX 8192 /* of memory.stat: what is read of it stands before that */
#define MAX_SAMPLED 8192   /* groups whose memory is read; each keeps a file open */

/* ---- the list ---- */

int watch_groups__init_at(struct watch_groups *groups, const char *unified, const char *memory,
			  const char *root)
{
	*groups = (struct watch_groups){
		.mounts.unified = unified ? strdup(unified) : NULL,
		.mounts.memory = memory ? strdup(memory) : NULL,
		.root = strdup(root),
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

static void free_group(struct watch_group *group)
{
	if (group->fd >= 0)
		close(group->fd);
	cgroup_name__free(&group->name);
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
			free_group(group);
		}
	}
	hashmap__free(&groups->index);
	cgroup_mounts__free(&groups->mounts);
	free(groups->root);
	*groups = (struct watch_groups){0};
}

struct watch_group *watch_groups__get(struct watch_groups *groups, const char *path)
{
	uint64_t *first = hashmap__insert(&groups->index, hash_text(path), 0, NULL);
	struct watch_group *group;

	if (!first)
		return NULL;
	for (group = (struct watch_group *)*first; group; group = group->next) {
		if (strcmp(group->path, path))
			continue;
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
	group->refs = 1;
	group->next = (struct watch_group *)*first;
	*first = (uint64_t)group;
	groups->cnt++;
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
	free_group(group);
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

static int open_stat(const struct watch_groups *groups, const struct watch_group *group)
{
	const char *mount = mount_of(groups);
	char *name;
	int fd;

	/* A path that leads elsewhere is not this group's: it has no directory here. */
	if (!mount || !cgroup_id(mount, group->path))
		return -1;
	name = format_text("%s%s/memory.stat", mount, group->path);
	fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
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

struct sampling {
	const struct watch_groups *groups;
	uint64_t now_ns;
};

/* A group that was made anew under its old path begins anew: it may have other members. */
static void sample(struct watch_group *group, void *target)
{
	const struct sampling *sampling = target;
	struct cgroup_stat stat;

	if (!strcmp(group->path, "/"))
		return;
	if (group->fd < 0) {
		group->fd = open_stat(sampling->groups, group);
		if (group->fd >= 0)
			group->growth = (struct growth){0};
	}
	if (group->fd < 0)
		return;
	if (read_stat(sampling->groups, group->fd, &stat)) {
		close(group->fd);
		group->fd = -1;
		return;
	}
	group->anon_bytes = stat.anon_bytes;
	growth__add(&group->growth, sampling->now_ns, stat.anon_bytes);
}

void watch_groups__sample(struct watch_groups *groups, uint64_t now_ns)
{
	struct sampling sampling = {.groups = groups, .now_ns = now_ns};

	if (groups->cnt <= MAX_SAMPLED)
		watch_groups__each(groups, sample, &sampling);
}

int watch_group__limit(const struct watch_groups *groups, const struct watch_group *group,
		       struct cgroup_memory *ret)
{
	const char *mount = mount_of(groups);

	return mount ? cgroup_memory__find(mount, groups->mounts.memory, group->path, ret)
		     : -ENOENT;
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
