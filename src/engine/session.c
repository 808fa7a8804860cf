/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attach/tool_memory.h"
#include "discover/name_cache.h"
#include "engine/targets.h"
#include "util/clock.h"
#include "util/message.h"
#include "util/privilege.h"
#include "util/remote.h"

#define LOOK_SHARE 4 /* of the bound of its own memory, a look at Pythons may take one in */
#define LISTING_PARTS                                                                              \
	50 /* looking who is in the wanted control groups takes one part of the time */
#define INIT_PID_NS_INO 0xeffffffc /* PROC_PID_INIT_INO, include/linux/proc_ns.h */

/* Whether this host lets us work at all. */
static int check_host(struct session *session, char **ret_message)
{
	struct features *features = &session->features;
	struct stat st;

	if (!stat("/proc/self/ns/pid", &st) && st.st_ino != INIT_PID_NS_INO)
		return fail(
			ret_message, -ENOTSUP,
			"this is a PID namespace of its own, where processes have other numbers "
			"than in the kernel: run leaksweep on the host, or in a container that "
			"shares the host's PID namespace");
	features__probe_best(features);
	if (features->err[FEAT_BPF] == -EPERM || features->err[FEAT_BPF] == -EACCES)
		return fail(ret_message, -EPERM,
			    "not allowed to load BPF programs: run as root (CAP_BPF, CAP_PERFMON "
			    "and CAP_SYS_ADMIN are needed; a container must be privileged)");
	if (features->err[FEAT_BPF])
		return fail(ret_message, features->err[FEAT_BPF],
			    "this kernel loads no BPF programs (%s): see "
			    "`leaksweep doctor`",
			    strerror(-features->err[FEAT_BPF]));
	if (!features__has(features, FEAT_BTF))
		return fail(ret_message, -ENOTSUP,
			    "this kernel has no /sys/kernel/btf/vmlinux: boot one built with "
			    "CONFIG_DEBUG_INFO_BTF=y (all distributions' since 2021 are)");
	if (features__has(features, FEAT_PERF_LINK) || features__has(features, FEAT_UPROBE_MULTI))
		return 0;
	if (features->err[FEAT_PERF_LINK] == -EACCES && perf_wants_sys_admin())
		return fail(ret_message, -EPERM,
			    "not allowed to set probes: this kernel wants CAP_SYS_ADMIN for them "
			    "while kernel.perf_event_paranoid is over 2");
	return fail(ret_message, -ENOTSUP,
		    "this kernel is too old or forbids uprobes (%s): Linux 6.1 is the "
		    "minimum, see `leaksweep doctor`",
		    strerror(-features->err[FEAT_PERF_LINK]));
}

static int load(struct session *session, char **ret_message)
{
	const char *mode = link_mode__name(session->opts->attach.mode);
	int err = attacher__open(&session->opts->attach, &session->features, &session->attacher);

	if (err == -EPERM || err == -EACCES)
		return fail(
			ret_message, err,
			"not allowed to attach BPF programs: run as root, outside of a locked-down "
			"container; `leaksweep doctor` tells what is missing");
	if (err == -ENOMEM)
		return fail(ret_message, err,
			    "the kernel has no room for the tables: use smaller --max-blocks or "
			    "--max-stacks");
	if (err && session->opts->attach.mode != LINK_AUTO)
		return fail(ret_message, err,
			    "this kernel has no %s probes (%s): leave --probe-mode out", mode,
			    strerror(-err));
	if (err)
		return fail(
			ret_message, err,
			"the kernel refused the BPF programs (%s): Linux 6.1 is the minimum, see "
			"`leaksweep doctor`",
			strerror(-err));
	return 0;
}

static void raise_file_limit(void)
{
	struct rlimit limit;

	/* Every file that code is mapped from is held open, and every probe of an old kernel is a
	 * descriptor. */
	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int start_command(struct session *session, char **ret_message)
{
	uint32_t space;
	int err;

	if (!session->opts->command)
		return 0;
	err = launch__start(session->opts->command, &session->launch);
	if (err)
		return fail(ret_message, err,
			    "could not start a process under control: %s (is another tracer "
			    "forbidden here?)",
			    strerror(-err));
	err = attacher__add_proc(session->attacher, session->launch.pid, &space);
	if (err)
		return err;
	return targets__add_root(session, session->launch.pid, space);
}

int session__open(const struct capture_opts *opts, struct session **ret, char **ret_message)
{
	struct session *session = calloc(1, sizeof(*session));
	int err;

	if (!session)
		return -ENOMEM;
	*ret = session;
	session->opts = opts;
	session->table.max_frees = opts->attach.max_blocks / BLOCKS_A_FREE;
	session->stats_fd = -1;
	err = targets__check(opts, ret_message);
	if (!err)
		err = check_host(session, ret_message);
	if (!err)
		err = load(session, ret_message);
	if (err)
		return err;
	session->events =
		ring_source__new(attacher__maps(session->attacher)->events, sizeof(struct event));
	session->same = same_files__new(attacher__unwind_memory(session->attacher),
					&session->table.modules);
	session->prober = prober__new(session->attacher, &session->table, session->same, &opts->elf,
				      opts->per_process);
	session->collector = collector__new(
		attacher__maps(session->attacher), attacher__hash_seed(session->attacher),
		&session->table, &session->codes,
		(uint64_t)opts->attach.max_stacks * TOOL_FRAMES_A_STACK);
	session->publisher = publisher__new(&opts->publish);
	err = unwinder__new(&opts->unwind, session->attacher, &session->table, &session->unwinder);
	if (err)
		return err;
	session->pythons =
		pythons__new(&opts->python, tool_memory__bound(&opts->attach) / LOOK_SHARE,
			     session->attacher, &session->table, session->same);
	session->residents = residents__new();
	session->groups = groups__new();
	session->names = name_cache__new("/");
	session->failures = failures__new();
	session->code_records = ring_source__new(attacher__maps(session->attacher)->python_codes,
						 sizeof(struct python_code));
	session->deferred = deferred__new(attacher__maps(session->attacher)->raw_stacks,
					  session->unwinder, session->collector, &session->table);
	if (!session->events || !session->same || !session->prober || !session->collector ||
	    !session->publisher || !session->deferred || !session->pythons || !session->residents ||
	    !session->groups || !session->names || !session->failures || !session->code_records)
		return -ENOMEM;
	err = targets__add(session, ret_message);
	if (!err)
		err = start_command(session, ret_message);
	raise_file_limit(); /* after the command has inherited the user's */
	return err;
}

void session__free(struct session *session)
{
	if (!session)
		return;
	if (session->launch.pid && !session->begun)
		launch__abort(&session->launch);
	session__end_stats(session);
	publisher__free(session->publisher);
	collector__free(session->collector);
	prober__free(session->prober);
	deferred__free(session->deferred);
	unwinder__free(session->unwinder);
	same_files__free(session->same);
	pythons__free(session->pythons);
	residents__free(session->residents);
	groups__free(session->groups);
	failures__free(session->failures);
	ring_source__free(session->code_records);
	code_table__free(&session->codes);
	targets__forget_containers(session);
	name_cache__free(session->names);
	ring_source__free(session->events);
	attacher__free(session->attacher);
	space_table__free(&session->table);
	free(session);
}

/* Brings what is known of a space up to date and probes what it maps. */
static int cover(struct session *session, struct space_info *space)
{
	bool had_new_code = space->maps_stale;
	size_t new_files = 0;
	int err;

	err = space_info__refresh(&session->table, space);
	if (err == -ENOMEM)
		return err;
	space->read_err = err;
	space->maps_stale = false; /* gone, or read: do not ask again until something changes */
	err = groups__note(session->groups, space->cgroup, clock_ns(CLOCK_MONOTONIC));
	if (!err)
		err = pythons__cover(session->pythons, space, session->launch.in_loader);
	if (err)
		return err;
	if (!had_new_code && space->coverage.cnt && !session->opts->per_process)
		return 0;
	err = unwinder__cover(session->unwinder, space);
	if (err)
		return err;
	if (session->opts->in_windows && !space->is_armed)
		return prober__prepare(session->prober, space);
	err = prober__cover(session->prober, space, &new_files);
	if (new_files && session->begun && !session->launch.in_loader && !space->is_armed) {
		space->late = true;
		session->late_files += new_files;
	}
	return err;
}

/* Reads the part of a line table that the kernel side had no room for. */
static uint8_t *read_rest(const struct session *session, const struct python_code *record,
			  uint32_t *ret_len)
{
	struct space_info *space = space_table__find(&session->table, record->space);
	uint32_t len = record->lines_len - record->lines_copied;
	uint8_t *rest;

	*ret_len = 0;
	if (!space || record->lines_len <= record->lines_copied || !record->lines_copied)
		return NULL;
	rest = malloc(len);
	if (rest && !remote_read(space->tgid, record->lines_at + record->lines_copied, rest, len))
		*ret_len = len;
	return rest;
}

/* Takes what the kernel side tells of Python code: it may be freed at any time. */
static int take_codes(struct session *session)
{
	const struct python_code *records;
	const void *drained;
	size_t cnt;
	int err;

	err = ring_source__drain(session->code_records, &drained, &cnt);
	records = drained;
	for (size_t i = 0; i < cnt && !err; i++) {
		uint32_t rest_len;
		uint8_t *rest = read_rest(session, &records[i], &rest_len);

		err = code_table__add(&session->codes, &records[i],
				      pythons__version(session->pythons, records[i].space), rest,
				      rest_len);
		free(rest);
	}
	return err;
}

int session__poll_pythons(struct session *session)
{
	return pythons__poll(session->pythons, session->begun);
}

void session__tell_failures(const struct session *session, uint64_t now_ns)
{
	FILE *out = session->opts->status;
	char *line;

	while ((line = failures__next_line(session->failures, now_ns))) {
		if (out && fprintf(out, "leaksweep: %s\n", line) > 0)
			fflush(out);
		free(line);
	}
}

/* What a process has become by exec is not looked at until somebody asks for it. */
static void forget_root(struct session *session, uint32_t id)
{
	struct space_info *space = space_table__find(&session->table, id);

	if (space)
		space->is_root = false;
}

/* Applies what is waiting, once. */
static int follow_events(struct session *session)
{
	const struct event *events;
	const void *records;
	size_t cnt;
	int err;

	err = deferred__take(session->deferred);
	if (!err)
		err = ring_source__drain(session->events, &records, &cnt);
	if (err)
		return err;
	events = records;
	for (size_t i = 0; i < cnt && !err; i++) {
		if (events[i].flags & EVENT_UNTRACED)
			err = targets__consider(session, &events[i]);
		else
			err = space_table__apply(&session->table, &events[i]);
		if (!err)
			err = failures__apply(session->failures, &events[i], &session->table);
		session->finalized += events[i].kind == EV_PYTHON_FINALIZE;
		if (session->opts->in_windows && events[i].kind == EV_EXEC && !err)
			forget_root(session, events[i].space);
		/* After exec the process is probed anew: what it maps now may be other files. */
		if (session->opts->per_process &&
		    (events[i].kind == EV_EXIT || events[i].kind == EV_EXEC))
			attacher__forget_proc(session->attacher, events[i].proc.tgid);
	}
	for (size_t i = 0; i < session->table.spaces.cnt && !err; i++) {
		struct space_info *space = session->table.spaces.items[i];

		if (space->state == PROC_RUNNING && (space->maps_stale || !space->start_ns) &&
		    (space->is_root || !session->opts->in_windows))
			err = cover(session, space);
	}
	/* What stacks have asked for can be answered now that the mappings are known. */
	for (size_t i = 0; i < cnt && !err; i++)
		err = unwinder__apply(session->unwinder, &events[i]);
	if (!err)
		err = take_codes(session);
	return err ? err : deferred__finish(session->deferred, false);
}

int session__follow_moved(struct session *session)
{
	uint64_t begin_ns = clock_ns(CLOCK_MONOTONIC);
	int err;

	if (!session->moved || !pace__is_due(&session->listing, begin_ns))
		return 0;
	session->moved = false;
	err = targets__poll_cgroups(session);
	pace__note(&session->listing, begin_ns, clock_ns(CLOCK_MONOTONIC), LISTING_PARTS);
	return err || !session->begun ? err : follow_events(session);
}

/* Of two times to wait, -1 = for ever. */
static int sooner(int ms, int other_ms)
{
	return ms < 0 || (other_ms >= 0 && other_ms < ms) ? other_ms : ms;
}

int session__wait_ms(const struct session *session)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
	int ms = sooner(pythons__wait_ms(session->pythons),
			failures__wait_ms(session->failures, now_ns));

	return session->moved ? sooner(ms, pace__wait_ms(&session->listing, now_ns)) : ms;
}

int session__process_events(struct session *session)
{
	int err = follow_events(session);

	/* Once: on a busy host somebody always moves, and others wait for the loop. */
	return err ? err : session__follow_moved(session);
}

/* Execs the command and follows its loader, library by library. */
static int run_command(struct session *session, char **ret_message)
{
	const char *name = session->opts->command[0];
	struct space_info *space;
	int err, held;

	attacher__start(session->attacher);
	err = launch__exec(&session->launch);
	if (err)
		return fail(ret_message, err, "cannot run %s: %s", name, strerror(-err));
	do {
		err = session__process_events(session);
		space = space_table__find_tgid(&session->table, session->launch.pid);
		if (!err && space) {
			space->maps_stale = true;
			err = cover(session, space);
		}
		held = err ? err : launch__next_library(&session->launch);
	} while (held > 0);
	return held;
}

static int cover_initial_targets(struct session *session, char **ret_message)
{
	int err = 0;

	for (size_t i = 0; i < session->table.spaces.cnt && !err; i++) {
		struct space_info *space = session->table.spaces.items[i];

		if (space->tgid == session->launch.pid)
			continue;
		err = cover(session, space);
	}
	return err ? err : targets__check_coverage(session, ret_message);
}

static void print_status(struct session *session)
{
	const char *why = "", *mode = link_mode__name(attacher__mode(session->attacher, &why));
	size_t running = 0;

	if (!session->opts->status)
		return;
	for (size_t i = 0; i < session->table.spaces.cnt; i++)
		running += session->table.spaces.items[i]->state == PROC_RUNNING;
	fprintf(session->opts->status, "leaksweep: tracing %zu process%s by %s probes (%s); %s\n",
		running, running == 1 ? "" : "es", mode, why,
		session->opts->duration_ns ? "Ctrl-C ends it early with the report"
					   : "Ctrl-C ends it with the report");
	fflush(session->opts->status);
}

int session__begin(struct session *session, char **ret_message)
{
	int err;

	err = cover_initial_targets(session, ret_message);
	if (err)
		return err;
	session->started_ns = clock_ns(CLOCK_MONOTONIC);
	session->started_real_ns = clock_ns(CLOCK_REALTIME);
	session->started_cpu_ns = session__cpu_ns(session);
	session__begin_stats(session);
	if (session->opts->command) {
		err = run_command(session, ret_message);
		if (err)
			return err;
	}
	attacher__start(session->attacher);
	session->begun = true;
	print_status(session);
	return session__poll_pythons(session);
}

int session__add(struct session *session, pid_t pid, uint32_t *ret_space)
{
	int err = attacher__add_proc(session->attacher, pid, ret_space);
	struct space_info *space;

	if (err)
		return err;
	/* Whose memory is another's is looked at there (clone(CLONE_VM)). */
	space = space_table__find(&session->table, *ret_space);
	if (space && space->tgid != pid) {
		*ret_space = SPACE_NONE;
		return -ESRCH;
	}
	err = targets__add_root(session, pid, *ret_space);
	if (err)
		return err;
	space = space_table__find(&session->table, *ret_space);
	err = space ? cover(session, space) : -ESRCH;
	return err ? err : session__poll_pythons(session);
}

int session__arm(struct session *session, uint32_t id)
{
	struct space_info *space = space_table__find(&session->table, id);
	int err;

	if (!space || space->state != PROC_RUNNING)
		return -ENOENT;
	/* What it has mapped since the last time nobody has told. */
	space->maps_stale = true;
	space->is_armed = true;
	attacher__begin_window(session->attacher);
	err = cover(session, space);
	return err ? err : pythons__probe(session->pythons, id);
}

void session__disarm(struct session *session, uint32_t id)
{
	struct space_info *space = space_table__find(&session->table, id);

	if (!space || !space->is_armed)
		return;
	space->is_armed = false;
	attacher__forget_proc(session->attacher, space->tgid);
	prober__forget(session->prober, space);
}

void session__drop(struct session *session, uint32_t id)
{
	struct space_info *space = space_table__find(&session->table, id);

	session__disarm(session, id);
	if (!space)
		return;
	space->is_root = false; /* ... whose end a report would tell */
	if (space->state != PROC_RUNNING)
		return;
	space->state = PROC_EXECED;
	attacher__forget_space(session->attacher, space->tgid, id);
}

void session__begin_stats(struct session *session)
{
	if (session->stats_fd < 0)
		session->stats_fd = calibrate__enable_stats();
}

void session__end_stats(struct session *session)
{
	if (session->stats_fd >= 0)
		close(session->stats_fd);
	session->stats_fd = -1;
}

int session__poll_cgroups(struct session *session)
{
	int err = targets__find_containers(session, NULL);

	/* What cannot be looked through now may be the next time. */
	if (err == -ENOMEM)
		return err;
	err = targets__poll_cgroups(session);
	return err ? err : session__process_events(session);
}

bool session__is_over(const struct session *session)
{
	const struct capture_opts *opts = session->opts;
	size_t roots = 0;

	if (opts->all || opts->comms.cnt || opts->cgroups.cnt || opts->containers.cnt)
		return false;
	for (size_t i = 0; i < session->table.spaces.cnt; i++)
		roots += session->table.spaces.items[i]->is_root &&
			 session->table.spaces.items[i]->state == PROC_RUNNING;
	return !roots;
}

char *session__explain(const struct session *session, int err)
{
	const char *path = session->opts->publish.path;
	char *message = NULL;
	int len;

	if (err == -ENOMEM)
		len = asprintf(
			&message,
			"out of memory while collecting: use --min-size or a smaller --max-blocks");
	else if (path)
		len = asprintf(&message, "cannot write %s: %s", path, strerror(-err));
	else
		len = asprintf(&message, "cannot write the report: %s", strerror(-err));
	return len < 0 ? NULL : message;
}
