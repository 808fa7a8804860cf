/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes of a watch, and files in which the kernel counts whom it killed, for tests of kills. */
#ifndef LEAKSWEEP_TESTS_UNIT_KILL_SCENE_H
#define LEAKSWEEP_TESTS_UNIT_KILL_SCENE_H

#include "unit/compile.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "engine/sweep.h"
#include "engine/watch.h"
#include "unit/cgroup_files.h"
#include "util/format.h"

#define SEC 1000000000ULL
#define MIB (1ULL << 20)

struct scene {
	struct watch watch;
	struct suspects *suspects;
	struct suspects_opts opts;
	char *host; /* path of its counters */
	uint64_t now_ns;
	bool is_v1;
	int ooms; /* that a group tells of its own limit */
};

/* ---- files ---- */

static inline void put_counter(const char *path, uint64_t cnt)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fprintf(file, "nr_free_pages 5\noom_kill %llu\nnuma_hit 7\n", (unsigned long long)cnt);
	assert_int_equal(fclose(file), 0);
}

static inline void put_kills(const struct scene *scene, const char *group, uint64_t cnt)
{
	char *text = format_text(scene->is_v1 ? "oom_kill_disable 0\nunder_oom 0\noom_kill %1$llu\n"
					      : "low 0\noom %2$d\noom_kill %1$llu\n",
				 (unsigned long long)cnt, scene->ooms);

	put_group_file(work_dir, group, scene->is_v1 ? "memory.oom_control" : "memory.events.local",
		       text);
	free(text);
	if (!scene->is_v1)
		return;
	text = format_text("%d\n", scene->ooms);
	put_group_file(work_dir, group, "memory.failcnt", text);
	free(text);
}

static inline void put_limit(const struct scene *scene, const char *group, const char *limit)
{
	put_group_file(work_dir, group, scene->is_v1 ? "memory.limit_in_bytes" : "memory.max",
		       limit);
	put_group_file(work_dir, group, scene->is_v1 ? "memory.usage_in_bytes" : "memory.current",
		       "1000\n");
}

static inline void remove_group(const char *group)
{
	char *path = format_text("%s%s", work_dir, group);

	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	free(path);
}

/* ---- the watch ---- */

static inline void scene__init(struct scene *scene, bool is_v1)
{
	*scene = (struct scene){.is_v1 = is_v1, .now_ns = SEC, .ooms = 9};
	scene->host = format_text("%s/vmstat", work_dir);
	put_counter(scene->host, 100);
	scene->watch.kills.fd = open(scene->host, O_RDONLY | O_CLOEXEC);
	assert_true(scene->watch.kills.fd >= 0);
	assert_int_equal(watch_groups__init_at(&scene->watch.groups, is_v1 ? NULL : work_dir,
					       is_v1 ? work_dir : NULL, work_dir),
			 0);
	scene->suspects = suspects__new(&scene->opts);
	assert_non_null(scene->suspects);
}

static inline void scene__destroy(struct scene *scene)
{
	watch__destroy(&scene->watch);
	suspects__free(scene->suspects);
	free(scene->host);
}

static inline void add_process(struct scene *scene, pid_t pid, const char *group, uint64_t mib)
{
	struct watched item = {
		.pid = pid,
		.start_ns = 1,
		.comm = "shop",
		.fd = -1,
		.first = {pid, 1},
		.group = watch_groups__get(&scene->watch.groups, group),
		.anon_bytes = mib * MIB,
		.growth = calloc(1, sizeof(struct growth)),
	};

	assert_non_null(item.group);
	assert_non_null(item.growth);
	assert_int_equal(array_push(&scene->watch.items, item), 0);
}

/* The process ends; while it died it was seen with less. */
static inline void end_process(struct scene *scene, pid_t pid)
{
	for (size_t i = 0; i < scene->watch.items.cnt; i++) {
		struct watched *item = &scene->watch.items.items[i];

		if (item->pid != pid)
			continue;
		item->recent_bytes[2] = item->anon_bytes;
		item->anon_bytes = 0;
		watch_kills__end(&scene->watch, item);
		watch_groups__put(&scene->watch.groups, item->group);
		free(item->growth);
		*item = scene->watch.items.items[--scene->watch.items.cnt];
		return;
	}
	fail_msg("there is no process %d", (int)pid);
}

/* One pass, once the processes are sampled. Returns what can be told then. */
static inline const struct watch_kill *pass(struct scene *scene)
{
	assert_int_equal(watch_kills__pass(&scene->watch, scene->now_ns), 0);
	scene->watch.pass++;
	scene->now_ns += SEC;
	return watch_kills__ready(&scene->watch);
}

static inline struct sweep_oom *tell(struct scene *scene, const struct watch_kill *kill)
{
	struct sweep_oom *oom = NULL;

	assert_int_equal(
		sweep__oom_of_watch(&scene->watch, kill, scene->suspects, scene->now_ns, &oom), 0);
	watch_kills__drop(&scene->watch, kill);
	return oom;
}

#endif
