/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Containers for end-to-end tests, made by the test itself or by runc: namespaces of their own, a
 * root of their own, a cgroup of their own. As in harness.h, every function ends the running test
 * when the world does not do what it should.
 *
 * All cgroups lie below one of the test program's, in each hierarchy that takes part: the one v2
 * hierarchy, or v1's memory hierarchy, or both on a hybrid host, where v1 keeps the memory.
 */
#ifndef LEAKSWEEP_TESTS_CONTAINER_H
#define LEAKSWEEP_TESTS_CONTAINER_H

#include "lib/harness.h"

/* A test with containers; whatever becomes of it, nothing of them stays. */
#define CONTAINER_TEST(f) cmocka_unit_test_teardown(f, container__teardown)

/* Where leakers lie in every userland: one with a libc that is linked finds it there. */
#define CONTAINER_LEAKERS "/leakers"
#define CONTAINER_SHELL "/bin/sh" /* not in an empty root */

enum userland {
	USERLAND_DEBIAN = 0, /* overlay: the host's root below, a tmpfs above */
	USERLAND_MUSL = 1,   /* busybox as /bin/sh, musl's loader, nothing else */
	USERLAND_STATIC = 2, /* an empty root */
};

struct container_opts {
	enum userland userland;
	const char *const *leakers; /* files of the leaker folder, put into CONTAINER_LEAKERS */
	uint64_t memory_bytes;	    /* limit, 0 = none */
};

struct container {
	char *name;   /* its cgroup's below the test's, which may have slashes; its host name */
	pid_t init;   /* host PID of its PID 1, which does nothing but live */
	char *cgroup; /* path in its hierarchy, as /proc/PID/cgroup has it */
};

/*
 * Starts one: mount, PID, UTS, IPC and cgroup namespaces, /proc of its own. Returns when its root
 * is in place. Freed by teardown.
 */
struct container *container__start(const char *name, const struct container_opts *opts);

/*
 * Runs argv[0], a path inside, in all of its namespaces and in its cgroup from before the exec. The
 * child's pid is the host's. Freed by teardown.
 */
struct child *container__run(const struct container *container, const char *const *argv);

/* Runs a leaker of CONTAINER_LEAKERS, args[0], and waits until it says READY. */
struct child *container__leaker(const struct container *container, const char *const *args);

/* Kills its init, and waits until the kernel has ended all of its processes. */
void container__kill(struct container *container);

/* A host path of a file inside, owned by the caller. */
char *container__path(const struct container *container, const char *inside);

/* The EXPECT line of a leaker inside, with the host's PID in place of the container's own. */
struct json_object *container__expect(struct child *leaker);

/* The same of a leaker whose host PID is not the child's. */
struct json_object *container__expect_of(struct child *child, pid_t pid);

/* The PID that a process has in its own PID namespace. */
int inner_pid(pid_t pid);

/* The directory of the cgroup above all containers of this program, and of one below it; owned by
 * the caller. Both are in the hierarchy whose path the tool reports. */
char *container__parent_dir(void);
char *container__cgroup_dir(const char *name);

/* The same in the hierarchy that has the memory controller; NULL when none has. */
char *container__memory_dir(const char *name, bool *ret_is_v2);

/* Removes processes, cgroups, mounts and files of the test. */
int container__teardown(void **state);

/* ---- runc ----------------------------------------------------------------------------------- */

struct runc {
	char *id;	     /* among all that the host's runc knows */
	char *cgroup;	     /* path, as of a container */
	pid_t pid;	     /* host PID of its process 1 */
	struct child *child; /* runc itself, whose stdin and stdout are the container's */
};

/* Whether runc is installed. */
bool runc__exists(void);

/*
 * Makes a bundle with a rootfs that holds one static leaker, args[0], and runs it as PID 1. Returns
 * when it says READY. Freed by teardown.
 */
struct runc *runc__start(const char *const *args);

#endif
