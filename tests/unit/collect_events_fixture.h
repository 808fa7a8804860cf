/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events as bpf/ sends them, for the tests of collect/space_table.h and collect/lineage.h, and an
 * empty table to apply them to.
 */
#ifndef LEAKSWEEP_TESTS_COLLECT_EVENTS_FIXTURE_H
#define LEAKSWEEP_TESTS_COLLECT_EVENTS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "collect/space_table.h"
#include "include/events.h"

#define NO_SUCH_PID 0x3fffffff

static inline void apply(struct space_table *table, struct event event)
{
	assert_int_equal(space_table__apply(table, &event), 0);
}

static inline struct event life_event(enum event_kind kind, uint32_t space, pid_t tgid,
				      uint64_t time_ns)
{
	struct event event = {.kind = kind, .space = space, .time_ns = time_ns, .proc.tgid = tgid};

	snprintf(event.proc.comm, MAX_COMM, "p%d", (int)tgid);
	return event;
}

static inline struct space_info *see_new(struct space_table *table, uint32_t space, pid_t tgid,
					 uint64_t time_ns)
{
	apply(table, life_event(EV_SPACE_NEW, space, tgid, time_ns));
	return space_table__find(table, space);
}

static inline struct space_info *see_fork(struct space_table *table, uint32_t space, pid_t tgid,
					  uint32_t parent, uint64_t time_ns)
{
	struct event event = life_event(EV_FORK, space, tgid, time_ns);

	event.proc.parent = parent;
	apply(table, event);
	return space_table__find(table, space);
}

static inline struct space_info *see_exec(struct space_table *table, uint32_t space, pid_t tgid,
					  uint32_t old, uint64_t time_ns)
{
	struct event event = life_event(EV_EXEC, space, tgid, time_ns);

	event.proc.parent = old;
	apply(table, event);
	return space_table__find(table, space);
}

static inline void see_exit(struct space_table *table, uint32_t space, pid_t tgid, int exit_code,
			    uint64_t time_ns)
{
	struct event event = life_event(EV_EXIT, space, tgid, time_ns);

	event.proc.exit_code = exit_code;
	apply(table, event);
}

static inline struct block make_block(uint64_t size, uint64_t born_ns)
{
	return (struct block){
		.size = size, .born_ns = born_ns, .stack_id = 7, .layer = LAYER_MALLOC};
}

/* The space freed a block of its own that a descendant may still have. */
static inline void see_ancestor_free(struct space_table *table, uint32_t space, uint64_t addr,
				     struct block block, uint64_t time_ns)
{
	apply(table, (struct event){
			     .kind = EV_ANCESTOR_FREE,
			     .space = space,
			     .time_ns = time_ns,
			     .freed = {.addr = addr, .block = block},
		     });
}

/* A free of a block that an ancestor had at that moment, from before the fork. */
static inline void see_inherited_free(struct space_table *table, uint32_t space, uint64_t addr,
				      uint64_t time_ns)
{
	apply(table, (struct event){
			     .kind = EV_UNKNOWN_FREE,
			     .flags = EVENT_INHERITED,
			     .space = space,
			     .time_ns = time_ns,
			     .freed = {.addr = addr},
		     });
}

/* The space freed an address that it had not allocated itself. */
static inline void see_unknown_free(struct space_table *table, uint32_t space, uint64_t addr,
				    uint64_t time_ns)
{
	apply(table, (struct event){
			     .kind = EV_UNKNOWN_FREE,
			     .space = space,
			     .time_ns = time_ns,
			     .freed = {.addr = addr},
		     });
}

static inline int new_table(void **state)
{
	*state = calloc(1, sizeof(struct space_table));
	return *state ? 0 : -1;
}

static inline int free_table(void **state)
{
	space_table__free(*state);
	free(*state);
	return 0;
}

/* A test of a table of its own. */
#define TABLE_TEST(name) cmocka_unit_test_setup_teardown(name, new_table, free_table)

#endif
