/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Wrong offsets give plausible garbage, so nothing of a layout is believed before it was seen to
 * hold: a pthread key that was made, a list of threads each of which knows its interpreter, threads
 * whose own data under the key leads back to their thread state, and frames whose code objects are
 * code objects with names, lines and an instruction inside of them. A running process changes while
 * it is read; what is only torn holds when it is read again, what is wrong never does.
 */
#include "python/process.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "python/exe_places.h"
#include "python/frame_walk.h"
#include "python/layout_marks.h"
#include "python/thread_data.h"
#include "util/message.h"
#include "util/remote.h"

#define TRIES 25
#define PAUSE_NS 2000000 /* between two */
#define WALK_TRIES 8	 /* of one thread's frames within a try */
#define MAX_WALKED 32	 /* threads */
#define MAX_FRAMES_WALKED 64

struct check {
	pid_t pid;
	uint64_t runtime; /* addresses */
	struct python_layout layout;
	const char *reason; /* a static half sentence: what is wrong */
};

static int wrong(struct check *check, const char *reason)
{
	check->reason = reason;
	return -EBADMSG;
}

/* ---- key, type ------------------------------------------------------------------------------- */

static int read_key(struct check *check)
{
	struct {
		int32_t is_made;
		uint32_t key;
	} tss; /* Py_tss_t, Include/pythread.h */
	int err;

	err = remote_read(check->pid, check->runtime + check->layout.runtime_key - 4, &tss,
			  sizeof(tss));
	if (err)
		return err == -EFAULT ? wrong(check, "its runtime state cannot be read") : err;
	if (!tss.is_made)
		return -EAGAIN;
	if (tss.is_made != 1 || tss.key >= MAX_THREAD_KEYS)
		return wrong(check, "the key of its thread states is not where it should be");
	check->layout.frames.key = tss.key;
	return 0;
}

/* The type of code objects has the size that they have in this version. */
static int check_code_type(struct check *check)
{
	const struct python_layout *layout = &check->layout;
	struct layout_marks marks = layout_marks__of(layout);
	uint64_t size;
	int err;

	if (!python_type__is_named(check->pid, layout, layout->frames.code_type, "code"))
		return wrong(check, "the type of code objects is not where it should be");
	err = remote_read(check->pid, layout->frames.code_type + layout->type_basic_size, &size,
			  sizeof(size));
	if (!err && size != marks.code_size)
		return wrong(check, "its code objects have another size");
	return err;
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* Walks one thread until its frames hold. Returns 0 with the number of frames, or why not. */
static int walk_thread(struct check *check, const struct python_thread *thread, size_t *ret_cnt)
{
	struct python_frames frames;
	int err = 0;

	for (int i = 0; i < WALK_TRIES; i++) {
		err = python_frames__read(check->pid, &check->layout, thread->addr,
					  MAX_FRAMES_WALKED, &frames, &check->reason);
		if (!err) {
			*ret_cnt = frames.list.cnt;
			python_frames__free(&frames);
			return 0;
		}
		if (err != -EBADMSG && err != -EFAULT)
			return err;
	}
	if (err == -EFAULT)
		check->reason = "frames cannot be read";
	return -EBADMSG;
}

/*
 * One thread in eight may be odd (it may just have ended); of few threads none. Without a single
 * frame there is nothing that could be checked yet.
 */
static int check_frames(struct check *check, const struct python_threads *threads)
{
	size_t good = 0, bad = 0, frame_cnt;
	int err;

	for (size_t i = 0; i < threads->list.cnt && good + bad < MAX_WALKED; i++) {
		err = walk_thread(check, &threads->list.items[i], &frame_cnt);
		if (err == -EBADMSG)
			bad++;
		else if (err)
			return err;
		else if (frame_cnt)
			good++;
	}
	if (bad > good / 8)
		return -EBADMSG;
	return good ? 0 : -EAGAIN;
}

/* ---- one look, and all ----------------------------------------------------------------------- */

static int look(struct check *check)
{
	struct python_threads threads = {0};
	struct thread_data data;
	int err, frames_err;

	err = read_key(check);
	if (err)
		return err;
	err = check_code_type(check);
	if (!err)
		err = python_threads__read(check->pid, check->runtime, &check->layout, &threads,
					   &check->reason);
	if (err)
		return err == -EFAULT ? wrong(check, "its threads cannot be read") : err;
	err = thread_data__find(check->pid, &threads, check->layout.frames.key, &data,
				&check->reason);
	frames_err = err == -EBADMSG ? err : check_frames(check, &threads);
	array_free(&threads.list);
	if (frames_err)
		return frames_err;
	if (err == -EAGAIN)
		return wrong(check, "the data of its threads does not lead to thread states");
	if (err)
		return err;
	check->layout.frames.tsd_first = data.first;
	check->layout.frames.tsd_second = data.second;
	return 0;
}

static int look_again(struct check *check)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	int err = -EBADMSG;

	for (int i = 0; i < TRIES && err == -EBADMSG; i++) {
		if (i)
			nanosleep(&pause, NULL);
		err = look(check);
	}
	return err;
}

int python_process__check(pid_t pid, uint64_t bias, const struct python_build *build,
			  struct python_process *ret, char **ret_reason)
{
	struct check check = {.pid = pid, .runtime = bias + build->runtime_vaddr};
	struct exe_places exe = {0};
	const char *reason;
	int err;

	err = python_layout__of(build, &check.layout, &reason);
	if (err)
		return fail(ret_reason, err, "%s", reason);
	check.layout.frames.code_type = bias + build->code_type_vaddr;
	err = exe_places__read(pid, &exe);
	if (err)
		return err;
	if (exe.runtime)
		check.runtime = exe.runtime;
	if (exe.code_type)
		check.layout.frames.code_type = exe.code_type;
	err = look_again(&check);
	if (err == -EBADMSG)
		return fail(ret_reason, -ENOTSUP, "it is not laid out as Python %s is: %s",
			    build->version_text, check.reason);
	if (err)
		return err;
	*ret = (struct python_process){
		.pid = pid,
		.bias = bias,
		.runtime = check.runtime,
		.layout = check.layout,
		.frames = check.layout.frames,
	};
	return 0;
}
