/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Roots of containers. They are mounted by a container's first process, in a mount namespace that
 * nobody else sees and that goes away with it, and filled from outside.
 */
#include "lib/container_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define MUSL_ARCH "x86_64"
#elif defined(__aarch64__)
#define MUSL_ARCH "aarch64"
#endif

static bool make_dir(const char *root, const char *inside)
{
	char *path = format("%s%s", root, inside);
	bool done = !mkdir(path, 0755) || errno == EEXIST;

	free(path);
	return done;
}

/* The host's root is read only here: what is written lies in the tmpfs. */
static bool mount_overlay(const char *stage, const char *root)
{
	char *options = format("lowerdir=/,upperdir=%s/upper,workdir=%s/work", stage, stage);
	bool done = make_dir(stage, "/upper") && make_dir(stage, "/work") &&
		    !mount("overlay", root, "overlay", 0, options);

	free(options);
	return done;
}

static bool mount_proc(const char *root)
{
	char *proc = format("%s/proc", root);
	bool done = make_dir(root, "/proc") &&
		    !mount("proc", proc, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);

	free(proc);
	return done;
}

static bool change_root(const char *root)
{
	return !chdir(root) && !syscall(SYS_pivot_root, ".", ".") && !umount2(".", MNT_DETACH) &&
	       !chdir("/");
}

bool root__enter(const char *stage, enum userland userland)
{
	char *root = format("%s/root", stage);
	bool done = !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
		    !mount("tmpfs", stage, "tmpfs", 0, "mode=755") && make_dir(root, "");

	if (done && userland == USERLAND_DEBIAN)
		done = mount_overlay(stage, root);
	else if (done) /* pivot_root wants a mount point */
		done = !mount(root, root, NULL, MS_BIND, NULL);
	done = done && mount_proc(root) && change_root(root);
	free(root);
	return done;
}

static void put_file(const struct container *container, const char *inside, const char *from)
{
	char *path = container__path(container, inside);

	copy_file(from, path);
	free(path);
}

static void put_dir(const struct container *container, const char *inside)
{
	char *root = container__path(container, "");

	if (!make_dir(root, inside))
		fail_msg("%s%s: %s", root, inside, strerror(errno));
	free(root);
}

static void put_musl(const struct container *container)
{
	char *shell = container__path(container, CONTAINER_SHELL);

	put_dir(container, "/bin");
	put_dir(container, "/lib");
	put_file(container, "/bin/busybox", "/bin/busybox");
	assert_int_equal(symlink("busybox", shell), 0);
	/* musl's loader and its libc are one file. */
	put_file(container, "/lib/ld-musl-" MUSL_ARCH ".so.1",
		 "/lib/" MUSL_ARCH "-linux-musl/libc.so");
	free(shell);
}

void root__fill(const struct container *container, const struct container_opts *opts)
{
	if (opts->userland == USERLAND_MUSL)
		put_musl(container);
	put_dir(container, CONTAINER_LEAKERS);
	for (const char *const *leaker = opts->leakers; *leaker; leaker++) {
		char *inside = format("%s/%s", CONTAINER_LEAKERS, *leaker);
		char *from = leaker_path(*leaker);

		put_file(container, inside, from);
		free(from);
		free(inside);
	}
}
