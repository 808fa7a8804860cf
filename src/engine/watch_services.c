/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/watch_services.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/watch.h"
#include "util/clock.h"

#define SETTLE_NS (10 * NS_PER_SEC) /* what a new process of a service loads first */
#define LIVED_NS                                                                                   \
	(10 * NS_PER_SEC)	    /* so long it must have lived for its memory to tell anything  \
				     */
#define ENDED_NS (600 * NS_PER_SEC) /* so long a service may take to start anew */
#define MAX_ENDED 256

static void drop_ended(struct watch *watch, size_t idx)
{
	struct watch_ended *ended = &watch->services.ended.items[idx];

	watch_groups__put(&watch->groups, ended->group);
	free(ended->growth);
	free(ended->life);
	watch->services.ended.cnt--;
	memmove(ended, ended + 1, (watch->services.ended.cnt - idx) * sizeof(*ended));
}

void watch_services__clear(struct watch *watch)
{
	while (watch->services.ended.cnt)
		drop_ended(watch, watch->services.ended.cnt - 1);
	array_free(&watch->services.ended);
}

void watch_services__forget(struct watch *watch, uint64_t now_ns)
{
	while (watch->services.ended.cnt &&
	       now_ns - watch->services.ended.items[0].at_ns > ENDED_NS)
		drop_ended(watch, 0);
}

/* ---- one that ends ---- */

/*
 * Whether another process of the group does the same: then nobody follows the one that ended. Looks
 * behind it first: those before it may have ended with it, all of a large pool.
 */
static bool has_siblings(const struct watch *watch, const struct watched *item)
{
	size_t cnt = watch->items.cnt, own = (size_t)(item - watch->items.items);

	for (size_t i = 1; i < cnt; i++) {
		const struct watched *other = &watch->items.items[(own + i) % cnt];

		if (other->group == item->group && other->pid != item->pid && other->growth &&
		    !strcmp(other->comm, item->comm))
			return true;
	}
	return false;
}

void watch_services__end(struct watch *watch, struct watched *item, uint64_t now_ns)
{
	struct watch_ended ended = {
		.first = item->first,
		.group = item->group,
		.at_ns = now_ns,
		.growth = item->growth,
		.life = item->life,
	};
	const struct cgroup_name *name;

	/* One that follows another has what was known of that one, however short it lived. */
	if (!item->growth || !item->group || (now_ns - item->found_ns < LIVED_NS && !item->life))
		return;
	name = watch_group__name(&watch->groups, item->group);
	memcpy(ended.comm, item->comm, sizeof(ended.comm));
	if (!name || !cgroup_name__is_service(name) || has_siblings(watch, item))
		return;
	if (watch->services.ended.cnt == MAX_ENDED)
		drop_ended(watch, 0);
	if (array_push(&watch->services.ended, ended))
		return;
	item->growth = NULL;
	item->life = NULL;
	item->group = NULL;
}

/* ---- the next one ---- */

/* Whether two groups are containers that go by one name. Compares names alone: who gives them to
 * groups has control over these groups. */
static bool is_namesake(struct watch *watch, struct watch_group *a, struct watch_group *b)
{
	const struct cgroup_name *name_a, *name_b;

	if (!a || !b || a == b)
		return false;
	name_a = watch_group__name(&watch->groups, a);
	name_b = watch_group__name(&watch->groups, b);
	return name_a && name_b && name_a->runtime != RUNTIME_NONE &&
	       name_b->runtime != RUNTIME_NONE && !strcmp(name_a->title, name_b->title);
}

/*
 * Whether the name does not tell who follows: another container of this name runs or has ended, or
 * the process's own one is older than the end of the first.
 */
static bool has_twin(struct watch *watch, const struct watch_ended *ended,
		     const struct watched *item)
{
	for (size_t i = 0; i < watch->services.ended.cnt; i++)
		if (is_namesake(watch, watch->services.ended.items[i].group, ended->group))
			return true;
	for (size_t i = 0; i < watch->items.cnt; i++) {
		const struct watched *other = &watch->items.items[i];

		if (other->group == item->group
			    ? other->growth && other->found_ns < ended->at_ns
			    : other->group == ended->group ||
				      is_namesake(watch, other->group, ended->group))
			return true;
	}
	return false;
}

/* Returns which one a process follows, or how many there are: nobody. */
static size_t find_ended(struct watch *watch, const struct watched *item)
{
	const size_t cnt = watch->services.ended.cnt;

	for (size_t i = 0; i < cnt; i++) {
		const struct watch_ended *ended = &watch->services.ended.items[i];

		if (ended->group == item->group && !strcmp(ended->comm, item->comm))
			return i;
	}
	for (size_t i = 0; i < cnt; i++) {
		struct watch_ended *ended = &watch->services.ended.items[i];

		if (ended->has_twin || strcmp(ended->comm, item->comm) ||
		    !is_namesake(watch, ended->group, item->group))
			continue;
		ended->has_twin = has_twin(watch, ended, item);
		if (!ended->has_twin)
			return i;
	}
	return cnt;
}

/* A process is what it is only after its exec. */
int watch_services__follow(struct watch *watch, struct watched *item, uint64_t now_ns)
{
	struct watch_ended *ended;
	struct life *life;
	size_t idx;
	int err;

	if (!watch->services.ended.cnt || item->life || now_ns - item->found_ns > SETTLE_NS)
		return 0;
	err = watch__refresh(watch, item);
	if (err || !item->group)
		return err;
	idx = find_ended(watch, item);
	if (idx == watch->services.ended.cnt)
		return 0;
	ended = &watch->services.ended.items[idx];
	life = malloc(sizeof(*life));
	if (!life)
		return -ENOMEM;
	life__begin(life, ended->life, ended->growth, watch__noise_bytes());
	growth__restart(ended->growth);
	free(item->growth);
	item->growth = ended->growth;
	ended->growth = NULL;
	item->life = life;
	item->first = ended->first;
	item->held_ns = now_ns + SETTLE_NS;
	drop_ended(watch, idx);
	return 0;
}
