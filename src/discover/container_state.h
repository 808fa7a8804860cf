/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looks up in the runtimes' state on disk what a control group's path does not tell. Where it is
 * and where its format is from, below the root of the host:
 *
 *   Docker      var/lib/docker/containers/ID/config.v2.json: Name, Config.Image, Config.Labels
 *               (moby, container/container.go; the labels io.kubernetes.* are the kubelet's)
 *   containerd  run/containerd/io.containerd.runtime.v2.task/NAMESPACE/ID/config.json, with k3s
 *               run/k3s/containerd/...: an OCI runtime configuration, annotations
 *               io.kubernetes.cri.* (containerd, pkg/cri/annotations) and nerdctl/name (nerdctl,
 *               pkg/labels: its labels are passed as annotations)
 *   CRI-O       run/containers/storage/overlay-containers/ID/userdata/config.json: the same with
 *               annotations io.kubernetes.cri-o.* (cri-o, pkg/annotations) and the kubelet's labels
 *   Podman      var/lib/containers/storage/overlay-containers/containers.json, and
 *               volatile-containers.json: id, names, image, metadata, itself JSON with image-name
 *               (containers/storage, containers.go; podman, libpod/storage.go)
 *   runc        run/runc/ID/state.json: id, cgroup_paths (runc, libcontainer/container_linux.go)
 *
 * Names in there come from whoever made the container: a text with control characters, or of more
 * than 4096 bytes, counts as absent. State of rootless runtimes, and of runtimes that run in a
 * container themselves, is not looked for.
 */
#ifndef LEAKSWEEP_DISCOVER_CONTAINER_STATE_H
#define LEAKSWEEP_DISCOVER_CONTAINER_STATE_H

#include <stdbool.h>
#include <stddef.h>

#include "discover/cgroup_name.h"
#include "discover/name_cache.h"
#include "util/array.h"

/* A control group that runc made on its own account, with a path that need not show that. */
struct runc_group {
	char *id, *path; /* owned; the path as /proc/PID/cgroup has it */
};

struct runc_groups {
	ARRAY(struct runc_group) list;
};

/*
 * Reads the state of all runc containers, at most 4096. Returns 0 (also when there is none) or
 * -ENOMEM; free with runc_groups__free.
 */
int runc_groups__read(const char *root, struct runc_groups *ret);
void runc_groups__free(struct runc_groups *groups);

/*
 * Fills in what the path did not tell, title included. Returns 0 (also when nothing was found) or
 * -ENOMEM: `name` then stays valid, with some fields filled in.
 */
int container_state__look_up(struct cgroup_name *name, const char *root,
			     const struct runc_groups *runc);

/* Podman's lists of its containers: all of them are read for any of them. */
struct podman_stores {
	struct {
		bool is_read;
		struct json_object *list; /* NULL = it cannot be read */
	} files[2];
};

void podman_stores__free(struct podman_stores *stores);

/* The same as container_state__look_up, for many at one moment: `stores` begins zeroed and is
 * filled once. */
int container_state__look_up_among(struct cgroup_name *name, const char *root,
				   const struct runc_groups *runc, struct podman_stores *stores);

struct cgroup_paths {
	ARRAY(char *) list; /* owned; as /proc/PID/cgroup has them */
};

/*
 * As containers__find, in the one hierarchy that is mounted at `mount`: adds what it finds to
 * `paths`, in the order of depth. A directory that is gone has no groups. Returns 0, -E2BIG
 * (nothing was added, but not all groups were visited), -ENOMEM or another negative errno.
 */
int containers__find_below(struct name_cache *names, const char *mount, const char *wanted,
			   struct cgroup_paths *paths);
void cgroup_paths__free(struct cgroup_paths *paths);

#endif
