/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One function per runtime, each of which knows where a container of a given id is described and
 * fills in what it finds. When the path does not tell the runtime they are asked in turn.
 */
#include "discover/container_state.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "discover/container_state_json.h"
#include "util/format.h"

#define MAX_NAMESPACES 256 /* of one containerd */
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

struct key {
	const char *key;
	size_t field; /* offset in struct cgroup_name */
};

#define KEY(key, field)                                                                            \
	{                                                                                          \
		key, offsetof(struct cgroup_name, field)                                           \
	}

/* The kubelet's labels (pkg/kubelet/types/labels.go of Kubernetes) */
static const struct key kubelet_keys[] = {
	KEY("io.kubernetes.container.name", pod_container),
	KEY("io.kubernetes.pod.name", pod),
	KEY("io.kubernetes.pod.namespace", pod_namespace),
	KEY("io.kubernetes.pod.uid", pod_uid),
};

static const struct key containerd_keys[] = {
	KEY("io.kubernetes.cri.container-name", pod_container),
	KEY("io.kubernetes.cri.sandbox-name", pod),
	KEY("io.kubernetes.cri.sandbox-namespace", pod_namespace),
	KEY("io.kubernetes.cri.sandbox-uid", pod_uid),
	KEY("io.kubernetes.cri.image-name", image),
	KEY("nerdctl/name", container),
};

static const struct key crio_keys[] = {
	KEY("io.kubernetes.cri-o.KubeName", pod),
	KEY("io.kubernetes.cri-o.Namespace", pod_namespace),
	KEY("io.kubernetes.cri-o.ImageName", image),
	KEY("io.kubernetes.cri-o.Image", image),
};

/* Sets a field that is still empty, if there is a text for it. */
static int fill(char **field, const char *text)
{
	return text && !**field ? cgroup_name__set(field, text, strlen(text)) : 0;
}

static int fill_keys(struct cgroup_name *name, struct json_object *object, const struct key *keys,
		     size_t cnt)
{
	int err = 0;

	for (size_t i = 0; i < cnt && !err; i++)
		err = fill((char **)((char *)name + keys[i].field),
			   state_json__text(state_json__member(object, keys[i].key)));
	return err;
}

/* ---- the runtimes: 0 = found, -ENOMEM, or any other error = not found ----------------------- */

/* Where state is read from. */
struct source {
	const char *root;
	struct podman_stores *stores;
};

static int look_up_docker(struct cgroup_name *name, const struct source *source)
{
	struct json_object *state, *config;
	const char *text;
	int err;

	err = state_json__load(format_text("%s/var/lib/docker/containers/%s/config.v2.json",
					   source->root, name->container_id),
			       &state);
	if (err)
		return err;
	config = state_json__member(state, "Config");
	text = state_json__text(state_json__member(state, "Name"));
	if (text)
		text += *text == '/';
	err = fill(&name->container, text);
	if (!err)
		err = fill(&name->image, state_json__text(state_json__member(config, "Image")));
	if (!err)
		err = fill_keys(name, state_json__member(config, "Labels"), kubelet_keys,
				ARRAY_LEN(kubelet_keys));
	if (!err && name->runtime == RUNTIME_UNKNOWN)
		name->runtime = RUNTIME_DOCKER;
	json_object_put(state);
	return err;
}

static int read_containerd_config(struct cgroup_name *name, const char *tasks,
				  const char *name_space)
{
	struct json_object *config;
	int err;

	err = state_json__load(
		format_text("%s/%s/%s/config.json", tasks, name_space, name->container_id),
		&config);
	if (err)
		return err;
	err = fill_keys(name, state_json__member(config, "annotations"), containerd_keys,
			ARRAY_LEN(containerd_keys));
	if (!err && name->runtime == RUNTIME_UNKNOWN)
		name->runtime =
			strcmp(name_space, "moby") == 0 ? RUNTIME_DOCKER : RUNTIME_CONTAINERD;
	json_object_put(config);
	return err;
}

/* Looks through the namespaces of one containerd. Takes over `tasks`. */
static int look_up_tasks(struct cgroup_name *name, char *tasks)
{
	struct dirent *entry;
	size_t left = MAX_NAMESPACES;
	int err = -ENOENT;
	DIR *dir;

	if (!tasks)
		return -ENOMEM;
	dir = opendir(tasks);
	while (dir && err && err != -ENOMEM && left-- && (entry = readdir(dir))) {
		if (entry->d_name[0] != '.')
			err = read_containerd_config(name, tasks, entry->d_name);
	}
	if (dir)
		closedir(dir);
	free(tasks);
	return err;
}

static int look_up_containerd(struct cgroup_name *name, const struct source *source)
{
	static const char *const states[] = {"run/containerd", "run/k3s/containerd"};
	int err = -ENOENT;

	for (size_t i = 0; i < ARRAY_LEN(states) && err && err != -ENOMEM; i++)
		err = look_up_tasks(name, format_text("%s/%s/io.containerd.runtime.v2.task",
						      source->root, states[i]));
	return err;
}

/* CRI-O's containers lie among Podman's, which tell less here than elsewhere. */
static int look_up_crio(struct cgroup_name *name, const struct source *source)
{
	struct json_object *config, *annotations;
	const char *manager;
	int err;

	err = state_json__load(
		format_text("%s/run/containers/storage/overlay-containers/%s/userdata/config.json",
			    source->root, name->container_id),
		&config);
	if (err)
		return err;
	annotations = state_json__member(config, "annotations");
	manager = state_json__text(state_json__member(annotations, "io.container.manager"));
	if (manager && strcmp(manager, "libpod") == 0) {
		err = -ENOENT;
		goto cleanup;
	}
	err = fill_keys(name, annotations, kubelet_keys, ARRAY_LEN(kubelet_keys));
	if (!err)
		err = fill_keys(name, annotations, crio_keys, ARRAY_LEN(crio_keys));
	if (!err && name->runtime == RUNTIME_UNKNOWN)
		name->runtime = RUNTIME_CRIO;
cleanup:
	json_object_put(config);
	return err;
}

static int fill_podman(struct cgroup_name *name, struct json_object *container)
{
	struct json_object *names = state_json__member(container, "names"), *metadata = NULL;
	const char *text = state_json__text(state_json__member(container, "metadata"));
	int err = 0;

	if (json_object_is_type(names, json_type_array) && json_object_array_length(names))
		err = fill(&name->container, state_json__text(json_object_array_get_idx(names, 0)));
	if (!err && text)
		err = state_json__parse(text, strlen(text), &metadata);
	if (err && err != -ENOMEM)
		err = 0;
	if (!err)
		err = fill(&name->container,
			   state_json__text(state_json__member(metadata, "name")));
	if (!err)
		err = fill(&name->image,
			   state_json__text(state_json__member(metadata, "image-name")));
	if (!err)
		err = fill(&name->image, state_json__text(state_json__member(container, "image")));
	if (!err && name->runtime == RUNTIME_UNKNOWN)
		name->runtime = RUNTIME_PODMAN;
	json_object_put(metadata);
	return err;
}

void podman_stores__free(struct podman_stores *stores)
{
	for (size_t i = 0; i < ARRAY_LEN(stores->files); i++)
		json_object_put(stores->files[i].list);
	*stores = (struct podman_stores){0};
}

static int read_store(const struct source *source, size_t file, struct json_object **ret)
{
	static const char *const names[] = {"containers.json", "volatile-containers.json"};
	struct podman_stores *stores = source->stores;
	int err = 0;

	if (!stores->files[file].is_read)
		err = state_json__load(
			format_text("%s/var/lib/containers/storage/overlay-containers/%s",
				    source->root, names[file]),
			&stores->files[file].list);
	if (err == -ENOMEM)
		return err;
	stores->files[file].is_read = true;
	*ret = stores->files[file].list;
	return 0;
}

static int look_up_in_store(struct cgroup_name *name, struct json_object *list)
{
	int err = -ENOENT;

	for (size_t i = 0; json_object_is_type(list, json_type_array) &&
			   i < json_object_array_length(list) && err == -ENOENT;
	     i++) {
		struct json_object *container = json_object_array_get_idx(list, i);
		const char *id = state_json__text(state_json__member(container, "id"));

		if (id && strcmp(id, name->container_id) == 0)
			err = fill_podman(name, container);
	}
	return err;
}

static int look_up_podman(struct cgroup_name *name, const struct source *source)
{
	int err = -ENOENT;

	for (size_t i = 0; i < ARRAY_LEN(source->stores->files) && err && err != -ENOMEM; i++) {
		struct json_object *list;

		err = read_store(source, i, &list);
		if (!err)
			err = look_up_in_store(name, list);
	}
	return err;
}

/* ---- which runtime to ask ------------------------------------------------------------------- */

static int look_up_id(struct cgroup_name *name, const struct source *source)
{
	static const struct {
		enum cgroup_runtime runtime;
		int (*look_up)(struct cgroup_name *name, const struct source *source);
	} sources[] = {
		{RUNTIME_DOCKER, look_up_docker}, /* before the containerd that it runs on */
		{RUNTIME_CONTAINERD, look_up_containerd},
		{RUNTIME_CRIO, look_up_crio}, /* before Podman, whose store has the same files */
		{RUNTIME_PODMAN, look_up_podman},
	};
	bool any = name->runtime == RUNTIME_UNKNOWN;
	int err = -ENOENT;

	for (size_t i = 0; i < ARRAY_LEN(sources) && err && err != -ENOMEM; i++) {
		if (any || name->runtime == sources[i].runtime)
			err = sources[i].look_up(name, source);
	}
	return err == -ENOMEM ? err : 0;
}

/* Whether `path` is `group` or lies below it. */
static bool is_within(const char *path, const char *group)
{
	size_t len = strlen(group);

	return strncmp(path, group, len) == 0 && (!path[len] || path[len] == '/');
}

static int look_up_runc(struct cgroup_name *name, const struct runc_groups *runc)
{
	const struct runc_group *best = NULL;
	int err;

	for (size_t i = 0; i < runc->list.cnt; i++) {
		const struct runc_group *group = &runc->list.items[i];

		if (is_within(name->path, group->path) &&
		    (!best || strlen(group->path) > strlen(best->path)))
			best = group;
	}
	if (!best)
		return 0;
	name->runtime = RUNTIME_RUNC;
	err = cgroup_name__set(&name->container_id, best->id, strlen(best->id));
	return err ? err : cgroup_name__set(&name->container, best->id, strlen(best->id));
}

int container_state__look_up_among(struct cgroup_name *name, const char *root,
				   const struct runc_groups *runc, struct podman_stores *stores)
{
	int err;

	if (name->runtime == RUNTIME_NONE)
		err = look_up_runc(name, runc);
	else
		err = look_up_id(name, &(struct source){.root = root, .stores = stores});
	if (!err)
		err = fill(&name->container, name->pod_container);
	return err ? err : cgroup_name__set_title(name);
}

int container_state__look_up(struct cgroup_name *name, const char *root,
			     const struct runc_groups *runc)
{
	struct podman_stores stores = {0};
	int err = container_state__look_up_among(name, root, runc, &stores);

	podman_stores__free(&stores);
	return err;
}
