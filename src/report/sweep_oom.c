/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report/sweep_oom.h"

#include <inttypes.h>
#include <string.h>

#include "model/sweep_oom.h"
#include "report/render.h"
#include "report/sweep_code.h"
#include "util/clock.h"
#include "util/units.h"

/* "2026-01-01T12:30:05Z  out of memory: the kernel has killed 1 process of shop.service (/...)" */
static void put_whose(struct screen *screen, const struct sweep_oom *oom)
{
	char buf[RFC3339_MAX];

	fprintf(screen->line, "%s  ", format_rfc3339(oom->time_ns, false, buf));
	screen__paint(screen, PAINT_BAD);
	fputs("out of memory", screen->line);
	screen__paint(screen, PAINT_NONE);
	fprintf(screen->line, ": the kernel has killed %" PRIu64 " process%s", oom->kills,
		oom->kills == 1 ? "" : "es");
	if (*oom->title) {
		fputs(" of ", screen->line);
		text_put(screen->line, oom->title);
	}
	if (*oom->cgroup) {
		fputs(" (", screen->line);
		text_put(screen->line, oom->cgroup);
		fputc(')', screen->line);
	}
	screen__end(screen);
}

static void put_limit(struct screen *screen, const struct sweep_oom *oom)
{
	char buf[UNITS_MAX];

	screen__label(screen, "limit");
	fprintf(screen->line, "%s of ", format_bytes(oom->limit_bytes, buf));
	text_put(screen->line, *oom->limit_cgroup ? oom->limit_cgroup : "the host");
	if (oom->is_limit_doubtful)
		fputs(" (or another one: which was reached is not known)", screen->line);
	fprintf(screen->line, "; %" PRIu64 " process%s had %s of anonymous memory",
		oom->process_cnt, oom->process_cnt == 1 ? "" : "es",
		format_bytes(oom->anon_bytes, buf));
	if (oom->shmem_bytes)
		fprintf(screen->line, ", and there was %s of shared memory and tmpfs files,",
			format_bytes(oom->shmem_bytes, buf));
	fputs(" when last looked at", screen->line);
	screen__end(screen);
}

static void put_fate(struct screen *screen, enum oom_fate fate)
{
	if (fate == OOM_THERE)
		return;
	fputs("  ", screen->line);
	screen__paint(screen, fate == OOM_KILLED ? PAINT_BAD : PAINT_WEAK);
	fputs(oom_fate__name(fate), screen->line);
	screen__paint(screen, PAINT_NONE);
}

static int put_process(struct screen *screen, const struct sweep_oom *oom,
		       const struct oom_process *process, size_t nr)
{
	char rate[UNITS_MAX] = "-", lower[UNITS_MAX] = "-", anon[UNITS_MAX];
	const struct sweep_row *row = &process->row;

	if (row->growth.state == GROWTH_GROWING) {
		format_bytes(row->growth.bytes_per_hour, rate);
		format_bytes(row->growth.lower > 0 ? row->growth.lower : 0, lower);
	}
	fprintf(screen->line, "%4zu  %10s  %7.1f %%  %10s  %10s  %7d  ", nr,
		format_bytes(row->anon_bytes, anon),
		oom->anon_bytes ? 100.0 * row->anon_bytes / oom->anon_bytes : 0, rate, lower,
		(int)row->pid);
	screen__paint(screen, PAINT_STRONG);
	text_put(screen->line, row->comm);
	screen__paint(screen, PAINT_NONE);
	put_fate(screen, process->fate);
	if (*row->title && strcmp(row->cgroup, oom->cgroup)) {
		fputs("  ", screen->line);
		text_put(screen->line, row->title);
	}
	if (row->restarts)
		fprintf(screen->line, "  (%" PRIu32 " restart%s)", row->restarts,
			row->restarts == 1 ? "" : "s");
	screen__end_whole(screen);
	return row->kept ? sweep_put_kept(screen, row) : 0;
}

static int put_oom(struct screen *screen, const struct sweep_oom *oom, size_t top)
{
	size_t shown = top && top < oom->list.cnt ? top : oom->list.cnt;
	int err = 0;

	put_whose(screen, oom);
	put_limit(screen, oom);
	fputs("   #   anonymous   of them    per hour    at least      PID  command", screen->line);
	screen__end_whole(screen);
	for (size_t i = 0; i < shown && !err; i++)
		err = put_process(screen, oom, &oom->list.items[i], i + 1);
	if (shown < oom->process_cnt) {
		fprintf(screen->line, "      %" PRIu64 " more", oom->process_cnt - shown);
		screen__end_whole(screen);
	}
	fputc('\n', screen->out);
	return err;
}

int sweep_put_ooms(struct screen *screen, const struct sweep *sweep, size_t top)
{
	int err = 0;

	for (size_t i = 0; i < sweep->ooms.cnt && !err; i++)
		err = put_oom(screen, sweep->ooms.items[i], top);
	return err;
}
