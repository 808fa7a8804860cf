/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/open_files.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>

#define MAX_OPEN 4096

/* Returns how many may be open: half of all descriptors at most, the rest is for probes. */
static size_t max_open(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur / 2 > MAX_OPEN)
		return MAX_OPEN;
	return limit.rlim_cur / 2;
}

/*
 * Returns an owned array, whether each module is mapped by a running process, itself or as another
 * file of the same contents, whose stacks may be told by it; NULL: no memory.
 */
static bool *find_mapped(struct session *session)
{
	const struct space_table *table = &session->table;
	bool *mapped = calloc(table->modules.modules.cnt + 1, sizeof(*mapped));

	for (size_t i = 0; mapped && i < table->spaces.cnt; i++) {
		const struct space_info *space = table->spaces.items[i];

		for (size_t k = 0; space->state == PROC_RUNNING && k < space->code.cnt; k++) {
			uint32_t module = space->code.items[k].module;

			mapped[module] = mapped[same_files__first(session->same, module)] = true;
		}
	}
	return mapped;
}

/* Closes until no more than `max` are open; probes that stay may want theirs again. */
static int close_unmapped(struct session *session, size_t max, bool probed_too)
{
	struct module_table *modules = &session->table.modules;
	bool *mapped = find_mapped(session);

	if (!mapped)
		return -ENOMEM;
	for (uint32_t i = 0; i < modules->modules.cnt && modules->open_cnt > max; i++) {
		const struct module *module = &modules->modules.items[i];

		if (module->fd >= 0 && !mapped[i] && (probed_too || !module->is_probed) &&
		    !module->is_interpreter && !mapped[same_files__first(session->same, i)])
			module_table__close(modules, i);
	}
	free(mapped);
	return 0;
}

int open_files__close_unmapped(struct session *session)
{
	return close_unmapped(session, 0, true);
}

int open_files__trim(struct session *session)
{
	size_t max = max_open(), *trim_at = &session->trim_files_at;
	int err;

	if (session->table.modules.open_cnt <= (*trim_at > max ? *trim_at : max))
		return 0;
	err = close_unmapped(session, max / 4 * 3, false);
	/* With one look at all processes many are closed, or it waits until many more are open. */
	*trim_at = session->table.modules.open_cnt + max / 4;
	return err;
}
