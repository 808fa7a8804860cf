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

/* Returns an owned array, whether each module is mapped by a running process; NULL: no memory. */
static bool *find_mapped(const struct space_table *table)
{
	bool *mapped = calloc(table->modules.modules.cnt + 1, sizeof(*mapped));

	for (size_t i = 0; mapped && i < table->spaces.cnt; i++) {
		const struct space_info *space = table->spaces.items[i];

		for (size_t k = 0; space->state == PROC_RUNNING && k < space->code.cnt; k++)
			mapped[space->code.items[k].module] = true;
	}
	return mapped;
}

/* With one question to all processes many are closed. */
static int close_unmapped(struct session *session, size_t max)
{
	struct module_table *modules = &session->table.modules;
	bool *mapped = find_mapped(&session->table);
	int err = mapped ? 0 : -ENOMEM;

	for (uint32_t i = 0; !err && i < modules->modules.cnt && modules->open_cnt > max; i++) {
		const struct module *module = &modules->modules.items[i];

		if (module->fd < 0 || mapped[i] || module->is_probed || module->is_interpreter)
			continue;
		same_files__forget(session->same, i);
		err = unwinder__forget(session->unwinder, i);
		module_table__close(modules, i);
	}
	free(mapped);
	return err;
}

int open_files__trim(struct session *session)
{
	size_t max = max_open();

	if (session->table.modules.open_cnt <= max)
		return 0;
	return close_unmapped(session, max / 4 * 3);
}
