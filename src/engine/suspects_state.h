/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of suspects.h share. Private to them. */
#ifndef LEAKSWEEP_ENGINE_SUSPECTS_STATE_H
#define LEAKSWEEP_ENGINE_SUSPECTS_STATE_H

#include "collect/touches.h"
#include "collect/window_blocks.h"
#include "engine/budget.h"
#include "engine/session.h"
#include "engine/suspects.h"
#include "engine/window_bill.h"
#include "engine/window_plan.h"
#include "model/cohort.h"
#include "model/kept_code.h"
#include "symbolize/symbolizer.h"

/* What a process's probes have seen up to a moment. */
struct suspect_moment {
	uint64_t time_ns; /* CLOCK_MONOTONIC */
	uint64_t busy_ns; /* CPU time that the process has used, ever */
	/* Of all suspects' probes, ever: hits, blocks that were seen, and that had no room. */
	uint64_t hits, seen, lost;
	uint64_t stepped, unstepped; /* hits that cost a second trap, and that cost none */
	uint64_t runs, run_ns;	     /* of programs while they were measured, ever */
};

struct suspect {
	struct suspicion suspicion; /* as last told */
	uint64_t told_ns;	    /* when that was */
	double weight;		    /* its growth, less when it is told no more */
	uint32_t space;
	char *obstacle;	     /* owned: why its code cannot be looked at; NULL = it can */
	uint64_t refused_ns; /* when that was found */
	struct cohort *cohort;
	struct window_blocks blocks;
	struct suspect_moment first; /* when it became one */
	struct ledger first_ledger;
	uint64_t cache_key; /* struct ledger; as last read */
	bool is_exact;	    /* its probes stay in place */
	bool is_held;	    /* it is traced exactly, but while nobody looks its probes are away */
	struct suspect_moment begun;  /* the window, or the part of exact tracing not yet told */
	struct suspect_moment billed; /* of exact tracing, what the plan knows */
	uint64_t exact_hits;	      /* since `begun` */
	double attach_ns; /* to make its probes and take them away: CPU time of the tool, as
			     expected */
	double made_ns;	  /* of the window that is open, or of the last one */
	uint64_t traced_ns, window_cnt;
	double cost_ns;	   /* CPU time that its probes took */
	double program_ns; /* a run of the programs behind them, as measured last; 0 = never */
	bool is_touch_watched;
	uint64_t touched_from;		/* its anonymous memory then, bytes */
	uint64_t touch_mean;		/* one sample in so many bytes */
	struct touch_watch touch_count; /* what is billed */
};

/* What the looking at first touches has cost. */
struct touch_bill {
	uint64_t billed_ns; /* CLOCK_MONOTONIC: up to when */
	uint64_t runs;	    /* of its programs, ever, that are billed */
	double owed_ns;	    /* beyond what it may take all the time */
	uint64_t resume_ns; /* it was too dear: nobody is watched until then; 0 = all are */
	double paused_rate; /* what it took each ns then */
};

/* What was told last of a process's code. */
struct suspect_memo {
	struct suspicion suspicion;
	uint64_t told_ns;
	bool was_killed;
	struct kept_code *code; /* a reference */
};

struct suspects {
	const struct suspects_opts *opts;
	struct capture_opts capture;
	struct session *session; /* NULL = nobody was suspected yet */
	char *refusal;		 /* owned: why there can be no session */
	struct symbolizer *symbolizer;
	struct touches *touches; /* NULL = there are none */
	int touch_err;		 /* why none were watched the last time, negative errno; or 0 */
	struct touch_bill touch_bill;
	struct budget budget;
	struct window_plan plan;
	double ns_per_hit; /* calibrated */
	struct trap_price trap_price;
	uint8_t key[SIPHASH_BYTES];
	ARRAY(struct suspect *) list;	  /* MAX_SUSPECTS at most */
	ARRAY(struct suspect_memo) memos; /* those told last go last */
	struct suspect *open;		  /* whose window is open, NULL = nobody's */
	uint64_t poll_ns;		  /* between two looks at the open window */
	uint64_t exact_polls;		  /* looks at exact tracing */
	double exact_rate;    /* hits each ns of all exact suspects; 0 = there are none */
	uint64_t window_hits; /* of windows, ever: the others are of exact tracing */
	uint64_t own_base_ns; /* the tool's CPU time before it was opened */
	uint64_t idle_ns;     /* without suspects it is closed then */
	uint64_t opened_ns;   /* when the session was */
	uint64_t retry_ns;    /* after a refusal */
	bool has_budget;      /* which stays over sessions */
	bool is_ending;	      /* what is told now is the last */
	bool is_over;	      /* nothing will be told any more */
	bool is_changed;      /* there are other options since suspects were told */
	bool has_dropped;     /* files of some may still be open */
	size_t dropped_cnt;   /* suspects, whom the symbolizer still has files of */
	uint64_t exact_due_ns, contents_due_ns, room_due_ns;
};

/* Returns the suspect with such an id (its space), or NULL. */
struct suspect *suspects__find(const struct suspects *suspects, uint64_t id);

/* Tells the plan what is known of a suspect. Returns 0 or -ENOMEM. */
int suspects__tell_plan(struct suspects *suspects, const struct suspect *suspect);

/* Returns the suspect that is this process, or NULL. */
struct suspect *suspects__find_process(const struct suspects *suspects, pid_t pid,
				       uint64_t start_ns);

/* Reads a suspect's ledger, as far as that fits into the budget. */
void suspects__read_ledger(struct suspects *suspects, struct suspect *suspect, struct ledger *ret);

/* Ends the looking at code, for a while. The sweep goes on. Returns 0 or -ENOMEM. */
int suspects__give_up(struct suspects *suspects, int err, uint64_t now_ns);

/* Lets the budget's time pass. */
void suspects__pass(struct suspects *suspects);

/*
 * Adds to a sweep what is known of the code of one of its processes, without names. Returns 0 or a
 * negative errno.
 */
int suspects__tell_code(struct suspects *suspects, struct suspect *suspect, struct sweep *sweep,
			uint64_t now_ns);

/*
 * Names the frames of a sweep's stacks. Source lines are read as far as the budget goes: for what
 * is left a note is added, and room kept. Returns 0 or a negative errno.
 */
int suspects__name_frames(struct suspects *suspects, struct sweep *sweep);

/* Has windows leave some room in the budget until frames are named. */
void suspects__expect_names(struct suspects *suspects);

/* Begins to fill a sweep with stacks. Returns 0 or a negative errno. */
int suspects__begin_stacks(struct suspects *suspects, struct sweep *sweep);

/* Keeps what is known of a suspect's code, in the place of what was known before unless that says
 * more: its process may have ended. Returns 0 or -ENOMEM. */
int suspects__keep(struct suspects *suspects, struct suspect *suspect, uint64_t now_ns);

/* Keeps what a sweep tells of the code of its processes, and tells what was kept of those before
 * them. Returns 0 or -ENOMEM. */
int suspects__keep_told(struct suspects *suspects, struct sweep *sweep, uint64_t now_ns);
void suspects__forget_kept(struct suspects *suspects);

/* Takes a suspect off the list, and keeps what is known of its code. */
void suspects__drop(struct suspects *suspects, struct suspect *suspect);

#endif
