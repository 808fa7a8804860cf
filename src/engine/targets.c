/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/targets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "discover/cgroup_name.h"
#include "discover/name_cache.h"
#include "engine/report_file.h"
#include "util/clock.h"
#include "util/message.h"
#include "util/procfs.h"

static int check_pid(pid_t pid, char **ret_message)
{
	struct proc_info info;
	int err;

	if (pid == getpid())
		return fail(ret_message, -EINVAL, "%d is leaksweep itself: name another process",
			    pid);
	err = proc_info__read(pid, &info);
	if (err == -ESRCH || err == -ENOENT)
		return fail(ret_message, -ESRCH,
			    "there is no process %d: `ps -e` lists those that run", pid);
	if (err)
		return fail(ret_message, err, "cannot read /proc/%d: %s", pid, strerror(-err));
	if (info.kernel_thread)
		return fail(ret_message, -EINVAL,
			    "%d (%s) is a kernel thread: it has no memory of its own to trace", pid,
			    info.comm);
	if (info.zombie)
		return fail(ret_message, -ESRCH,
			    "%d (%s) has already exited and only waits for its parent", pid,
			    info.comm);
	return 0;
}

int targets__check_cgroups(const char *const *paths, size_t path_cnt, char **ret_message)
{
	pid_t *pids;
	size_t cnt;
	int err;

	for (size_t i = 0; i < path_cnt; i++) {
		err = proc_list_cgroup(paths[i], &pids, &cnt);
		if (err)
			return fail(
				ret_message, err,
				"there is no cgroup %s: give its path below /sys/fs/cgroup, as in "
				"/proc/PID/cgroup",
				paths[i]);
		free(pids);
	}
	return 0;
}

int targets__check(const struct capture_opts *opts, char **ret_message)
{
	int err = 0;

	for (size_t i = 0; i < opts->pids.cnt && !err; i++)
		err = check_pid(opts->pids.items[i], ret_message);
	if (!err)
		err = targets__check_cgroups(opts->cgroups.items, opts->cgroups.cnt, ret_message);
	return err ? err : report_file__check_option(opts->publish.path, ret_message);
}

int targets__add_root(struct session *session, pid_t pid, uint32_t space_id)
{
	struct space_info *space =
		space_table__add(&session->table, space_id, pid, clock_ns(CLOCK_MONOTONIC));

	if (!space)
		return -ENOMEM;
	space->is_root = true;
	return 0;
}

static int add_process(struct session *session, pid_t pid, bool is_root)
{
	uint32_t id;
	int err;

	if (pid == getpid() || pid == session->launch.pid)
		return 0;
	err = attacher__add_proc(session->attacher, pid, &id);
	if (err == -ESRCH && !is_root)
		return 0;
	if (session->begun && (err == -E2BIG || err == -ENOSPC || err == -ENOMEM)) {
		session->procs_full = true;
		return 0;
	}
	if (err)
		return err;
	if (is_root)
		return targets__add_root(session, pid, id);
	return space_table__add(&session->table, id, pid, clock_ns(CLOCK_MONOTONIC)) ? 0 : -ENOMEM;
}

static bool is_wanted_comm(const struct session *session, const char *comm)
{
	const struct capture_opts *opts = session->opts;

	for (size_t i = 0; i < opts->comms.cnt; i++)
		if (!strncmp(opts->comms.items[i], comm, MAX_COMM - 1))
			return true;
	return false;
}

static bool is_traced(const struct session *session, pid_t pid)
{
	const struct space_info *space = space_table__find_tgid(&session->table, pid);

	return space && space->state == PROC_RUNNING;
}

/* Adds all processes, or those with a wanted name; *ret_added counts those that were there. */
static int add_by_scan(struct session *session, size_t *ret_added)
{
	struct proc_info info;
	pid_t *pids;
	size_t cnt;
	int err;

	err = proc_list(&pids, &cnt);
	if (err)
		return err;
	*ret_added = 0;
	for (size_t i = 0; i < cnt && !err; i++) {
		if (pids[i] == getpid() || proc_info__read(pids[i], &info) || info.kernel_thread ||
		    info.zombie)
			continue;
		if (!session->opts->all && !is_wanted_comm(session, info.comm))
			continue;
		if (!is_traced(session, pids[i]))
			err = add_process(session, pids[i], false);
		(*ret_added)++;
	}
	free(pids);
	return err;
}

void targets__forget_containers(struct session *session)
{
	for (size_t i = 0; i < session->container_cgroups.cnt; i++)
		free(session->container_cgroups.items[i]);
	array_free(&session->container_cgroups);
}

int targets__find_containers(struct session *session, const char **ret_missing)
{
	const struct capture_opts *opts = session->opts;
	__typeof__(session->container_cgroups) found = {0};
	const char *missing = NULL;
	int err = 0;

	name_cache__begin(session->names, clock_ns(CLOCK_MONOTONIC));
	for (size_t i = 0; i < opts->containers.cnt && !err; i++) {
		char **paths = NULL;
		size_t cnt = 0;

		err = containers__find(session->names, opts->containers.items[i], &paths, &cnt);
		if (err || (!cnt && !missing))
			missing = opts->containers.items[i];
		for (size_t k = 0; k < cnt; k++)
			if (err || (err = array_push(&found, paths[k])))
				free(paths[k]);
		free(paths);
	}
	if (ret_missing)
		*ret_missing = missing;
	if (err) {
		for (size_t i = 0; i < found.cnt; i++)
			free(found.items[i]);
		array_free(&found);
		return err;
	}
	targets__forget_containers(session);
	session->container_cgroups = found;
	return 0;
}

/* Adds those of a control group; one that ends this moment is in its list still. */
static int add_cgroup(struct session *session, const char *path)
{
	struct proc_info info;
	pid_t *pids;
	size_t cnt;
	int err = 0;

	if (proc_list_cgroup(path, &pids, &cnt))
		return 0; /* removed: it may come back */
	for (size_t i = 0; i < cnt && !err; i++)
		if (!is_traced(session, pids[i]) && !proc_info__read(pids[i], &info) &&
		    !info.zombie)
			err = add_process(session, pids[i], false);
	free(pids);
	return err;
}

int targets__poll_cgroups(struct session *session)
{
	int err = 0;

	for (size_t i = 0; i < session->opts->cgroups.cnt && !err; i++)
		err = add_cgroup(session, session->opts->cgroups.items[i]);
	for (size_t i = 0; i < session->container_cgroups.cnt && !err; i++)
		err = add_cgroup(session, session->container_cgroups.items[i]);
	return err;
}

static int add_containers(struct session *session, char **ret_message)
{
	const char *missing;
	int err = targets__find_containers(session, &missing);

	if (err == -E2BIG)
		return fail(ret_message, -ESRCH,
			    "no container is named %s among the first control groups, and there "
			    "are too many of them to look at all: name its group with --cgroup",
			    missing);
	if (err)
		return fail(ret_message, err, "cannot look through the control groups: %s",
			    strerror(-err));
	if (missing)
		return fail(ret_message, -ESRCH,
			    "no container is named %s: give its name, or 8 digits of its id; "
			    "`leaksweep trace -a --group-by container` shows those that run",
			    missing);
	return targets__poll_cgroups(session);
}

int targets__add(struct session *session, char **ret_message)
{
	const struct capture_opts *opts = session->opts;
	size_t added = 0;
	int err = 0;

	for (size_t i = 0; i < opts->pids.cnt && !err; i++) {
		err = add_process(session, opts->pids.items[i], true);
		if (err == -ESRCH)
			return fail(ret_message, err,
				    "process %d has just ended: name one that still runs",
				    opts->pids.items[i]);
	}
	if (!err && opts->cgroups.cnt)
		err = targets__poll_cgroups(session);
	if (!err && opts->containers.cnt)
		err = add_containers(session, ret_message);
	if (!err && (opts->all || opts->comms.cnt)) {
		err = add_by_scan(session, &added);
		if (!err && !added && !opts->all)
			return fail(ret_message, -ESRCH,
				    "no process is named %s: `ps -e -o comm` lists the names "
				    "(15 characters at most)",
				    opts->comms.items[0]);
	}
	if (err == -E2BIG || err == -ENOSPC)
		return fail(ret_message, err,
			    "more processes than the table holds: use a larger --max-procs");
	return err;
}

int targets__add_missed(struct session *session)
{
	size_t found;

	return session->opts->all || session->opts->comms.cnt ? add_by_scan(session, &found) : 0;
}

int targets__check_coverage(struct session *session, char **ret_message)
{
	struct proc_info info;

	for (size_t i = 0; i < session->table.spaces.cnt; i++) {
		struct space_info *space = session->table.spaces.items[i];
		char *obstacle;
		int err;

		if (!space->is_root || space->tgid == session->launch.pid)
			continue;
		if (proc_info__read(space->tgid, &info) || info.zombie)
			return fail(ret_message, -ESRCH,
				    "process %d ended while probes were being made: name one that "
				    "still runs",
				    space->tgid);
		obstacle = prober__obstacle(space);
		if (!obstacle)
			continue;
		err = fail(ret_message, -ENOTSUP, "cannot trace process %d (%s): %s", space->tgid,
			   space->comm, obstacle);
		free(obstacle);
		return err;
	}
	return 0;
}

int targets__consider(struct session *session, const struct event *event)
{
	char comm[MAX_COMM + 1] = "";

	session->moved |= session->opts->attach.watch_cgroups;
	if (event->kind == EV_CGROUP_MOVE)
		return 0;
	memcpy(comm, event->proc.comm, MAX_COMM);
	if (!session->opts->all && !is_wanted_comm(session, comm))
		return 0;
	return add_process(session, event->proc.tgid, false);
}
