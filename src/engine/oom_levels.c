/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/oom_levels.h"

#include <stdlib.h>
#include <string.h>

#include "util/format.h"
#include "util/procfs_read.h"

#define NO_COUNTER UINT64_MAX

/* Returns the number that stands behind `name` and a space at the beginning of a line. */
static uint64_t parse(const char *text, const char *name)
{
	size_t len = strlen(name);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, len) && line[len] >= '0' && line[len] <= '9')
			return strtoull(line + len, NULL, 10);
	}
	return NO_COUNTER;
}

struct level_path {
	const char *mount, *path;
	size_t len; /* of the path */
};

static uint64_t read_counter(const struct level_path *level, const char *file, const char *name)
{
	char *full = format_text("%s%.*s/%s", level->mount, (int)level->len, level->path, file),
	     *text = NULL;
	uint64_t cnt = NO_COUNTER;
	size_t len;

	if (full && !procfs_read_path(full, &text, &len))
		cnt = parse(text, name);
	free(text);
	free(full);
	return cnt;
}

static uint64_t read_level(const struct level_path *level, bool is_v1)
{
	uint64_t cnt;

	if (is_v1)
		return read_counter(level, "memory.failcnt", "");
	cnt = read_counter(level, "memory.events.local", "oom ");
	return cnt != NO_COUNTER ? cnt : read_counter(level, "memory.events", "oom ");
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
	for (size_t i = 0; i < levels->cnt; i++) {
		const struct level_path level = {mount, path, oom_level__len(path, i)};

		levels->items[i].cnt = read_level(&level, is_v1);
	}
}

enum oom_limit oom_levels__judge(struct oom_levels *levels, const char *mount, bool is_v1,
				 const char *path, uint64_t pass, size_t *ret_level)
{
	bool is_certain = !is_v1 && levels->cnt > 0;

	for (size_t i = levels->cnt; i-- > 0;) {
		const struct level_path at = {mount, path, oom_level__len(path, i)};
		struct oom_level *level = &levels->items[i];
		uint64_t now = read_level(&at, is_v1), was = level->cnt;

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
