/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/groups.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "discover/cgroup_name.h"
#include "discover/container_state.h"
#include "model/hash.h"
#include "util/array.h"
#include "util/clock.h"
#include "util/hashmap.h"
#include "util/procfs.h"
#include "util/procfs_memory.h"

#define LEAST_GROWTH_NS NS_PER_SEC
#define NS_PER_MINUTE (60.0 * NS_PER_SEC)
#define LEAST_SWEPT 256 /* so few groups are not worth a look at which of them have gone */

struct first_sample {
	bool is_taken;
	uint64_t taken_ns, anon_bytes;
};

struct known_group {
	char *path;	   /* owned */
	const char *mount; /* of the hierarchy it is in; NULL = in none that is mounted */
	uint64_t id;	   /* of its directory, 0 = none */
	bool has_name;
	struct cgroup_name name; /* owned, once a report has wanted it */
	struct first_sample first;
	char *limit_path;		 /* owned: a group above, of which the limit is, or NULL */
	struct first_sample limit_first; /* of that one */
	char *lost_path; /* owned: the group that its losses are counted for, or NULL */
	uint32_t group;	 /* in the snapshot that is being filled, SNAP_NONE = in none */
};

struct groups {
	struct cgroup_mounts mounts;
	char *root;
	ARRAY(struct known_group) items;
	struct hashmap index;	 /* {hash of the path, probe} -> item */
	struct runc_groups runc; /* for one report: all of them are read for any of them */
	bool has_runc;
	size_t sweep_at; /* so many groups before those that have gone are forgotten */
};

/* ---- the list ---- */

static void free_known(struct known_group *known)
{
	free(known->path);
	free(known->limit_path);
	free(known->lost_path);
	cgroup_name__free(&known->name);
}

void groups__free(struct groups *groups)
{
	if (!groups)
		return;
	for (size_t i = 0; i < groups->items.cnt; i++)
		free_known(&groups->items.items[i]);
	array_free(&groups->items);
	hashmap__free(&groups->index);
	runc_groups__free(&groups->runc);
	cgroup_mounts__free(&groups->mounts);
	free(groups->root);
	free(groups);
}

static struct groups *new_groups(const char *root)
{
	struct groups *groups = calloc(1, sizeof(*groups));

	if (!groups)
		return NULL;
	groups->sweep_at = LEAST_SWEPT;
	groups->root = strdup(root);
	if (groups->root)
		return groups;
	groups__free(groups);
	return NULL;
}

struct groups *groups__new(void)
{
	struct groups *groups = new_groups("/");

	if (!groups || cgroup_mounts__read(&groups->mounts) != -ENOMEM)
		return groups;
	groups__free(groups);
	return NULL;
}

struct groups *groups__new_at(const char *unified, const char *memory, const char *root)
{
	struct groups *groups = new_groups(root);

	if (!groups)
		return NULL;
	groups->mounts.unified = unified ? strdup(unified) : NULL;
	groups->mounts.memory = memory ? strdup(memory) : NULL;
	if (!groups->mounts.unified == !unified && !groups->mounts.memory == !memory)
		return groups;
	groups__free(groups);
	return NULL;
}

/* Returns the group's number, or SNAP_NONE; *ret_probe is then the free place of its hash. */
static uint32_t find_known(const struct groups *groups, const char *path, uint64_t *ret_probe)
{
	uint64_t hash = hash_text(path), *found;

	for (*ret_probe = 0; (found = hashmap__find(&groups->index, hash, *ret_probe));
	     ++*ret_probe)
		if (!strcmp(groups->items.items[*found].path, path))
			return *found;
	return SNAP_NONE;
}

static int index_known(struct groups *groups, uint32_t item)
{
	const char *path = groups->items.items[item].path;
	uint64_t probe, *place;

	find_known(groups, path, &probe);
	place = hashmap__insert(&groups->index, hash_text(path), probe, NULL);
	if (!place)
		return -ENOMEM;
	*place = item;
	return 0;
}

/*
 * The memory controller is in one hierarchy only: where v1 has it, v2 has only the name. Another
 * group of the same path has nothing of the one before.
 */
static void find_directory(const struct groups *groups, struct known_group *known)
{
	const struct cgroup_mounts *mounts = &groups->mounts;
	uint64_t id = known->id;

	known->mount = mounts->memory;
	known->id = mounts->memory ? cgroup_id(mounts->memory, known->path) : 0;
	if (!known->id && mounts->unified) {
		known->mount = mounts->unified;
		known->id = cgroup_id(mounts->unified, known->path);
	}
	if (known->id == id)
		return;
	cgroup_name__free(&known->name);
	known->has_name = known->first.is_taken = known->limit_first.is_taken = false;
}

/* Forgets groups that are in no snapshot and whose directory has gone. Returns 0 or -ENOMEM. */
static int sweep(struct groups *groups)
{
	size_t kept = 0;
	int err = 0;

	for (size_t i = 0; i < groups->items.cnt; i++) {
		struct known_group *known = &groups->items.items[i];

		if (known->group == SNAP_NONE)
			find_directory(groups, known);
		if (known->group == SNAP_NONE && !known->id)
			free_known(known);
		else
			groups->items.items[kept++] = *known;
	}
	groups->items.cnt = kept;
	groups->sweep_at = kept < LEAST_SWEPT / 2 ? LEAST_SWEPT : 2 * kept;
	hashmap__clear(&groups->index);
	for (size_t i = 0; i < kept && !err; i++)
		err = index_known(groups, i);
	return err;
}

/* ---- samples ---- */

static int read_stat(const struct groups *groups, const struct known_group *known,
		     struct cgroup_stat *ret)
{
	if (!known->id)
		return -ENOENT;
	return cgroup_stat__read(known->mount, known->mount == groups->mounts.memory, known->path,
				 ret);
}

/* Returns over which time growth is told, 0 = the first sample is too new, or this one. */
static uint64_t tell_growth(struct first_sample *first, uint64_t anon_bytes, uint64_t now_ns,
			    double *ret_per_min)
{
	uint64_t measured_ns;

	if (!first->is_taken)
		*first = (struct first_sample){true, now_ns, anon_bytes};
	if (now_ns < first->taken_ns + LEAST_GROWTH_NS)
		return 0;
	measured_ns = now_ns - first->taken_ns;
	*ret_per_min =
		((double)anon_bytes - (double)first->anon_bytes) * NS_PER_MINUTE / measured_ns;
	return measured_ns;
}

/*
 * Takes over a limit of a group above. That one's growth, over the same time, has the siblings' in
 * it, also of those that nobody traces; the group's own stands for it where it is not known.
 */
static void read_shared(struct known_group *known, bool is_v1, char *path, uint64_t now_ns,
			struct snap_group *ret)
{
	struct cgroup_stat stat;

	if (!known->limit_path || strcmp(known->limit_path, path) != 0) {
		free(known->limit_path);
		known->limit_path = path;
		known->limit_first.is_taken = false;
	} else {
		free(path);
	}
	ret->limit_path = known->limit_path;
	if (!cgroup_stat__read(known->mount, is_v1, known->limit_path, &stat))
		tell_growth(&known->limit_first, stat.anon_bytes, now_ns,
			    &ret->limit_growth_per_min);
}

/* Reads what the kernel counts; at first sight this takes the first samples. */
static void read_memory(const struct groups *groups, struct known_group *known, uint64_t now_ns,
			struct snap_group *ret)
{
	bool is_v1 = known->mount == groups->mounts.memory;
	struct cgroup_memory tightest;
	struct cgroup_stat stat;

	if (read_stat(groups, known, &stat))
		return;
	ret->is_measured = true;
	ret->anon_bytes = stat.anon_bytes;
	ret->file_bytes = stat.file_bytes;
	ret->usage_bytes = stat.usage_bytes;
	ret->measured_ns =
		tell_growth(&known->first, stat.anon_bytes, now_ns, &ret->growth_per_min);
	if (cgroup_memory__find(known->mount, is_v1, known->path, &tightest))
		return;
	ret->usage_bytes = tightest.usage;
	ret->limit_bytes = tightest.limit;
	ret->reclaimable_bytes = tightest.reclaimable;
	ret->limit_growth_per_min = ret->growth_per_min;
	if (!strcmp(tightest.path, known->path))
		cgroup_memory__free(&tightest);
	else
		read_shared(known, is_v1, tightest.path, now_ns, ret);
}

/* Finds a group, made on first sight. Returns 0 or -ENOMEM. */
static int need_known(struct groups *groups, const char *path, uint64_t now_ns, uint32_t *ret)
{
	struct known_group known = {.group = SNAP_NONE};
	struct snap_group unused = {0};
	uint64_t probe;
	int err;

	*ret = find_known(groups, path, &probe);
	if (*ret != SNAP_NONE)
		return 0;
	known.path = strdup(path);
	if (!known.path)
		return -ENOMEM;
	find_directory(groups, &known);
	read_memory(groups, &known, now_ns, &unused);
	if (array_push(&groups->items, known)) {
		free_known(&known);
		return -ENOMEM;
	}
	*ret = groups->items.cnt - 1;
	err = index_known(groups, *ret);
	if (err)
		free_known(&groups->items.items[--groups->items.cnt]);
	return err;
}

int groups__note(struct groups *groups, const char *cgroup, uint64_t now_ns)
{
	uint32_t item;
	int err = 0;

	if (!*cgroup)
		return 0;
	if (groups->items.cnt >= groups->sweep_at)
		err = sweep(groups);
	return err ? err : need_known(groups, cgroup, now_ns, &item);
}

/* ---- a report ---- */

/* Cuts a path down to the group above. Returns false when there is none. */
static bool cut_last(char *path)
{
	char *end = strrchr(path, '/');

	if (!end || !path[1])
		return false;
	end[end == path] = '\0';
	return true;
}

/*
 * The kernel side knows a process's group by the memory controller: in v2, where a group need not
 * have it, that is the nearest one upwards that has. Returns 0 or -ENOMEM.
 */
static int find_loser(const struct groups *groups, struct known_group *known)
{
	char *path = strdup(known->path);
	struct cgroup_stat stat;

	if (!path)
		return -ENOMEM;
	while (known->mount == groups->mounts.unified &&
	       cgroup_stat__read(known->mount, false, path, &stat) == -ENOENT && cut_last(path))
		;
	free(known->lost_path);
	known->lost_path = path;
	return 0;
}

static int read_losses(const struct groups *groups, struct known_group *known,
		       const struct tables *tables, struct snap_group *ret)
{
	uint64_t id = known->id;

	/* The kernel side numbers groups of the memory controller's hierarchy. */
	if (!tables || !id || (groups->mounts.memory && known->mount != groups->mounts.memory))
		return 0;
	if (!ret->is_measured) {
		if (find_loser(groups, known))
			return -ENOMEM;
		if (strcmp(known->lost_path, known->path) != 0)
			ret->lost_path = known->lost_path;
		id = cgroup_id(known->mount, known->lost_path);
	}
	for (size_t i = 0; id && i < MAX_GROUPS; i++) {
		const struct group *group = &tables->groups[i];

		if (group->cgroup != id)
			continue;
		/* A block without room for its sum is not followed either. */
		ret->lost_blocks = group->refused[TABLE_BLOCKS];
		ret->lost_bytes = group->refused_bytes;
		/* A block without room for its stack's sums is counted without it, too. */
		ret->lost_stacks = group->refused[TABLE_STACKS] +
				   group->refused[TABLE_PYTHON_STACKS] +
				   group->refused[TABLE_COSTS];
		break;
	}
	return 0;
}

/* Looks the name up at first sight. Returns 0 or -ENOMEM. */
static int need_name(struct groups *groups, struct known_group *known)
{
	int err;

	if (known->has_name)
		return 0;
	err = cgroup_name__parse(known->path, &known->name);
	if (err)
		return err;
	if (known->name.runtime == RUNTIME_NONE && !groups->has_runc) {
		err = runc_groups__read(groups->root, &groups->runc);
		groups->has_runc = !err;
	}
	if (!err)
		err = container_state__look_up(&known->name, groups->root, &groups->runc);
	if (err)
		cgroup_name__free(&known->name);
	known->has_name = !err;
	return err;
}

static int add_known(struct groups *groups, struct known_group *known, struct snapshot *snap,
		     const struct tables *tables, uint64_t now_ns)
{
	struct snap_group group = {.path = known->path};

	find_directory(groups, known);
	if (need_name(groups, known))
		return -ENOMEM;
	group.title = known->name.title;
	group.runtime = (char *)cgroup_runtime__name(known->name.runtime);
	group.container = known->name.container;
	group.container_id = known->name.container_id;
	group.image = known->name.image;
	group.service = known->name.service;
	group.pod = known->name.pod;
	group.pod_namespace = known->name.pod_namespace;
	group.pod_uid = known->name.pod_uid;
	read_memory(groups, known, now_ns, &group);
	if (read_losses(groups, known, tables, &group))
		return -ENOMEM;
	known->group = snapshot__add_group(snap, &group);
	return known->group == SNAP_NONE ? -ENOMEM : 0;
}

static int add_proc(struct groups *groups, struct snapshot *snap, uint32_t proc,
		    const struct tables *tables, uint64_t now_ns)
{
	const char *path = snap->procs.items[proc].cgroup;
	struct known_group *known;
	uint32_t item;
	int err;

	if (!*path)
		return 0;
	err = need_known(groups, path, now_ns, &item);
	if (err)
		return err;
	known = &groups->items.items[item];
	if (known->group == SNAP_NONE)
		err = add_known(groups, known, snap, tables, now_ns);
	return err ? err : snapshot__set_group(snap, proc, known->group);
}

int groups__add(struct groups *groups, struct snapshot *snap, const struct tables *tables,
		uint64_t now_ns)
{
	int err = 0;

	for (size_t i = 0; i < snap->procs.cnt && !err; i++)
		err = add_proc(groups, snap, i, tables, now_ns);
	if (!err && groups->items.cnt >= groups->sweep_at)
		err = sweep(groups);
	for (size_t i = 0; i < groups->items.cnt; i++)
		groups->items.items[i].group = SNAP_NONE;
	runc_groups__free(&groups->runc);
	groups->has_runc = false;
	return err;
}
