/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which suspect is traced next, when and for how long. Pure: time comes from the budget, what
 * windows have shown is passed in, chance from a key.
 *
 * Of what the budget leaves, each suspect gets what a least window every half of WINDOW_MAX_AGE_NS
 * costs; the rest is shared by growth. An account for each fills with its share and pays for its
 * windows; the next one comes when the account has recovered, sooner or later by chance (gaps are
 * exponential: a fixed period would see one phase of whatever goes on in the target periodically).
 * Windows do not overlap: making probes waits for the kernel, and another window beside it would
 * stay open meanwhile. Where continuous tracing takes at most half a share, that is ordered
 * instead.
 *
 * Memory is bounded: of more than WINDOW_SUSPECTS suspects, those that grow most are kept.
 */
#ifndef LEAKSWEEP_ENGINE_WINDOW_PLAN_H
#define LEAKSWEEP_ENGINE_WINDOW_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/budget.h"
#include "engine/window_cost.h"
#include "util/siphash.h"

#define WINDOW_SUSPECTS 64
#define WINDOW_MAX_AGE_NS (5 * BUDGET_MINUTE_NS) /* without a window, as long as there is room */
#define WINDOW_CUT 5 /* times its plan: what an open window may cost at most */

struct suspect_facts {
	uint64_t id; /* the caller's */
	double growth_bytes_per_h;
	double ns_per_hit; /* as calibrated for its probes; above 0 */
	double attach_ns;  /* CPU time of the tool to make and remove its probes, as measured */
};

struct window_suspect {
	struct suspect_facts facts;
	struct window_cost cost;
	double share;		 /* ns of CPU time each ns: what it is worth */
	double pay;		 /* the same with what others leave, for its windows */
	double account_ns;	 /* saved for windows; below 0 = owed */
	double due_ns;		 /* of account_ns: its next window comes then */
	uint64_t last_ns;	 /* when it was traced last, or came; budget's time */
	bool is_exact;		 /* traced continuously */
	double charged_ns;	 /* of the window that is open, or of `bill` */
	struct window_bill bill; /* of exact tracing since last_ns */
};

struct window_order {
	uint64_t id;
	bool is_exact;	    /* to be traced until window_plan__traced says no; the rest is 0 */
	uint64_t length_ns; /* how long the window is to be open */
	double cost_ns;	    /* what it is to cost, probes made and removed included */
};

struct window_plan {
	struct budget *budget; /* borrowed; time has to be passed to it before each call */
	uint8_t key[SIPHASH_BYTES];
	uint64_t drawn_cnt; /* numbers by chance */
	uint64_t time_ns;   /* up to which accounts are filled; budget's time */
	size_t cnt;
	struct window_suspect suspects[WINDOW_SUSPECTS];
	bool is_open; /* a window of suspects[open]; others wait */
	size_t open;
	struct window_order order;    /* what it was opened for */
	double attach_ns;	      /* of its cost, spent when it was ordered */
	uint64_t opened_ns, ended_ns; /* its probes were there from, to; 0 = they still are */
	struct window_cost known; /* of who has shown last what hits cost; ns_per_hit 0 = nobody */
};

enum window_state {
	WINDOW_GOES_ON,
	WINDOW_OVER,	 /* has had its time: to be closed */
	WINDOW_TOO_DEAR, /* to be closed at once, it was cut */
};

/* `budget` is borrowed. Who does not know the key cannot tell when windows come. */
void window_plan__init(struct window_plan *plan, struct budget *budget,
		       const uint8_t key[static SIPHASH_BYTES]);

/* Adds a suspect, or renews what is known of it. Returns 0 or -ENOSPC: there are enough that grow
 * as much. */
int window_plan__suspect(struct window_plan *plan, const struct suspect_facts *facts);

/* Its tracing, if any, has ended or is ended by the caller. An unknown id is harmless. */
void window_plan__forget(struct window_plan *plan, uint64_t id);

/* Returns what so many hits of a suspect's probes cost, as far as it is known; ns of CPU time. */
double window_plan__cost_ns(const struct window_plan *plan, uint64_t id, uint64_t hits);

/* Whether windows whose probes cost that much to make and remove ever fit into the budget. */
bool window_plan__can_pay(const struct window_plan *plan, double attach_ns);

/* Whether a suspect is known; one that grew less than others may have made place for them. */
bool window_plan__has(const struct window_plan *plan, uint64_t id);

/*
 * Returns whether something is to be traced now, and what. If not, *ret_wait_ns is how long there
 * is nothing to ask for at least, BUDGET_MAX_STEP_NS at most. Each order that is no exact one has
 * to be closed; there is no other before.
 */
bool window_plan__next(struct window_plan *plan, struct window_order *ret, uint64_t *ret_wait_ns);

/* The probes of the window that was ordered are there now: its time begins. */
void window_plan__opened(struct window_plan *plan);

/* What is to be done with the open window, which has had so many hits. To be asked often: what it
 * costs between two looks is not held back by anything. Its time ends with any other answer than
 * WINDOW_GOES_ON, however long the probes take to be removed. */
enum window_state window_plan__watch(struct window_plan *plan, uint64_t hits);

/* The window is closed. `attach_ns` is what making and removing the probes has cost this time, CPU
 * time of the tool. */
void window_plan__closed(struct window_plan *plan, const struct window_bill *bill,
			 double attach_ns);

/*
 * What exact tracing has shown since the last report; to be reported as often as a window is
 * watched. Returns false when it has to end at once: it does not fit any more, or the suspect is
 * not known. What was hit while it ended is reported in the same way.
 */
bool window_plan__traced(struct window_plan *plan, uint64_t id, const struct window_bill *bill);

#endif
