/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel counts a kill for the host and then for the group of the victim, before the victim is
 * gone (__oom_kill_process of mm/oom_kill.c). So a group's counter may be one pass late, and the
 * victim some. A group that went with its last process has no counter any more: what the host has
 * counted beyond the groups is that of the largest process that went with its group.
 */
#include "engine/watch_kills.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/watch.h"

#define MAX_GONE 512
#define MAX_KILLS 16
#define WAIT_PASSES 3	/* for victims to be gone, and for groups to tell */
#define LIMIT_PASSES 64 /* limits of groups are looked for once in so many */

void watch_kills__init(struct watch_kills *kills)
{
	kills->fd = open("/proc/vmstat", O_RDONLY | O_CLOEXEC);
}

static void drop_gone(struct watch *watch, struct watch_gone *gone)
{
	watch_groups__put(&watch->groups, gone->group);
	*gone = watch->kills.gone.items[--watch->kills.gone.cnt];
}

static uint64_t count_gone(const struct watch *watch, const struct watch_kill *kill)
{
	uint64_t cnt = 0;

	for (size_t i = 0; i < watch->kills.gone.cnt; i++)
		cnt += watch_kill__may_be(kill, &watch->kills.gone.items[i]);
	return cnt;
}

/* Its victims are those of no other kill. */
void watch_kills__drop(struct watch *watch, const struct watch_kill *kill)
{
	struct watch_kills *kills = &watch->kills;
	size_t at = (size_t)(kill - kills->list.items);
	bool has_culprits = count_gone(watch, kill) <= kill->cnt;

	for (size_t i = 0; i < kills->gone.cnt; i++) {
		struct watch_gone *gone = &kills->gone.items[i];

		if (!watch_kill__may_be(kill, gone))
			continue;
		gone->told_pass = kill->pass;
		gone->was_killed = has_culprits;
	}
	watch_groups__put(&watch->groups, kill->group);
	free(kill->limit_path);
	kills->list.cnt--;
	memmove(&kills->list.items[at], &kills->list.items[at + 1],
		(kills->list.cnt - at) * sizeof(*kill));
}

void watch_kills__destroy(struct watch *watch)
{
	struct watch_kills *kills = &watch->kills;

	while (kills->gone.cnt)
		drop_gone(watch, &kills->gone.items[kills->gone.cnt - 1]);
	while (kills->list.cnt)
		watch_kills__drop(watch, &kills->list.items[kills->list.cnt - 1]);
	array_free(&kills->gone);
	array_free(&kills->list);
	if (kills->fd >= 0)
		close(kills->fd);
	kills->fd = -1;
}

/* ---- who has gone ---- */

static uint64_t most_recent_bytes(const struct watched *item)
{
	uint64_t most = item->anon_bytes;

	for (size_t i = 0; i < WATCH_RECENT; i++)
		if (item->recent_bytes[i] > most)
			most = item->recent_bytes[i];
	return most;
}

/* Returns where one more may be kept, in the place of the smallest; NULL = it is smaller. */
static struct watch_gone *find_place(struct watch *watch, uint64_t anon_bytes)
{
	struct watch_kills *kills = &watch->kills;
	struct watch_gone *least;

	if (kills->gone.cnt < MAX_GONE)
		return array_reserve_one(&kills->gone) ? NULL : &kills->gone.items[kills->gone.cnt];
	least = &kills->gone.items[0];
	for (size_t i = 1; i < kills->gone.cnt; i++)
		if (kills->gone.items[i].anon_bytes < least->anon_bytes)
			least = &kills->gone.items[i];
	if (least->anon_bytes >= anon_bytes)
		return NULL;
	drop_gone(watch, least);
	return &kills->gone.items[kills->gone.cnt];
}

void watch_kills__end(struct watch *watch, const struct watched *item)
{
	uint64_t anon_bytes = most_recent_bytes(item);
	struct watch_gone *gone = item->growth ? find_place(watch, anon_bytes) : NULL;

	if (!gone)
		return;
	*gone = (struct watch_gone){
		.pid = item->pid,
		.start_ns = item->start_ns,
		.group = watch_group__ref(item->group),
		.first = item->first,
		.anon_bytes = anon_bytes,
		.restarts = item->growth->restarts,
		.pass = watch->pass,
	};
	memcpy(gone->comm, item->comm, sizeof(gone->comm));
	life__judge(item->life, item->growth, watch__noise_bytes(), &gone->growth);
	watch->kills.gone.cnt++;
}

static void forget_gone(struct watch *watch)
{
	if (watch_kills__waits(watch))
		return;
	for (size_t i = watch->kills.gone.cnt; i-- > 0;) {
		struct watch_gone *gone = &watch->kills.gone.items[i];

		if (gone->told_pass || gone->pass + 1 < watch->pass)
			drop_gone(watch, gone);
	}
}

/* ---- kills ---- */

bool watch_kill__may_be(const struct watch_kill *kill, const struct watch_gone *gone)
{
	return kill->group && gone->group == kill->group && gone->pass + 1 >= kill->pass &&
	       !gone->told_pass;
}

bool watch_kill__has_met(const struct watch_kill *kill, const struct watch_gone *gone)
{
	return gone->pass + 1 >= kill->pass &&
	       (!gone->told_pass || (gone->told_pass == kill->pass && gone->group != kill->group));
}

bool watch_kills__was_killed(const struct watch *watch, const struct watch_gone *gone)
{
	for (size_t i = 0; i < watch->kills.list.cnt; i++) {
		const struct watch_kill *kill = &watch->kills.list.items[i];

		if (watch_kill__may_be(kill, gone) && count_gone(watch, kill) <= kill->cnt)
			return true;
	}
	return gone->was_killed;
}

/* Adds to what is known of a group's kills, NULL = nobody's. Returns 0 or -ENOMEM. */
static int add_kills(struct watch *watch, struct watch_group *group, uint64_t cnt)
{
	struct watch_kills *kills = &watch->kills;
	struct watch_kill kill = {
		.group = group,
		.cnt = cnt,
		.pass = kills->risen_pass,
		.time_ns = kills->risen_ns,
	};

	for (size_t i = 0; i < kills->list.cnt; i++) {
		if (kills->list.items[i].group != group)
			continue;
		kills->list.items[i].cnt += cnt;
		return 0;
	}
	if (kills->list.cnt == MAX_KILLS)
		return 0;
	if (group)
		kill.limit = watch_group__find_hit(&watch->groups, group, kill.pass,
						   &kill.limit_path, &kill.limit_bytes);
	if (array_push(&kills->list, kill)) {
		free(kill.limit_path);
		return -ENOMEM;
	}
	watch_group__ref(group);
	return 0;
}

struct counting {
	struct watch *watch;
	bool has_risen; /* the host's counter */
	int err;
};

static bool is_limit_due(const struct watch *watch, const struct watch_group *group)
{
	return !group->is_counted || (watch->pass + group->nr) % LIMIT_PASSES == 0;
}

static void find_limit(const struct watch *watch, struct watch_group *group)
{
	struct cgroup_memory limit = {0};
	int err;

	err = watch_group__limit(&watch->groups, group, 0, &limit);
	if (err && (err != -ENOENT || !group->is_read)) /* it is gone: what was known stays */
		return;
	cgroup_memory__free(&group->limit);
	group->limit = limit;
}

static void count_group(struct watch_group *group, void *target)
{
	struct counting *counting = target;
	struct watch_kills *kills = &counting->watch->kills;
	uint64_t cnt, risen;

	if (is_limit_due(counting->watch, group)) {
		find_limit(counting->watch, group);
		/* What has risen for a kill that is not told yet is to be seen then. */
		if (group->has_kills && !counting->has_risen)
			watch_group__read_ooms(&counting->watch->groups, group);
	}
	if (counting->err || (group->is_counted && !counting->has_risen))
		return;
	group->is_counted = true;
	if (watch_group__oom_kills(&counting->watch->groups, group, &cnt))
		return;
	if (group->has_kills && cnt > group->kills) {
		risen = cnt - group->kills;
		counting->err = add_kills(counting->watch, group, risen);
		kills->unexplained -= risen < kills->unexplained ? risen : kills->unexplained;
	}
	if (!group->has_kills)
		watch_group__read_ooms(&counting->watch->groups, group);
	group->kills = cnt;
	group->has_kills = true;
}

/* No group has told: it went with its last process, or has no counter. */
static int explain_rest(struct watch *watch)
{
	struct watch_kills *kills = &watch->kills;
	const struct watch_gone *largest = NULL;
	uint64_t cnt = kills->unexplained, own;

	kills->unexplained = 0;
	for (size_t i = 0; i < kills->gone.cnt; i++) {
		const struct watch_gone *gone = &kills->gone.items[i];

		if (gone->group && gone->pass + 1 >= kills->risen_pass && !gone->told_pass &&
		    (!largest || gone->anon_bytes > largest->anon_bytes) &&
		    watch_group__oom_kills(&watch->groups, gone->group, &own))
			largest = gone;
	}
	if (!largest && watch->opts.cgroup_cnt) /* it was elsewhere */
		return 0;
	return add_kills(watch, largest ? largest->group : NULL, cnt);
}

static void mark_ready(const struct watch *watch, struct watch_kill *kill)
{
	kill->is_ready = !kill->group || count_gone(watch, kill) >= kill->cnt ||
			 watch->pass >= kill->pass + WAIT_PASSES;
}

int watch_kills__pass(struct watch *watch, uint64_t now_ns)
{
	struct watch_kills *kills = &watch->kills;
	struct counting counting = {.watch = watch};
	uint64_t cnt;

	if (kills->fd < 0 || host_oom_kills(kills->fd, &cnt))
		return 0;
	if (kills->is_known && cnt > kills->host_cnt) {
		kills->unexplained += cnt - kills->host_cnt;
		kills->risen_pass = watch->pass;
		kills->risen_ns = now_ns;
	}
	kills->host_cnt = cnt;
	kills->is_known = true;
	counting.has_risen = kills->unexplained;
	watch_groups__each(&watch->groups, count_group, &counting);
	if (!counting.err && kills->unexplained && watch->pass >= kills->risen_pass + WAIT_PASSES)
		counting.err = explain_rest(watch);
	for (size_t i = 0; i < kills->list.cnt; i++)
		mark_ready(watch, &kills->list.items[i]);
	forget_gone(watch);
	return counting.err;
}

bool watch_kills__waits(const struct watch *watch)
{
	return watch->kills.unexplained || watch->kills.list.cnt;
}

const struct watch_kill *watch_kills__ready(const struct watch *watch)
{
	for (size_t i = 0; i < watch->kills.list.cnt; i++)
		if (watch->kills.list.items[i].is_ready)
			return &watch->kills.list.items[i];
	return NULL;
}
