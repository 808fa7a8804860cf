/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A host with nothing real in it, for the budget and the plan of windows: processes that grow and
 * call their allocators in bursts, probes that cost what nobody knows, a tool that is late. The
 * same seed is the same host.
 */
#ifndef LEAKSWEEP_TESTS_UNIT_SWEEP_HOST_H
#define LEAKSWEEP_TESTS_UNIT_SWEEP_HOST_H

#include <math.h>
#include <stdlib.h>

#include "engine/budget.h"
#include "engine/window_bill.h"
#include "engine/window_plan.h"

#define HOST_BIN_NS (100 * NS_PER_MS) /* what was really spent is kept by time */
#define HOST_MINUTE_BINS (BUDGET_MINUTE_NS / HOST_BIN_NS)
#define HOST_RENEW_NS (10 * NS_PER_SEC) /* growth is measured anew */
#define HOST_GROWING 100000.0		/* bytes per hour that make a suspect */

struct host_opts {
	uint64_t seed;
	double share; /* the budget */
	unsigned int cpu_cnt;
	uint64_t duration_ns;
	size_t process_cnt;
	double grow_chance;	     /* of a process */
	double calls_min, calls_max; /* a second of a process, when it is not probed */
	double program_max_ns;	     /* what a run of a program behind a probe takes at most */
	double cold_min, cold_max;   /* times, that a trap takes longer than calibrated */
	bool has_bursts, has_jumps, has_deaths, has_clock_jumps, is_late, is_measured;
};

struct host_process {
	uint64_t id;
	double growth, calls_per_sec, threads, ns_per_hit, true_ns_per_hit, attach_ns;
	struct trap_price price; /* as calibrated, in a tight loop */
	double stepped, program_ns, measured_ns;
	double busier; /* in a burst */
	uint64_t burst_ends_ns;
	bool is_suspect, is_exact;
	double hits, busy_ns; /* since the last report */
	double spent_ns;      /* in all, windows made included */
	uint64_t traced_ns, longest_gap_ns, bill_cnt;
};

struct sweep_host {
	struct host_opts opts;
	uint64_t random, now_ns, clock_offset_ns, renew_ns, own_burst_ns, jump_ns;
	double own_cpu_ns, own_rate;
	struct host_process *processes;
	uint64_t begun_cnt;
	double *spent_ns; /* by HOST_BIN_NS */
	size_t bin_cnt;
	struct host_process *open; /* has a window */
	struct budget budget;
	struct window_plan plan;
	uint64_t exact_told_ns, cut_cnt, window_cnt, exact_cnt, ended_exact_cnt, longest_gap_ns;
};

static inline double host_random(struct sweep_host *host, double from, double to)
{
	uint64_t z = host->random += 0x9e3779b97f4a7c15; /* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return from + (to - from) * ((z ^ z >> 31) >> 11) * 0x1p-53;
}

/* Evenly spread over orders of magnitude. */
static inline double host_random_scale(struct sweep_host *host, double from, double to)
{
	return exp(host_random(host, log(from), log(to)));
}

static inline double host_random_gap(struct sweep_host *host, double mean)
{
	return -log(host_random(host, 1e-12, 1)) * mean;
}

static inline struct host_process *host_process(struct sweep_host *host, uint64_t id)
{
	return &host->processes[id % host->opts.process_cnt];
}

static inline void host_spend(struct sweep_host *host, double cost_ns)
{
	size_t bin = host->now_ns / HOST_BIN_NS;

	host->spent_ns[bin < host->bin_cnt ? bin : host->bin_cnt - 1] += cost_ns;
}

static inline void host_use_cpu(struct sweep_host *host, double cost_ns)
{
	host->own_cpu_ns += cost_ns;
	host_spend(host, cost_ns);
}

/* What a hit costs: with caches as cold as they are, and behind any instruction. */
static inline void host_set_price(struct sweep_host *host, struct host_process *process)
{
	double cold = host_random(host, host->opts.cold_min, host->opts.cold_max);

	process->price.hit_ns = host_random(host, 500, 1500);
	process->price.step_ns = host_random(host, 2, 14) * process->price.hit_ns;
	process->stepped = fmax(host_random(host, -1, 1), 0);
	process->program_ns = host_random_scale(host, 300, host->opts.program_max_ns);
	process->ns_per_hit = TRAP_COLD * (process->price.hit_ns + 1000);
	process->true_ns_per_hit =
		process->program_ns +
		cold * (process->price.hit_ns + process->stepped * process->price.step_ns);
}

static inline void host_begin_process(struct sweep_host *host, struct host_process *process)
{
	const struct host_opts *opts = &host->opts;
	bool grows = host_random(host, 0, 1) < opts->grow_chance;

	*process = (struct host_process){
		.id = ++host->begun_cnt * opts->process_cnt + (process - host->processes),
		.growth = grows ? host_random_scale(host, 1e6, 1e9) : 0,
		.calls_per_sec = host_random_scale(host, opts->calls_min, opts->calls_max),
		.threads = 1 + floor(host_random(host, 0, 1) * host->opts.cpu_cnt / 4),
		.attach_ns = host_random(host, 0.5, 1.5) * NS_PER_MS,
		.busier = 1,
	};
	host_set_price(host, process);
	process->traced_ns = host->now_ns;
}

static inline void sweep_host__init(struct sweep_host *host, const struct host_opts *opts)
{
	static const uint8_t key[SIPHASH_BYTES] = "sixteen letters";
	double minute_ns = opts->share * opts->cpu_cnt * BUDGET_MINUTE_NS;

	*host = (struct sweep_host){.opts = *opts, .random = opts->seed};
	host->bin_cnt = opts->duration_ns / HOST_BIN_NS + 1;
	host->spent_ns = calloc(host->bin_cnt, sizeof(*host->spent_ns));
	host->processes = calloc(opts->process_cnt, sizeof(*host->processes));
	host->clock_offset_ns = host_random(host, 0, 1e18);
	host->own_rate = host_random(host, 0.02, 0.15) * opts->share * opts->cpu_cnt;
	for (size_t i = 0; i < opts->process_cnt; i++)
		host_begin_process(host, &host->processes[i]);
	/* Loading the programs: 0.6 s, and on a small host what half a minute has. */
	host_use_cpu(host, fmin(0.6e9, host_random(host, 0.1, 0.5) * minute_ns));
	budget__init(&host->budget, opts->share, opts->cpu_cnt, host->clock_offset_ns,
		     host->own_cpu_ns);
	window_plan__init(&host->plan, &host->budget, key);
	host->own_burst_ns = host_random_gap(host, 20e9);
	host->jump_ns = host_random(host, 5e9, 60e9);
}

static inline void sweep_host__free(struct sweep_host *host)
{
	free(host->spent_ns);
	free(host->processes);
}

/* The probes of a process are there for a while: each hit takes time from it. */
static inline void host_run_probes(struct sweep_host *host, struct host_process *process, double ns)
{
	double calls, hits, cost_ns;

	if (host->opts.has_bursts && host->now_ns >= process->burst_ends_ns) {
		bool begins = process->busier == 1 && host_random(host, 0, 1) < 0.2;

		process->busier = begins ? host_random_scale(host, 2, 20) : 1;
		process->burst_ends_ns = host->now_ns + host_random_gap(host, begins ? 1e8 : 2e8);
	}
	/* In the middle of a window, and for good or not. */
	if (host->opts.has_jumps && process->calls_per_sec < 1e5 &&
	    host_random(host, 0, 1) < 0.0003)
		process->calls_per_sec *= 100;
	calls = process->calls_per_sec * process->busier * ns / 1e9;
	hits = calls / (1 + calls * process->true_ns_per_hit / (process->threads * ns));
	cost_ns = hits * process->true_ns_per_hit;
	process->hits += hits;
	process->busy_ns += fmin(process->threads * ns, cost_ns + calls * 2000);
	process->spent_ns += cost_ns;
	host_spend(host, cost_ns);
}

/* Lets `ns` pass. */
static inline void host_pass(struct sweep_host *host, double ns)
{
	for (double left = ns, step; left > 0; left -= step) {
		step = fmin(left, 20e6);
		host->now_ns += step;
		host_use_cpu(host, host->own_rate * step);
		if (host->open)
			host_run_probes(host, host->open, step);
		for (size_t i = 0; i < host->plan.cnt && host->exact_cnt; i++) {
			struct host_process *process =
				host_process(host, host->plan.suspects[i].facts.id);

			if (process->is_exact)
				host_run_probes(host, process, step);
		}
	}
	if (host->now_ns >= host->own_burst_ns) {
		host_use_cpu(host, host_random(host, 0, 0.02) * budget__minute_ns(&host->budget));
		host->own_burst_ns = host->now_ns + host_random_gap(host, 30e9);
	}
	if (host->opts.has_clock_jumps && host->now_ns >= host->jump_ns) {
		host->clock_offset_ns += host_random_scale(host, 1e6, 1e14) *
					 (host_random(host, 0, 1) < 0.5 ? 1 : -1e-3);
		host->jump_ns = host->now_ns + 30e9 + host_random_gap(host, 30e9);
	}
	budget__pass(&host->budget, host->now_ns + host->clock_offset_ns, host->own_cpu_ns);
}

/* What is known of what a process has lost: programs are measured now and then, traps never. */
static inline struct window_bill host_take_bill(struct sweep_host *host,
						struct host_process *process)
{
	struct window_work work = {.hits = process->hits, .busy_ns = process->busy_ns};
	bool is_measured = host->opts.is_measured && window_bill__measures(process->bill_cnt++);

	if (is_measured && work.hits >= 10)
		process->measured_ns = process->program_ns * host_random(host, 0.95, 1.05);
	work.stepped = process->stepped;
	work.program_ns = process->measured_ns;
	process->hits -= work.hits;
	process->busy_ns = 0;
	return window_bill__of(&process->price, &work);
}

/* Exact tracing is reported as often as the tool looks. */
static inline void host_report_exact(struct sweep_host *host)
{
	for (size_t i = 0; i < host->plan.cnt && host->exact_cnt; i++) {
		uint64_t id = host->plan.suspects[i].facts.id;
		struct host_process *process = host_process(host, id);
		struct window_bill bill;

		if (!process->is_exact)
			continue;
		bill = host_take_bill(host, process);
		process->traced_ns = host->now_ns;
		if (window_plan__traced(&host->plan, id, &bill))
			continue;
		host_use_cpu(host, process->attach_ns / 2);
		process->is_exact = false;
		host->exact_cnt--;
		host->ended_exact_cnt++;
	}
}

static inline void host_end_process(struct sweep_host *host, struct host_process *process)
{
	host->exact_cnt -= process->is_exact;
	if (host->open == process)
		host->open = NULL;
	window_plan__forget(&host->plan, process->id);
	host_begin_process(host, process);
}

/* Who grows is measured: a little wrong each time; some have ended, others have come. */
static inline void host_renew(struct sweep_host *host)
{
	for (size_t i = 0; i < host->opts.process_cnt; i++) {
		struct host_process *process = &host->processes[i];
		struct suspect_facts facts = {
			.id = process->id,
			.growth_bytes_per_h = process->growth * host_random(host, 0.95, 1.05),
			.ns_per_hit = process->ns_per_hit,
			.attach_ns = process->attach_ns,
		};

		if (host->opts.has_deaths && host_random(host, 0, 1) < 0.01) {
			host_end_process(host, process);
			continue;
		}
		if (facts.growth_bytes_per_h < HOST_GROWING)
			continue;
		if (!process->is_suspect)
			process->traced_ns = host->now_ns;
		process->is_suspect = !window_plan__suspect(&host->plan, &facts);
	}
	/* Who grew less has made place for others. */
	for (size_t i = 0; i < host->opts.process_cnt; i++) {
		if (!window_plan__has(&host->plan, host->processes[i].id))
			host->processes[i].is_suspect = false;
	}
	host->renew_ns = host->now_ns + HOST_RENEW_NS;
}

static inline void host_note_gap(struct sweep_host *host, struct host_process *process)
{
	uint64_t gap_ns = host->now_ns - process->traced_ns;

	if (gap_ns > host->longest_gap_ns)
		host->longest_gap_ns = gap_ns;
}

/* How long the tool sleeps between two looks at a window, and how much later it wakes. */
static inline double host_nap_ns(struct sweep_host *host, double left_ns)
{
	double nap_ns = fmin(fmax(left_ns / 4, 0.5e6), 20e6) * host_random(host, 1, 1.3);

	if (host->opts.is_late && host_random(host, 0, 1) < 0.02)
		nap_ns += host_random(host, 5e6, 30e6);
	return nap_ns;
}

static inline void host_run_window(struct sweep_host *host, const struct window_order *order)
{
	struct host_process *process = host_process(host, order->id);
	double attach_ns = process->attach_ns * host_random(host, 0.8, 1.2);
	enum window_state state = WINDOW_GOES_ON;
	uint64_t begun_ns;
	struct window_bill bill;

	host_use_cpu(host, attach_ns / 2);
	host_pass(host, 12e6);
	process->spent_ns += attach_ns;
	window_plan__opened(&host->plan);
	host->open = process;
	begun_ns = host->now_ns;
	while (state == WINDOW_GOES_ON) {
		host_pass(host,
			  host_nap_ns(host, order->length_ns - (double)(host->now_ns - begun_ns)));
		host_report_exact(host);
		if (host->opts.has_deaths && host_random(host, 0, 1) < 0.0005) {
			host_end_process(host, process);
			return;
		}
		state = window_plan__watch(&host->plan, process->hits);
	}
	host->cut_cnt += state == WINDOW_TOO_DEAR;
	host->window_cnt++;
	host_use_cpu(host, attach_ns / 2);
	host_pass(host, 0.3e6);
	host->open = NULL;
	bill = host_take_bill(host, process);
	for (int i = 0; i < 3; i++) {
		host_pass(host, 20e6);
		host_report_exact(host);
	}
	process->traced_ns = host->now_ns;
	window_plan__closed(&host->plan, &bill, attach_ns);
}

static inline void sweep_host__run(struct sweep_host *host)
{
	while (host->now_ns < host->opts.duration_ns) {
		struct window_order order;
		uint64_t wait_ns;

		if (host->now_ns >= host->renew_ns)
			host_renew(host);
		if (!window_plan__next(&host->plan, &order, &wait_ns)) {
			host_pass(host, host->exact_cnt ? fmin(wait_ns, 20e6) : wait_ns);
			host_report_exact(host);
			continue;
		}
		host_note_gap(host, host_process(host, order.id));
		if (!order.is_exact) {
			host_run_window(host, &order);
			continue;
		}
		host_use_cpu(host, host_process(host, order.id)->attach_ns / 2);
		host_process(host, order.id)->is_exact = true;
		host->exact_cnt++;
		host_pass(host, 12e6);
	}
	for (size_t i = 0; i < host->plan.cnt; i++)
		host_note_gap(host, host_process(host, host->plan.suspects[i].facts.id));
}

/* Returns the greatest part of a minute's budget that was spent in any minute. */
static inline double sweep_host__worst_minute(const struct sweep_host *host)
{
	double sum_ns = 0, worst_ns = 0;

	for (size_t i = 0; i < host->bin_cnt; i++) {
		sum_ns += host->spent_ns[i];
		if (i > HOST_MINUTE_BINS)
			sum_ns -= host->spent_ns[i - HOST_MINUTE_BINS - 1];
		worst_ns = fmax(worst_ns, sum_ns);
	}
	return worst_ns / budget__minute_ns(&host->budget);
}

/* Returns the part of the budget that was spent after the first minute. */
static inline double sweep_host__used(const struct sweep_host *host)
{
	double sum_ns = 0;

	for (size_t i = HOST_MINUTE_BINS; i < host->bin_cnt; i++)
		sum_ns += host->spent_ns[i];
	return sum_ns / (host->budget.rate * (host->bin_cnt - HOST_MINUTE_BINS) * HOST_BIN_NS);
}

#endif
