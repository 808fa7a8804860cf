/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One stack of two: Python frames take the place of the interpreter loop's native frames. The k-th
 * native frame of the loop, counted from the leaf, runs the k-th chunk of Python frames
 * (include/python.h).
 */
#ifndef LEAKSWEEP_PYTHON_MERGE_H
#define LEAKSWEEP_PYTHON_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct merged_frame {
	uint16_t idx; /* in the native or the Python frames */
	bool is_python;
};

enum merge_result {
	MERGE_MATCHED = 1, /* as many chunks as frames of the loop */
	MERGE_SHORT = 2, /* one stack ended early, as it says itself: matched from the leaf on, and
			    what is left follows */
	MERGE_VIOLATED = 3, /* the numbers differ and nothing explains it: Python frames follow the
			       native ones that lie below the first frame of the loop */
};

/*
 * `is_loop[i]`: native frame i is the interpreter loop. `is_last[i]`: Python frame i is the last of
 * its chunk. `native_complete`, `python_complete`: how the stacks ended. `ret` has room for
 * native_cnt + python_cnt entries; *ret_cnt of them are filled in.
 */
enum merge_result python_merge(const bool *is_loop, size_t native_cnt, bool native_complete,
			       const bool *is_last, size_t python_cnt, bool python_complete,
			       struct merged_frame *ret, size_t *ret_cnt);

#endif
