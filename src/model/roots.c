/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/roots.h"

#include <string.h>

/* Functions that nothing in the program calls. `main` is one frame early: its caller has no name in
 * a stripped libc. */
static bool is_root(const char *function)
{
	static const char *const names[] = {
		"_start",
		"__libc_start_main",
		"__libc_start_main_impl",
		"__libc_start_call_main",
		"main",
		"start_thread",
		"clone",
		"clone3",
		"__clone",
		"__clone3",
		"libc_start_main_stage2",
	};

	for (size_t i = 0; function && i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i], function))
			return true;
	return false;
}

void roots__mark_complete(struct snapshot *snap, const struct symbol *symbols)
{
	for (size_t i = 0; i < snap->rows.cnt; i++) {
		struct snap_row *row = &snap->rows.items[i];
		const char *last = NULL, *before_last = NULL;

		if (row->unwind != UNWIND_BROKEN)
			continue;
		for (uint32_t node = row->stack; node; node = snap->nodes.items[node].parent) {
			before_last = last;
			last = symbols[snap->nodes.items[node].frame].function;
		}
		if (is_root(last) || (before_last && !strcmp(before_last, "main")))
			row->unwind = UNWIND_COMPLETE;
	}
}
