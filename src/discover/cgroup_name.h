/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What people call a control group: systemd unit, container and image, Kubernetes pod. The path
 * tells the unit, the runtime and the container's id; the rest is looked up in what the runtimes
 * keep on disk (discover/container_state.h says where). Both are only for reading by people:
 * whoever may make control groups below his own can give them any name.
 *
 * Shapes of paths. systemd: systemd.unit(5), systemd.resource-control(5), and cg_escape of its
 * src/basic/cgroup-util.c for a "_" in front of a name. PREFIX-ID.scope and PARENT/ID: the systemd
 * and cgroupfs drivers of runc (libcontainer/cgroups) with the prefixes that Docker, containerd's
 * CRI plugin, CRI-O, Podman and nerdctl give it. Pods: pkg/kubelet/cm of Kubernetes, the uid with
 * "_" for "-" under systemd. lxc.payload.NAME and, before LXC 4, lxc/NAME: lxc.container.conf(5).
 * machine-NAME.scope and systemd-nspawn@NAME.service: systemd-nspawn(1), systemd-machined(8).
 */
#ifndef LEAKSWEEP_DISCOVER_CGROUP_NAME_H
#define LEAKSWEEP_DISCOVER_CGROUP_NAME_H

#include <stdbool.h>
#include <stddef.h>

enum cgroup_runtime {
	RUNTIME_NONE,
	RUNTIME_DOCKER,
	RUNTIME_CONTAINERD,
	RUNTIME_CRIO,
	RUNTIME_PODMAN,
	RUNTIME_LXC,
	RUNTIME_NSPAWN,
	RUNTIME_RUNC,
	RUNTIME_UNKNOWN, /* a container by its id in the path, runtime not told */
};

/* All strings are owned and never NULL; "" = unknown, or there is none. */
struct cgroup_name {
	char *path; /* as given */
	enum cgroup_runtime runtime;
	char *service;	    /* innermost systemd unit: "nginx.service", "session-3.scope" */
	char *container_id; /* of the innermost container: full hex id, or its LXC, nspawn, runc
			       name */
	char *container;    /* name people gave it */
	char *image;
	char *pod, *pod_namespace, *pod_uid, *pod_container; /* Kubernetes */
	/*
	 * The best of these: "NAMESPACE/POD/CONTAINER", container, "pod UID/container ID" with the
	 * first 8 and 12 characters of these, such an ID alone, unit, path.
	 */
	char *title;
};

/*
 * Parses a path as /proc/PID/cgroup has it and looks the rest up below directory `root`, "/" on a
 * real host. State that is absent, unreadable, huge or malformed leaves fields empty. Returns 0 or
 * -ENOMEM; free with cgroup_name__free.
 */
int cgroup_name__of(const char *path, const char *root, struct cgroup_name *ret);

/* The same from the path alone. */
int cgroup_name__parse(const char *path, struct cgroup_name *ret);

/* Leaves a zeroed struct, on which it is harmless. */
void cgroup_name__free(struct cgroup_name *name);

/* Returns what to show: one of the name's own strings. */
const char *cgroup_name__display(const struct cgroup_name *name);

/* Returns "docker", "cri-o" and so on; "" for RUNTIME_NONE, "unknown" for any other number. */
const char *cgroup_runtime__name(enum cgroup_runtime runtime);

/*
 * Whether a user means this group: by the container's name, its full id or at least 8 hex digits
 * that begin it, the container's name in its pod, the pod, "NAMESPACE/POD", the title, or the unit.
 */
bool cgroup_name__matches(const struct cgroup_name *name, const char *wanted);

struct name_cache;

/*
 * Finds the groups of the mounted v2 and v1 memory hierarchies that match, without those below
 * another one found. *ret_paths are owned paths as /proc/PID/cgroup has them, sorted, no path
 * twice. Names are taken from `names` (discover/name_cache.h). Groups are visited from the top
 * down, to a depth of 32 and at most 100 000 per hierarchy. Returns 0 (also when none matches),
 * -ENOENT (no hierarchy is mounted), -E2BIG (none matches, but not all were visited), -ENOMEM or
 * another negative errno.
 */
int containers__find(struct name_cache *names, const char *wanted, char ***ret_paths,
		     size_t *ret_cnt);

/* Replaces an owned string with a copy of text[0..len). Returns 0 or -ENOMEM. */
int cgroup_name__set(char **field, const char *text, size_t len);

/* Makes the title anew after other fields changed. Returns 0 or -ENOMEM. */
int cgroup_name__set_title(struct cgroup_name *name);

#endif
