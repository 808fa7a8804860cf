/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The threads of a living interpreter and their frames, read from outside while it runs, by the
 * same rules as the kernel side. Whatever is not what the layout promises ends the walk with an
 * error: either the layout is wrong, or the process changed it between two reads.
 */
#ifndef LEAKSWEEP_PYTHON_FRAME_WALK_H
#define LEAKSWEEP_PYTHON_FRAME_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "include/python.h"
#include "python/layout.h"
#include "util/array.h"

struct python_thread {
	uint64_t addr;	 /* of its thread state */
	uint64_t interp; /* address of its interpreter */
	uint64_t self;	 /* pthread_self(): on x86-64 the thread pointer; 0 = not known yet */
};

struct python_threads {
	ARRAY(struct python_thread) list; /* of all interpreters */
};

/*
 * Lists the thread states of the runtime at `runtime`. Returns 0, -EAGAIN (there are none),
 * -EBADMSG with *ret_reason (a static half sentence, what is wrong) or a negative errno; release
 * with array_free(&ret->list).
 */
int python_threads__read(pid_t pid, uint64_t runtime, const struct python_layout *layout,
			 struct python_threads *ret, const char **ret_reason);

struct python_frame {
	uint64_t addr, code;
	char *file, *name; /* owned, UTF-8 */
	int32_t first_line;
	uint32_t unit; /* of its instruction, PYTHON_NO_UNIT = it has not begun */
	bool is_last;  /* of its chunk */
};

struct python_frames {
	ARRAY(struct python_frame) list; /* leaf first */
	bool is_complete;		 /* the last one is the thread's first */
};

/*
 * Reads at most `max` frames of the thread state at `thread`. `layout->frames` has to be complete
 * as far as frames are concerned (code_type). Returns 0, -EBADMSG with *ret_reason, -EFAULT (not
 * readable) or another negative errno; free with python_frames__free.
 */
int python_frames__read(pid_t pid, const struct python_layout *layout, uint64_t thread, size_t max,
			struct python_frames *ret, const char **ret_reason);
void python_frames__free(struct python_frames *frames);

/* Whether an address is one that an object may have. */
bool is_object_address(uint64_t addr);

/* Whether the type object at `type` has this name and is a type itself. */
bool python_type__is_named(pid_t pid, const struct python_layout *layout, uint64_t type,
			   const char *name);

#endif
