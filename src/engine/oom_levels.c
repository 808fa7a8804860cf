/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/oom_levels.h"

#include <stdlib.h>
#include <string.h>

#include "util/format.h"
#include "util/procfs_memory.h"
#include "util/procfs_read.h"

#define NO_COUNTER UINT64_MAX

static uint64_t read_event(const char *mount, const char *path, const char *file)
{
	char *full = format_text("%s%s/%s", mount, path, file), *text = NULL;
	uint64_t cnt = NO_COUNTER;
	size_t len;

	if (full && !procfs_read_path(full, &text, &len))
		(void)cgroup_text__find(text, "oom", &cnt);
	free(text);
	free(full);
	return cnt;
}

static uint64_t read_level(const char *mount, bool is_v1, const char *path, size_t level)
{
	char *cut = strndup(path, oom_level__len(path, level));
	uint64_t cnt = NO_COUNTER;

	if (cut && is_v1) {
		(void)cgroup_value__read(mount, cut, "memory.failcnt", &cnt);
	} else if (cut) {
		cnt = read_event(mount, cut, "memory.events.local");
		if (cnt == NO_COUNTER)
			cnt = read_event(mount, cut, "memory.events");
	}
	free(cut);
	return cnt;
}

size_t oom_level__len(const char *path, size_t level)
{
	size_t len = 0;

	for (; level; level--)
		len += 1 + strcspn(path + len + 1, "/");
	return len;
}

void oom_levels__read(struct oom_levels *levels, const char *mount, bool is_v1, const char *path)
{
	size_t cnt = 1;

	for (const char *at = path; *at; at++)
		cnt += *at == '/' && at[1];
	levels->cnt = cnt <= OOM_LEVELS ? cnt : 0;
	for (size_t i = 0; i < levels->cnt; i++)
		levels->items[i].cnt = read_level(mount, is_v1, path, i);
}

enum oom_limit oom_levels__judge(struct oom_levels *levels, const char *mount, bool is_v1,
				 const char *path, uint64_t pass, size_t *ret_level)
{
	bool is_certain = !is_v1 && levels->cnt > 0;

	for (size_t i = levels->cnt; i-- > 0;) {
		struct oom_level *level = &levels->items[i];
		uint64_t now = read_level(mount, is_v1, path, i), was = level->cnt;

		level->cnt = now;
		if (was != NO_COUNTER && now != NO_COUNTER && now > was)
			level->hit_pass = pass;
		if (level->hit_pass == pass) {
			*ret_level = i;
			return OOM_LIMIT_GROUP;
		}
		/* The root of the hierarchy has no limit, and may have no counter. */
		if (i && (was == NO_COUNTER || now == NO_COUNTER))
			is_certain = false;
	}
	return is_certain ? OOM_LIMIT_HOST : OOM_LIMIT_UNKNOWN;
}
