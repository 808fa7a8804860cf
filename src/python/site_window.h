/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A short stretch of code around one instruction, as one path runs through it: from the last
 * transfer of control before it on, past branches that are not taken and along direct jumps, to the
 * next call, return or indirect jump.
 */
#ifndef LEAKSWEEP_PYTHON_SITE_WINDOW_H
#define LEAKSWEEP_PYTHON_SITE_WINDOW_H

#include <capstone/capstone.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "python/site_code.h"
#include "python/site_value.h"

/* In instructions; enough for every place of CPython 2.7 to 3.13 that is known. */
#define WINDOW_BEFORE 30
#define WINDOW_AFTER 24
#define WINDOW_JUMPS 2 /* that are followed */
#define MAX_WINDOW (WINDOW_BEFORE + 1 + WINDOW_AFTER)

struct window_insn {
	size_t at; /* place in the area */
	uint8_t len;
	uint8_t control; /* enum site_control */
	bool is_landing; /* other paths join here */
	bool is_apart;	 /* reached by a jump that was followed */
	size_t target;	 /* SITE_BRANCH: where else it goes, SIZE_MAX = far */
	bool has_tested; /* it compares a value with 0 */
	struct value tested;
	struct value regs[GPR_CNT]; /* before it */
};

struct site_window {
	csh handle;		      /* capstone's, with details */
	cs_insn *insn;		      /* room for one */
	const struct code_area *area; /* borrowed; of what was read last */
	struct window_insn insns[MAX_WINDOW];
	size_t cnt;
	size_t center;	      /* index of the instruction that it is around */
	struct values values; /* at the end, with all that was stored */
};

/* Returns 0 or -ENOMEM. The window is large: not for the stack. */
int site_window__open(struct site_window *window);
void site_window__close(struct site_window *window);

/*
 * Reads the stretch around the instruction at `at` and runs it. Returns false when it cannot be
 * decoded up to and with that instruction, or is too complicated.
 */
bool site_window__read(struct site_window *window, const struct code_area *area, size_t at);

/*
 * Runs the instructions at `places`, whatever leads from one to the next; calls return, with what
 * they may change unknown. The last one is the center. Returns false as above, or when there are
 * more than MAX_WINDOW.
 */
bool site_window__run(struct site_window *window, const struct code_area *area,
		      const size_t *places, size_t cnt);

/* Whether the instructions of the stretch around `at` have all of these marks among them. */
bool site_window__has_marks(const struct code_area *area, size_t at, uint8_t marks);

#endif
