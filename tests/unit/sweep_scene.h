/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A host that is swept, for tests of the sweep's renderers. */
#ifndef LEAKSWEEP_TESTS_UNIT_SWEEP_SCENE_H
#define LEAKSWEEP_TESTS_UNIT_SWEEP_SCENE_H

#include "unit/report_scene.h"

#include "report/sweep.h"

#define MIB (1024.0 * 1024)

static inline void set_text(char **slot, const char *text)
{
	free(*slot);
	*slot = strdup(text);
}

static inline struct sweep *new_sweep(void)
{
	struct sweep *sweep = sweep__new();

	assert_non_null(sweep);
	set_text(&sweep->snap->hostname, "web1");
	set_text(&sweep->snap->kernel, "6.18.1");
	set_text(&sweep->snap->arch, "x86_64");
	sweep->snap->cpus = 8;
	sweep->snap->started_at_ns = 1767225600 * SEC;
	sweep->snap->duration_ns = 7260 * SEC;
	sweep->snap->interval = 242;
	sweep->snap->overhead.tool_cpu_percent = 0.0812;
	sweep->snap->overhead.tool_bytes = 9 << 20;
	sweep->ram_bytes = 64ULL << 30;
	sweep->available_bytes = 20ULL << 30;
	sweep->processes = 1004;
	sweep->groups = 41;
	sweep->states[GROWTH_TOO_EARLY] = 12;
	sweep->states[GROWTH_FLAT] = 985;
	sweep->states[GROWTH_WARMING] = 3;
	sweep->states[GROWTH_GROWING] = 3;
	sweep->states[GROWTH_SHRINKING] = 1;
	return sweep;
}

static inline struct growth_verdict growing(double mib_per_hour)
{
	return (struct growth_verdict){
		.state = GROWTH_GROWING,
		.bytes_per_hour = mib_per_hour * MIB,
		.lower = 0.9 * mib_per_hour * MIB,
		.upper = 1.1 * mib_per_hour * MIB,
		.seen_ns = 1200 * SEC,
	};
}

static inline char *render_sweep_with(const struct sweep *sweep, const char *format,
				      const struct sweep_report_opts *opts)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_int_equal(sweep_report__by_name(format)(sweep, opts, out), 0);
	fclose(out);
	return text;
}

static inline char *render_sweep(const struct sweep *sweep, const char *format, size_t top,
				 bool brief)
{
	const struct sweep_report_opts opts = {.screen.columns = 120, .top = top, .brief = brief};

	return render_sweep_with(sweep, format, &opts);
}

#endif
