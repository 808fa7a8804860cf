/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discover/name_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "discover/container_state.h"
#include "util/array.h"
#include "util/clock.h"
#include "util/hashmap.h"

#define MAX_KNOWN 8192 /* whoever may make groups must not fill the memory */
#define LONGEST_NS (60 * NS_PER_SEC)
#define FORGET_NS (2 * LONGEST_NS)

struct known_name {
	struct cgroup_name name; /* owned */
	uint64_t first_ns, due_ns, asked_ns;
	uint64_t ino, dev;
};

struct name_cache {
	char *root;
	ARRAY(struct known_name) known;
	struct hashmap index;	 /* {inode, device} -> item */
	struct known_name spare; /* has no room in `known` */
	struct runc_groups runc; /* for one look: all of them are read for any of them */
	struct podman_stores podman;
	bool has_runc;
	uint64_t now_ns;
};

struct name_cache *name_cache__new(const char *root)
{
	struct name_cache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return NULL;
	cache->root = strdup(root);
	if (cache->root)
		return cache;
	free(cache);
	return NULL;
}

static void end_look(struct name_cache *cache)
{
	runc_groups__free(&cache->runc);
	podman_stores__free(&cache->podman);
	cache->has_runc = false;
}

void name_cache__free(struct name_cache *cache)
{
	if (!cache)
		return;
	end_look(cache);
	for (size_t i = 0; i < cache->known.cnt; i++)
		cgroup_name__free(&cache->known.items[i].name);
	array_free(&cache->known);
	cgroup_name__free(&cache->spare.name);
	hashmap__free(&cache->index);
	free(cache->root);
	free(cache);
}

/* The last one takes the place of the one that goes. */
static void forget(struct name_cache *cache, size_t item)
{
	struct known_name *known = &cache->known.items[item], *last;
	uint64_t *place;

	hashmap__remove(&cache->index, known->ino, known->dev);
	cgroup_name__free(&known->name);
	last = &cache->known.items[--cache->known.cnt];
	if (last == known)
		return;
	*known = *last;
	place = hashmap__find(&cache->index, known->ino, known->dev);
	*place = item;
}

void name_cache__begin(struct name_cache *cache, uint64_t now_ns)
{
	end_look(cache);
	cache->now_ns = now_ns;
	for (size_t i = cache->known.cnt; i-- > 0;)
		if (now_ns > cache->known.items[i].asked_ns + FORGET_NS)
			forget(cache, i);
}

/* Finds what is known of a group, or a place for it, empty but for the directory. */
static int find_place(struct name_cache *cache, const struct stat *dir, struct known_name **ret)
{
	struct known_name empty = {
		.ino = dir->st_ino, .dev = dir->st_dev, .first_ns = cache->now_ns};
	uint64_t *place = hashmap__find(&cache->index, empty.ino, empty.dev);

	if (place) {
		*ret = &cache->known.items[*place];
		return 0;
	}
	if (cache->known.cnt >= MAX_KNOWN) {
		cgroup_name__free(&cache->spare.name);
		cache->spare = empty;
		*ret = &cache->spare;
		return 0;
	}
	place = hashmap__insert(&cache->index, empty.ino, empty.dev, NULL);
	if (!place)
		return -ENOMEM;
	if (array_push(&cache->known, empty)) {
		hashmap__remove(&cache->index, empty.ino, empty.dev);
		return -ENOMEM;
	}
	*place = cache->known.cnt - 1;
	*ret = &cache->known.items[*place];
	return 0;
}

/* Whether the group above is of the same container. */
static int inherits_container(const struct cgroup_name *name, bool *ret)
{
	char *path = strndup(name->path, (size_t)(strrchr(name->path, '/') - name->path));
	struct cgroup_name above;
	int err;

	if (!path)
		return -ENOMEM;
	err = cgroup_name__parse(path, &above);
	free(path);
	if (err)
		return err;
	*ret = *name->container_id && strcmp(name->container_id, above.container_id) == 0;
	cgroup_name__free(&above);
	return 0;
}

static int look_up(struct name_cache *cache, struct cgroup_name *name)
{
	bool is_known = false;
	int err = inherits_container(name, &is_known);

	if (err || is_known)
		return err;
	if (name->runtime == RUNTIME_NONE && !cache->has_runc) {
		err = runc_groups__read(cache->root, &cache->runc);
		cache->has_runc = !err;
	}
	return err ? err
		   : container_state__look_up_among(name, cache->root, &cache->runc,
						    &cache->podman);
}

static int renew(struct name_cache *cache, const char *path, struct known_name *known)
{
	uint64_t age_ns = cache->now_ns - known->first_ns;
	struct cgroup_name name;
	int err = cgroup_name__parse(path, &name);

	if (err)
		return err;
	err = look_up(cache, &name);
	if (err) {
		cgroup_name__free(&name);
		return err;
	}
	cgroup_name__free(&known->name);
	known->name = name;
	known->due_ns = cache->now_ns + (age_ns < LONGEST_NS ? age_ns : LONGEST_NS);
	return 0;
}

int name_cache__get(struct name_cache *cache, const char *path, const struct stat *dir,
		    const struct cgroup_name **ret)
{
	struct known_name *known;
	int err = find_place(cache, dir, &known);

	if (err)
		return err;
	known->asked_ns = cache->now_ns;
	if (known->name.path && strcmp(known->name.path, path))
		known->first_ns = cache->now_ns; /* renamed, or another one by now */
	else if (known->name.path &&
		 (cache->now_ns == known->first_ns || cache->now_ns < known->due_ns))
		goto out;
	err = renew(cache, path, known);
out:
	*ret = &known->name;
	return err;
}
