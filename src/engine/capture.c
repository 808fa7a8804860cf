/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "collect/collector.h"
#include "collect/space_table.h"
#include "engine/launch.h"
#include "engine/prober.h"
#include "engine/session.h"
#include "util/clock.h"
#include "util/message.h"
#include "util/procfs.h"
#include "util/signals.h"

#define DRAIN_NS                                                                                   \
	(2 * NS_PER_MS) /* calls in flight when recording is frozen come back within this */
#define CGROUP_POLL_NS NS_PER_SEC
#define ROOM_NS (2 * NS_PER_SEC)
#define STATS_NS (250 * NS_PER_MS) /* long enough for an average, short enough to cost nothing */

enum wakeup {
	WAKE_EVENTS,
	WAKE_SIGNAL,
	WAKE_INTERVAL,
	WAKE_END,
	WAKE_POLL,
	WAKE_STATS,
	WAKE_ROOM,
	WAKE_MAX
};

struct loop {
	int epoll_fd, signal_fd;
	int timers[WAKE_MAX]; /* by wakeup, -1 = none */
};

static int add_wakeup(struct loop *loop, int fd, enum wakeup wakeup)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = wakeup};

	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int add_timer(struct loop *loop, uint64_t ns, bool repeat, enum wakeup wakeup)
{
	struct itimerspec when = {
		.it_value = {.tv_sec = ns / NS_PER_SEC, .tv_nsec = ns % NS_PER_SEC}};
	int fd;

	if (!ns)
		return 0;
	if (repeat)
		when.it_interval = when.it_value;
	fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	loop->timers[wakeup] = fd;
	if (timerfd_settime(fd, 0, &when, NULL))
		return -errno;
	return add_wakeup(loop, fd, wakeup);
}

static void loop__close(struct loop *loop)
{
	for (size_t i = 0; i < sizeof(loop->timers) / sizeof(loop->timers[0]); i++)
		if (loop->timers[i] >= 0)
			close(loop->timers[i]);
	if (loop->signal_fd >= 0)
		close(loop->signal_fd);
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
}

/* Signals first, so that one that comes while probes are being made ends the run properly. */
static int loop__open(struct loop *loop)
{
	sigset_t signals;

	for (size_t i = 0; i < sizeof(loop->timers) / sizeof(loop->timers[0]); i++)
		loop->timers[i] = -1;
	loop->signal_fd = -1;
	end_signals(&signals);
	sigaddset(&signals, SIGCHLD);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		return -errno;
	loop->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (loop->signal_fd < 0)
		return -errno;
	return add_wakeup(loop, loop->signal_fd, WAKE_SIGNAL);
}

static int loop__start(struct loop *loop, const struct session *session)
{
	const struct capture_opts *opts = session->opts;
	int err;

	err = add_wakeup(loop, ring_source__poll_fd(session->events), WAKE_EVENTS);
	if (!err)
		err = add_wakeup(loop, deferred__poll_fd(session->deferred), WAKE_EVENTS);
	if (!err)
		err = add_wakeup(loop, ring_source__poll_fd(session->code_records), WAKE_EVENTS);
	if (!err)
		err = add_timer(loop, opts->interval_ns, true, WAKE_INTERVAL);
	if (!err)
		err = add_timer(loop, opts->duration_ns, false, WAKE_END);
	if (!err)
		err = add_timer(loop, STATS_NS, false, WAKE_STATS);
	if (!err)
		err = add_timer(loop, ROOM_NS, true, WAKE_ROOM);
	if (!err && (opts->cgroups.cnt || opts->containers.cnt))
		err = add_timer(loop, CGROUP_POLL_NS, true, WAKE_POLL);
	return err;
}

/* Returns whether a signal asks for the end. */
static bool read_signals(struct loop *loop, struct session *session)
{
	struct signalfd_siginfo info;
	bool end = false;

	while (read(loop->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo != SIGCHLD)
			end = true;
		else if (session->launch.pid && launch__reap(&session->launch))
			end = true;
	}
	return end;
}

static void read_timer(struct loop *loop, enum wakeup wakeup)
{
	uint64_t ticks;

	if (read(loop->timers[wakeup], &ticks, sizeof(ticks)) < 0)
		return; /* read by somebody else's wake-up: nothing to do */
}

static int answer(struct loop *loop, struct session *session, enum wakeup wakeup, bool *end)
{
	int err = 0;

	switch (wakeup) {
	case WAKE_EVENTS:
		err = session__process_events(session);
		*end |= session__is_over(session);
		break;
	case WAKE_SIGNAL:
		*end |= read_signals(loop, session);
		break;
	case WAKE_INTERVAL:
		read_timer(loop, WAKE_INTERVAL);
		err = session__report(session, false, NULL);
		break;
	case WAKE_END:
		*end = true;
		break;
	case WAKE_POLL:
		read_timer(loop, WAKE_POLL);
		err = session__poll_cgroups(session);
		break;
	case WAKE_STATS:
		read_timer(loop, WAKE_STATS);
		session__end_stats(session);
		break;
	case WAKE_ROOM:
		read_timer(loop, WAKE_ROOM);
		err = session__make_room(session);
		*end |= session__is_over(session);
		break;
	case WAKE_MAX:
		break;
	}
	return err;
}

/* Runs until something ends the capture. Returns 0 or a negative errno. */
static int run_loop(struct loop *loop, struct session *session)
{
	struct epoll_event ready[8];
	bool end = false;
	int err = 0, cnt;

	while (!err && !end) {
		cnt = epoll_wait(loop->epoll_fd, ready, 8, session__wait_ms(session));
		if (cnt < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < cnt && !err; i++)
			err = answer(loop, session, ready[i].data.u32, &end);
		if (!err)
			err = session__poll_pythons(session);
		if (!err)
			err = session__follow_moved(session);
		end |= session__is_full(session);
		session__tell_failures(session, clock_ns(CLOCK_MONOTONIC));
		if (!err && failures__wants_report(session->failures, clock_ns(CLOCK_MONOTONIC)))
			err = session__report(session, false, NULL);
	}
	return err;
}

/* Everything that was under way comes to rest, then sums and blocks must agree. */
static int finish(struct session *session, struct capture_result *ret)
{
	const struct timespec pause = {.tv_nsec = DRAIN_NS};
	int err;

	if (session->launch.pid && session__is_over(session))
		launch__wait(&session->launch);
	err = session__look(session);
	if (err)
		return err;
	attacher__freeze(session->attacher);
	nanosleep(&pause, NULL);
	attacher__detach(
		session->attacher); /* neither the targets nor our own reporting pay any longer */
	err = session__report(session, true, &ret->live_bytes);
	session__tell_failures(session, UINT64_MAX);
	if (err || !session->memory_full)
		return err;
	return fail(&ret->message, -ENOMEM,
		    "ended early, with its report: its own memory came near its bound; use a "
		    "larger --memory, or trace fewer processes");
}

int capture__run(const struct capture_opts *opts, struct capture_result *ret)
{
	struct session *session = NULL;
	struct loop loop;
	int err;

	*ret = (struct capture_result){0};
	err = loop__open(&loop);
	if (!err)
		err = session__open(opts, &session, &ret->message);
	if (!err)
		err = session__begin(session, &ret->message);
	if (!err) /* what was asked for is time to record, not to make probes */
		err = loop__start(&loop, session);
	if (!err)
		err = run_loop(&loop, session);
	if (!err)
		err = finish(session, ret);
	if (err && !ret->message && session)
		ret->message = session__explain(session, err);
	session__free(session);
	loop__close(&loop);
	return err;
}
