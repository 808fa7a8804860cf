/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The containers that runc runs for nobody else: docker's, containerd's have state elsewhere. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "discover/container_state.h"
#include "discover/container_state_json.h"
#include "util/format.h"

#define MAX_RUNC_GROUPS 4096

/* runc's own rule for ids (libcontainer/factory_linux.go), without those that are no file name */
static bool is_runc_id(const char *id)
{
	if (id[0] == '.')
		return false;
	for (; *id; id++) {
		if (!isalnum((unsigned char)*id) && !strchr("_+,-.", *id))
			return false;
	}
	return true;
}

/* Returns the part of a directory below the hierarchy's mount point, NULL = not below it. */
static const char *below(const char *dir, const char *mount)
{
	size_t len = strlen(mount);

	return strncmp(dir, mount, len) == 0 && dir[len] == '/' && dir[len + 1] ? dir + len : NULL;
}

/* Adds a group; a directory that is no group's, NULL included, adds nothing. */
static int add_group(struct runc_groups *groups, const char *id, const char *path)
{
	struct runc_group group = {0};

	if (!path)
		return 0;
	group.id = strdup(id);
	group.path = strdup(path);
	if (group.id && group.path && !array_push(&groups->list, group))
		return 0;
	free(group.id);
	free(group.path);
	return -ENOMEM;
}

/*
 * runc names directories, with the mount points that systemd has made customary; the key of v2 is
 * empty. Of v1, memory is the hierarchy that counts here.
 */
static int add_groups(struct runc_groups *groups, const char *id, struct json_object *state)
{
	struct json_object *paths = state_json__member(state, "cgroup_paths");
	const char *unified = state_json__text(state_json__member(paths, ""));
	const char *memory = state_json__text(state_json__member(paths, "memory"));
	const char *path = NULL;
	int err;

	if (unified)
		path = below(unified, "/sys/fs/cgroup/unified");
	if (unified && !path)
		path = below(unified, "/sys/fs/cgroup");
	err = add_group(groups, id, path);
	if (!err && memory)
		err = add_group(groups, id, below(memory, "/sys/fs/cgroup/memory"));
	return err;
}

static int read_state(struct runc_groups *groups, const char *dir, const char *id)
{
	struct json_object *state;
	int err;

	err = state_json__load(format_text("%s/%s/state.json", dir, id), &state);
	if (err)
		return err == -ENOMEM ? err : 0;
	err = add_groups(groups, id, state);
	json_object_put(state);
	return err;
}

int runc_groups__read(const char *root, struct runc_groups *ret)
{
	char *path = format_text("%s/run/runc", root);
	struct runc_groups groups = {0};
	size_t left = MAX_RUNC_GROUPS;
	struct dirent *entry;
	int err = 0;
	DIR *dir;

	if (!path)
		return -ENOMEM;
	dir = opendir(path);
	while (dir && !err && left && (entry = readdir(dir))) {
		if (!is_runc_id(entry->d_name))
			continue;
		err = read_state(&groups, path, entry->d_name);
		left--;
	}
	if (dir)
		closedir(dir);
	free(path);
	if (err)
		runc_groups__free(&groups);
	else
		*ret = groups;
	return err;
}

void runc_groups__free(struct runc_groups *groups)
{
	for (size_t i = 0; i < groups->list.cnt; i++) {
		free(groups->list.items[i].id);
		free(groups->list.items[i].path);
	}
	array_free(&groups->list);
}
