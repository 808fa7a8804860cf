/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/deferred.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collect/ring_source.h"
#include "util/clock.h"

#define PATIENCE_NS 3000000000ULL /* a table that has not come by then does not come */

struct waiting_stack {
	struct raw_stack *raw; /* owned */
	uint64_t since_ns;
};

struct deferred {
	struct ring_source *source;
	struct unwinder *unwinder;
	struct collector *collector;
	struct space_table *table;
	ARRAY(struct waiting_stack) waiting;
	uint64_t ends[UNWIND_END_MAX]; /* how many ended so */
};

struct deferred *deferred__new(int map_fd, struct unwinder *unwinder, struct collector *collector,
			       struct space_table *table)
{
	struct deferred *deferred = calloc(1, sizeof(*deferred));

	if (!deferred)
		return NULL;
	deferred->unwinder = unwinder;
	deferred->collector = collector;
	deferred->table = table;
	deferred->source = ring_source__new(map_fd, sizeof(struct raw_stack));
	if (!deferred->source) {
		free(deferred);
		return NULL;
	}
	return deferred;
}

void deferred__free(struct deferred *deferred)
{
	if (!deferred)
		return;
	for (size_t i = 0; i < deferred->waiting.cnt; i++)
		free(deferred->waiting.items[i].raw);
	array_free(&deferred->waiting);
	ring_source__free(deferred->source);
	free(deferred);
}

int deferred__poll_fd(const struct deferred *deferred)
{
	return ring_source__poll_fd(deferred->source);
}

int deferred__take(struct deferred *deferred)
{
	struct waiting_stack stack = {.since_ns = clock_ns(CLOCK_MONOTONIC)};
	const struct raw_stack *raw;
	const void *records;
	size_t cnt;
	int err;

	err = ring_source__drain(deferred->source, &records, &cnt);
	if (err)
		return err;
	raw = records;
	for (size_t i = 0; i < cnt; i++) {
		stack.raw = malloc(sizeof(*stack.raw));
		if (!stack.raw)
			return -ENOMEM;
		memcpy(stack.raw, &raw[i], sizeof(*stack.raw));
		if (array_push(&deferred->waiting, stack)) {
			free(stack.raw);
			return -ENOMEM;
		}
	}
	return 0;
}

/* Returns 0, -EAGAIN (not yet) or another negative errno. */
static int finish_one(struct deferred *deferred, const struct raw_stack *raw)
{
	struct space_info *space = space_table__find(deferred->table, raw->space);
	struct stack_walk walk = {.raw = raw, .store = unwinder__store(deferred->unwinder)};
	struct stack_frames frames;
	struct walk_code *code;
	enum unwind_end end;
	int err;

	if (!space)
		return 0; /* it has ended, and nobody will ask */
	err = collector__begun_stack(deferred->collector, raw->stack_id, &frames);
	if (err)
		return err == -ENOENT ? 0 : err;
	err = unwinder__list_code(deferred->unwinder, space, raw->time_ns, &code, &walk.code_cnt);
	if (err)
		return err;
	walk.code = code;
	walk.frame_cnt = frames.frame_cnt;
	memcpy(walk.frames, frames.frame, sizeof(walk.frames));
	end = stack_walk__finish(&walk);
	free(code);
	if (end == UNWIND_NO_TABLE)
		return -EAGAIN;
	if (end == UNWIND_NO_CODE) /* the kernel side would have found some: it has gone since */
		end = UNWIND_NO_TABLE;
	deferred->ends[end]++;
	frames.frame_cnt = walk.frame_cnt;
	frames.end = end;
	frames.chained |= walk.chained;
	memcpy(frames.frame, walk.frames, sizeof(walk.frames));
	return collector__finish_stack(deferred->collector, raw->stack_id, &frames);
}

int deferred__finish(struct deferred *deferred, bool give_up)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	size_t kept = 0;
	int err = 0;

	for (size_t i = 0; i < deferred->waiting.cnt; i++) {
		struct waiting_stack stack = deferred->waiting.items[i];
		int one = err ? 0 : finish_one(deferred, stack.raw);

		if (one == -EAGAIN && !give_up && now - stack.since_ns < PATIENCE_NS) {
			deferred->waiting.items[kept++] = stack;
			continue;
		}
		free(stack.raw);
		if (one == -EAGAIN)
			deferred->ends[UNWIND_NO_TABLE]++;
		else if (one)
			err = one;
	}
	deferred->waiting.cnt = kept;
	return err;
}

void deferred__tell(const struct deferred *deferred, struct snapshot *snap)
{
	static const enum stat_id stats[UNWIND_END_MAX] = {
		[UNWIND_TRUNCATED] = STAT_STACKS_TRUNCATED,
		[UNWIND_BROKEN] = STAT_STACKS_BROKEN,
		[UNWIND_NO_TABLE] = STAT_STACKS_NO_TABLE,
		[UNWIND_NO_RULE] = STAT_STACKS_NO_RULE,
		[UNWIND_ODD_RULE] = STAT_STACKS_ODD_RULE,
		[UNWIND_UNREADABLE] = STAT_STACKS_UNREADABLE,
		[UNWIND_NO_CODE] = STAT_STACKS_NO_CODE,
	};

	for (int end = UNWIND_TRUNCATED; end < UNWIND_END_MAX; end++)
		snap->stats[stats[end]] += deferred->ends[end];
}
