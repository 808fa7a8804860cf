/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events that were lost, made good: the kernel side's table tells whose memory is recorded, /proc
 * who runs and what is mapped. What has come and gone meanwhile stays lost.
 */
#include <errno.h>
#include <stdlib.h>

#include "collect/map_reader.h"
#include "engine/session.h"
#include "engine/targets.h"
#include "util/clock.h"

/* On a host that loses events all the time, looking through everybody takes one part of the time.
 */
#define PARTS 50
/* A birth's event follows the birth: it surely waits in the ring by then, or is lost. */
#define SETTLED_NS (10 * NS_PER_MS)

struct birth {
	uint32_t id;
	struct space space;
};

/* Spaces of the kernel side that nobody has told of. */
struct births {
	const struct space_table *table;
	uint64_t before_ns; /* CLOCK_MONOTONIC: later ones are not looked at */
	ARRAY(struct birth) list;
};

static int see_space(void *arg, const void *key, const void *value)
{
	struct birth birth = {.id = *(const uint32_t *)key, .space = *(const struct space *)value};
	struct births *births = arg;

	if (birth.space.flags & SPACE_RELEASED || birth.space.born_ns > births->before_ns ||
	    space_table__find(births->table, birth.id))
		return 0;
	return array_push(&births->list, birth);
}

/* Spaces are numbered in the order of birth: parents come before their children. */
static int compare_births(const void *a, const void *b)
{
	const struct birth *one = a, *other = b;

	return one->id < other->id ? -1 : one->id > other->id;
}

/* What the kernel side has told then, or should have. */
static struct event birth_event(const struct space_table *table, const struct birth *birth)
{
	const struct space_info *before = space_table__find_tgid(table, birth->space.tgid);
	struct event event = {
		.kind = EV_SPACE_NEW,
		.space = birth->id,
		.time_ns = birth->space.born_ns,
		.proc = {.tgid = birth->space.tgid, .parent = birth->space.parent},
	};

	if (birth->space.parent != SPACE_NONE) {
		event.kind = EV_FORK;
	} else if (before && before->state == PROC_RUNNING && before->id < birth->id) {
		event.kind = EV_EXEC;
		event.proc.parent = before->id;
	}
	return event;
}

/* One that has ended is still wanted for what its children have inherited. */
static int add_birth(struct space_table *table, const struct birth *birth)
{
	struct event event = birth_event(table, birth);
	int err;

	if (space_table__find(table, birth->id))
		return 0; /* its event had only waited */
	err = space_table__apply(table, &event);
	if (err || !(birth->space.flags & SPACE_ENDED))
		return err;
	event.kind = EV_EXIT;
	return space_table__apply(table, &event);
}

static int add_births(struct session *session, const struct births *births)
{
	int err = 0;

	for (size_t i = 0; i < births->list.cnt && !err; i++)
		err = add_birth(&session->table, &births->list.items[i]);
	return err;
}

/* Should the event of a process's end have been lost, /proc still tells. */
static void notice_ended(struct session *session, bool ask_all)
{
	for (size_t i = 0; i < session->table.spaces.cnt; i++) {
		struct space_info *space = session->table.spaces.items[i];

		if ((ask_all || space->is_root) && space->state == PROC_RUNNING &&
		    space_info__refresh(&session->table, space) == -ESRCH)
			space->state = PROC_EXITED;
	}
}

/* Who is there, and what they map: both may have changed unheard. */
static int look_around(struct session *session, const struct births *births)
{
	int err = session__process_events(session);

	if (err)
		return err;
	notice_ended(session, true); /* ... so that nobody is taken for who had the PID */
	err = add_births(session, births);
	if (!err)
		err = targets__add_missed(session);
	if (err)
		return err;
	for (size_t i = 0; i < session->table.spaces.cnt; i++)
		if (session->table.spaces.items[i]->state == PROC_RUNNING)
			session->table.spaces.items[i]->maps_stale = true;
	err = session__process_events(session);
	notice_ended(session, true); /* those of the kernel side's table, too */
	return err;
}

static int find_and_add(struct session *session)
{
	struct births births = {.table = &session->table,
				.before_ns = clock_ns(CLOCK_MONOTONIC) - SETTLED_NS};
	int err = map_each(attacher__maps(session->attacher)->spaces, sizeof(uint32_t),
			   sizeof(struct space), see_space, &births);

	if (births.list.cnt)
		qsort(births.list.items, births.list.cnt, sizeof(struct birth), compare_births);
	if (!err)
		err = look_around(session, &births);
	array_free(&births.list);
	return err;
}

int session__make_good(struct session *session, bool at_once)
{
	uint64_t stats[STAT_MAX] = {0}, begin_ns = clock_ns(CLOCK_MONOTONIC);
	int err = 0;

	map_read_counters(attacher__maps(session->attacher)->stats, stats, STAT_MAX);
	if (stats[STAT_EVENTS_LOST] == session->events_lost ||
	    (!at_once && !pace__is_due(&session->making_good, begin_ns))) {
		notice_ended(session, false);
		return 0;
	}
	session->events_lost = stats[STAT_EVENTS_LOST];
	if (session->opts->in_windows) /* nobody is looked at there who is not asked for */
		notice_ended(session, true);
	else
		err = find_and_add(session);
	pace__note(&session->making_good, begin_ns, clock_ns(CLOCK_MONOTONIC), PARTS);
	return err;
}
