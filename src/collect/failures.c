/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that was refused, as the kernel side has noted it once for each stack. */
#include "collect/pass.h"

#include <errno.h>
#include <stdlib.h>

#include "collect/map_reader.h"
#include "util/clock.h"

struct found_failure {
	struct failure_key key;
	struct failure failure;
	uint32_t proc; /* index in the snapshot */
};

struct found_failures {
	ARRAY(struct found_failure) list;
};

struct failure_pass {
	struct collector *c;
	ARRAY(struct failure_key) gone;
	struct found_failures found;
};

static int each_failure(struct failure_pass *pass, map_entry_fn fn)
{
	return map_each(pass->c->maps->failures, sizeof(struct failure_key), sizeof(struct failure),
			fn, pass);
}

static int see_gone(void *arg, const void *key, const void *value)
{
	struct failure_pass *pass = arg;
	const struct failure_key *failure = key;

	(void)value;
	return hashmap__find(&pass->c->purged, failure->space, 0)
		       ? array_push(&pass->gone, *failure)
		       : 0;
}

int pass__purge_failures(struct collector *c)
{
	struct failure_pass pass = {.c = c};
	int err;

	if (!c->purged.cnt || c->maps->failures < 0)
		return 0;
	err = each_failure(&pass, see_gone);
	if (pass.gone.cnt)
		map_delete_batch(c->maps->failures, pass.gone.items, sizeof(struct failure_key),
				 pass.gone.cnt);
	array_free(&pass.gone);
	return err;
}

/* Lists it if it is one of the snapshot's processes. */
static int see_failure(void *arg, const void *key, const void *value)
{
	struct failure_pass *pass = arg;
	struct found_failure found = {
		.key = *(const struct failure_key *)key,
		.failure = *(const struct failure *)value,
	};
	uint64_t *proc = hashmap__find(&pass->c->snap_procs, found.key.space, 0);

	if (!proc)
		return 0;
	found.proc = *proc;
	return array_push(&pass->found.list, found);
}

static int compare_times(const void *a, const void *b)
{
	const struct found_failure *x = a, *y = b;

	if (x->failure.first_ns != y->failure.first_ns)
		return x->failure.first_ns < y->failure.first_ns ? -1 : 1;
	return x->key.stack_id < y->key.stack_id ? -1 : x->key.stack_id > y->key.stack_id;
}

/* Stacks may be younger than the snapshot. */
static int refresh_stacks(struct collector *c, const struct found_failures *found)
{
	for (size_t i = 0; i < found->list.cnt; i++) {
		uint64_t id = stack_cache__same(c->stacks, found->list.items[i].key.stack_id);

		if (id != STACK_LOST && !stack_cache__find(c->stacks, id))
			return stack_cache__refresh(c->stacks);
	}
	return 0;
}

static enum failure_kind kind_of(uint32_t cause)
{
	switch ((enum failure_cause)cause) {
	case FAILURE_CAUSE_MAPPING:
		return FAILURE_MAPPING;
	case FAILURE_CAUSE_MEMORY_ERROR:
		return FAILURE_MEMORY_ERROR;
	default:
		return FAILURE_ALLOC;
	}
}

/* Returns what was found out about a failure, or NULL. */
static const struct failure_limit *limit_of(const struct collector *c,
					    const struct failure_key *key)
{
	for (size_t i = 0; i < c->opts->failure_limit_cnt; i++) {
		const struct failure_limit *limit = &c->opts->failure_limits[i];

		if (limit->stack_id == key->stack_id && limit->space == key->space &&
		    limit->cause == key->cause)
			return limit;
	}
	return NULL;
}

static int add_failure(struct collector *c, struct snapshot *snap,
		       const struct found_failure *found, uint64_t to_realtime)
{
	const struct space_info *space = space_table__find(c->table, found->key.space);
	const struct failure_limit *limit = limit_of(c, &found->key);
	struct snap_failure failure = {
		.kind = kind_of(found->key.cause),
		.proc = found->proc,
		.time_ns = found->failure.first_ns + to_realtime,
		.bytes = found->failure.bytes,
		.cnt = found->failure.cnt,
	};
	struct pass_stack stack;
	struct python_pass *python;
	int err;

	if (!space)
		return 0;
	if (limit) {
		failure.limit = (char *)limit->limit; /* copied */
		failure.bytes = failure.bytes ? failure.bytes : limit->bytes;
	}
	err = pass__add_stack(c, snap, space, stack_cache__same(c->stacks, found->key.stack_id),
			      &stack);
	if (err)
		return err;
	failure.stack = stack.node;
	python = pass__python(c, space->id);
	if (python)
		snap->procs.items[found->proc].python.merge_violations = python->merge_violations;
	return snapshot__add_failure(snap, &failure);
}

int collector__read_failures(struct collector *c, struct snapshot *snap)
{
	uint64_t to_realtime = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC);
	struct failure_pass pass = {.c = c};
	const struct found_failures *found = &pass.found;
	int err;

	if (c->maps->failures < 0)
		return 0;
	err = each_failure(&pass, see_failure);
	if (err)
		goto cleanup;
	if (found->list.cnt)
		qsort(found->list.items, found->list.cnt, sizeof(struct found_failure),
		      compare_times);
	err = refresh_stacks(c, found);
	for (size_t i = 0; i < found->list.cnt && !err; i++)
		err = add_failure(c, snap, &found->list.items[i], to_realtime);
cleanup:
	array_free(&pass.found.list);
	return err;
}
