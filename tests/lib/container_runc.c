/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Containers made by runc from an OCI bundle (OCI runtime specification 1.0: config.md,
 * config-linux.md), with state below /run/runc as for every container of the host.
 */
#include "lib/container_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_RUNCS 8
#define PID_FILE_MS 5
#define RUNC "/usr/sbin/runc"

static struct runc *runcs[MAX_RUNCS];
static size_t runc_cnt;

bool runc__exists(void)
{
	return !access(RUNC, X_OK);
}

static struct json_object *parse(const char *text)
{
	struct json_object *value = json_tokener_parse(text);

	assert_non_null(value);
	return value;
}

/* The command as a JSON array: the leaker by its path in the rootfs, then its arguments. */
static struct json_object *command_of(const char *const *args)
{
	struct json_object *command = json_object_new_array();
	char *path = format("/%s", args[0]);

	json_object_array_add(command, json_object_new_string(path));
	for (size_t i = 1; args[i]; i++)
		json_object_array_add(command, json_object_new_string(args[i]));
	free(path);
	return command;
}

static void write_config(const char *bundle, const char *cgroup, const char *const *args)
{
	struct json_object *config = parse(
		"{\"ociVersion\":\"1.0.2\",\"hostname\":\"bundle\","
		"\"process\":{\"terminal\":false,\"user\":{\"uid\":0,\"gid\":0},\"cwd\":\"/\"},"
		"\"root\":{\"path\":\"rootfs\",\"readonly\":true},"
		"\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"}],"
		"\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"mount\"},"
		"{\"type\":\"ipc\"},{\"type\":\"uts\"}]}}");
	char *path = format("%s/config.json", bundle);

	json_object_object_add(field(config, "process"), "args", command_of(args));
	json_object_object_add(field(config, "linux"), "cgroupsPath",
			       json_object_new_string(cgroup));
	assert_int_equal(json_object_to_file(path, config), 0);
	json_object_put(config);
	free(path);
}

/* Makes BUNDLE/rootfs with the leaker in it. */
static void fill_rootfs(const char *bundle, const char *leaker)
{
	char *root = format("%s/rootfs", bundle), *proc = format("%s/proc", root),
	     *to = format("%s/%s", root, leaker), *from = leaker_path(leaker);

	assert_int_equal(mkdir(root, 0755), 0);
	assert_int_equal(mkdir(proc, 0755), 0);
	copy_file(from, to);
	free(from);
	free(to);
	free(proc);
	free(root);
}

/* runc writes the file, all at once, when it has started the program. */
static pid_t await_pid(const char *path)
{
	int pid = 0;

	for (int waited = 0; waited < TIMEOUT_MS && !pid; waited += PID_FILE_MS) {
		FILE *file = fopen(path, "re");

		if (!file) {
			sleep_ms(PID_FILE_MS);
			continue;
		}
		if (fscanf(file, "%d", &pid) != 1)
			fail_msg("%s has no PID", path);
		fclose(file);
	}
	assert_true(pid > 0);
	return pid;
}

struct runc *runc__start(const char *const *args)
{
	const char *bundle = scratch_dir();
	char *pid_file = format("%s/pid", bundle);
	struct runc *runc = calloc(1, sizeof(*runc));

	assert_non_null(runc);
	assert_true(runc_cnt < MAX_RUNCS);
	runc->id = format("leaksweep-e2e-%d-%zu", (int)getpid(), runc_cnt);
	group__make(runc->id, 0);
	runc->cgroup = group__path(runc->id);
	write_config(bundle, runc->cgroup, args);
	fill_rootfs(bundle, args[0]);
	runcs[runc_cnt++] = runc;
	runc->child = leaker__start(
		ARGS(RUNC, "run", "--bundle", bundle, "--pid-file", pid_file, runc->id), NULL);
	runc->pid = await_pid(pid_file);
	free(pid_file);
	return runc;
}

void runc__remove_all(void)
{
	while (runc_cnt) {
		struct runc *runc = runcs[--runc_cnt];
		struct child *removal =
			child__start(ARGS(RUNC, "delete", "--force", runc->id), NULL);

		child__await_exit(removal, TIMEOUT_MS);
		free(runc->cgroup);
		free(runc->id);
		free(runc);
	}
}
