/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the doctor found, as people like to read it. */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "cli/doctor.h"
#include "report/render.h"

#define NAME_WIDTH 17
#define STATE_WIDTH 8
#define COMM_WIDTH 16
#define DETAIL_INDENT 6
#define MANY_DENIED 4
#define OTHER_TRACER_NS 250 /* a malloc and its free take a tenth of it, a trap twice as long */

static void put_heading(FILE *out, const char *name)
{
	fprintf(out, "\n%c%s\n", toupper((unsigned char)*name), name + 1);
}

static void put_facts(const struct host_check *check, FILE *out)
{
	const char *group = "";

	for (size_t i = 0; i < check->facts.cnt; i++) {
		const struct host_fact *fact = &check->facts.items[i];

		if (strcmp(group, fact->group))
			put_heading(out, fact->group);
		group = fact->group;
		fprintf(out, "  %-*s %-*s ", STATE_WIDTH,
			fact->state == FACT_MISSING ? "MISSING" : fact_state__name(fact->state),
			NAME_WIDTH, fact->name);
		text_put(out, fact->found);
		fputc('\n', out);
		if (fact->effect)
			fprintf(out, "  %*s -> %s\n", STATE_WIDTH + 1 + NAME_WIDTH, "",
				fact->effect);
	}
}

static void put_ns(FILE *out, double ns)
{
	if (ns < 999.5)
		fprintf(out, "%6.0f ns", ns);
	else
		fprintf(out, "%6.2f us", ns / 1000);
}

static void put_cost(FILE *out, const char *what, double ns, const char *remark)
{
	fprintf(out, "  %-*s ", STATE_WIDTH + 1 + NAME_WIDTH, what);
	put_ns(out, ns);
	fprintf(out, "  %s\n", remark);
}

static void put_costs(const struct host_check *check, FILE *out)
{
	const struct host_trial *trial = &check->trial;

	fprintf(out, "\nProbes\n");
	if (check->mode < 0) {
		fprintf(out, "  none: %s\n",
			check->mode_why ? check->mode_why : strerror(-check->mode));
		return;
	}
	fprintf(out, "  %-*s %s: %s\n", STATE_WIDTH + 1 + NAME_WIDTH, "kind",
		link_mode__name(check->mode), check->mode_why);
	if (check->cost_err) {
		fprintf(out, "  their cost could not be measured: %s\n",
			strerror(-check->cost_err));
	} else {
		put_cost(out, "hit, emulated", check->costs.emulated_ns,
			 "the probed instruction is one the kernel emulates");
		put_cost(out, "hit, stepped", check->costs.stepped_ns,
			 "any other instruction: a second trap");
		put_cost(out, "call and its return", check->costs.call_return_ns,
			 "at an emulated instruction");
	}
	if (trial->pair_cnt) {
		put_cost(out, "malloc and free, all in", trial->probed_ns,
			 "in the trial: traps, stack and tables");
		put_cost(out, "without these probes", trial->bare_ns,
			 trial->bare_ns < OTHER_TRACER_NS ? "" : "another tracer probes them now");
	}
	fprintf(out, "  Measured in tight loops: cold caches make a real program's hits up to "
		     "twice as dear.\n");
}

/* ---- allocators ------------------------------------------------------------------------------ */

static void put_padded(FILE *out, const char *text, size_t width)
{
	size_t used = text_width(text);

	text_put(out, text);
	fprintf(out, "%*s", used < width ? (int)(width - used) : 0, "");
}

static void put_functions(const struct host_file *file, FILE *out)
{
	size_t width = 0;

	for (size_t i = 0; i < file->allocs.sites.cnt; i++)
		if (text_width(file->allocs.sites.items[i].symbol) > width)
			width = text_width(file->allocs.sites.items[i].symbol);
	for (size_t i = 0; i < file->allocs.sites.cnt; i++) {
		const struct alloc_site *site = &file->allocs.sites.items[i];

		fprintf(out, "%*s", DETAIL_INDENT, "");
		put_padded(out, site->symbol, width);
		fprintf(out, "  %#8" PRIx64 " +%-3" PRIu64 " %-8s %-5s %s\n", site->entry_off,
			site->probe_off - site->entry_off,
			site->cost == PROBE_EMULATED ? "emulated" : "stepped", site->insn,
			site->why);
	}
}

static void put_skipped(const struct host_file *file, FILE *out)
{
	for (size_t i = 0; i < file->allocs.skipped.cnt; i++) {
		const struct alloc_skip *skip = &file->allocs.skipped.items[i];

		fprintf(out, "%*s%s: ", DETAIL_INDENT, "", skip->is_loss ? "LOST" : "left out");
		text_put(out, skip->why);
		fputc('\n', out);
	}
}

static void put_loss(const struct host_file *file, FILE *out)
{
	size_t cnt;
	const char *loss = elf_allocs__loss(&file->allocs, &cnt);

	if (!loss)
		return;
	fprintf(out, "%*sLOST: ", DETAIL_INDENT, "");
	text_put(out, loss);
	if (cnt > 1)
		fprintf(out, "; and %zu more (-v lists them)", cnt - 1);
	fputc('\n', out);
}

static void put_allocator(const struct diagnosis *diagnosis, const struct host_file *file,
			  FILE *out)
{
	double ns;

	fprintf(out, "  %-9s %9zu %6zu %9zu %8zu  ", file->allocs.allocator, file->proc_cnt,
		file->allocs.sites.cnt, file->emulated_cnt, file->stepped_cnt);
	if (!diagnosis->check->cost_err &&
	    predict_pair_ns(&file->allocs, &diagnosis->check->costs, &ns))
		put_ns(out, ns);
	else
		fprintf(out, "%9s", "-");
	fputs("  ", out);
	text_put(out, file->path);
	fputs(file->deleted ? " (deleted)\n" : "\n", out);
	if (diagnosis->verbose) {
		put_functions(file, out);
		put_skipped(file, out);
	} else {
		put_loss(file, out);
	}
}

static const char *mode_phrase(enum link_mode mode)
{
	static const char *const phrases[] = {
		[LINK_PERF] = "a perf event for every function and every return",
		[LINK_MULTI] = "one link for frees, one for calls, one for returns",
		[LINK_SESSION] = "one link for frees, one for calls with their returns",
	};

	return phrases[mode];
}

static void put_allocators(const struct diagnosis *diagnosis, FILE *out)
{
	const struct host_allocs *allocs = diagnosis->allocs;

	fprintf(out, "\nAllocators in use now%s%s\n",
		diagnosis->check->mode < 0 ? "" : ", each to be probed by ",
		diagnosis->check->mode < 0 ? "" : mode_phrase(diagnosis->check->mode));
	if (!allocs->allocator_cnt) {
		fprintf(out, "  none in what could be read\n");
		return;
	}
	fprintf(out, "  %-9s %9s %6s %9s %8s  %9s  %s\n", "name", "processes", "probes", "emulated",
		"stepped", "traps*", "file");
	for (size_t i = 0; i < allocs->allocator_cnt; i++)
		put_allocator(diagnosis, &allocs->files.items[i], out);
	fprintf(out, "  * what the traps of a malloc and its free would cost, together\n");
	for (size_t i = allocs->allocator_cnt; diagnosis->verbose && i < allocs->files.cnt; i++) {
		if (!allocs->files.items[i].allocs.skipped.cnt)
			continue;
		fputs("  not probed: ", out);
		text_put(out, allocs->files.items[i].path);
		fputc('\n', out);
		put_skipped(&allocs->files.items[i], out);
	}
}

static void put_unfollowed(const struct diagnosis *diagnosis, FILE *out)
{
	const struct host_allocs *allocs = diagnosis->allocs;
	uint64_t denied_bytes = 0;
	char buf[UNITS_MAX];
	size_t denied = 0;
	bool sums_up;

	for (size_t i = 0; i < allocs->unfollowed.cnt; i++) {
		if (!host_unfollowed__is_denied(&allocs->unfollowed.items[i]))
			continue;
		denied++;
		denied_bytes += allocs->unfollowed.items[i].rss_bytes;
	}
	sums_up = denied >= MANY_DENIED && !diagnosis->verbose;
	if (allocs->unfollowed.cnt)
		fprintf(out, "\nProcesses that cannot be followed, with the memory they have "
			     "resident\n");
	for (size_t i = 0; i < allocs->unfollowed.cnt; i++) {
		const struct host_unfollowed *process = &allocs->unfollowed.items[i];

		if (sums_up && host_unfollowed__is_denied(process))
			continue;
		fprintf(out, "  %7d  ", (int)process->pid);
		put_padded(out, process->comm, COMM_WIDTH);
		fprintf(out, " %9s  ", format_size((int64_t)process->rss_bytes, buf));
		text_put(out, process->reason);
		fprintf(out, "%s%s\n", process->err ? ": " : "",
			process->err ? strerror(-process->err) : "");
	}
	if (sums_up)
		fprintf(out,
			"  %zu with %s may not be looked into with the rights held (-v lists "
			"them)\n",
			denied, format_size((int64_t)denied_bytes, buf));
}

int doctor_table(const struct diagnosis *diagnosis, FILE *out)
{
	fprintf(out, "leaksweep " LEAKSWEEP_VERSION "\n");
	put_facts(diagnosis->check, out);
	put_costs(diagnosis->check, out);
	put_allocators(diagnosis, out);
	put_unfollowed(diagnosis, out);
	fprintf(out, "\n%s\n", diagnosis->summary);
	return finish_output(out);
}
