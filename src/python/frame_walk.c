/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/frame_walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "python/code_object.h"
#include "python/layout_marks.h"
#include "util/remote.h"

#define MAX_INTERPS 1024
#define MAX_THREADS 32768
#define MAX_TYPE_NAME 32
#define MAX_LINE (1 << 28)
#define MAX_UNITS (1U << 23) /* of a code object, below PYTHON_NO_UNIT */
#define MAX_CHARS (1U << 20) /* of a file or function name */

#define OWNER_SHIM 3 /* FRAME_OWNED_BY_CSTACK of 3.12, 3.13, _BY_INTERPRETER of 3.14, and above */

/* The bits of PyASCIIObject.state (Include/cpython/unicodeobject.h). */
#define STR_KIND(state) ((state)&7)
#define STR_COMPACT 8U
#define STR_ASCII 16U

struct walk {
	pid_t pid;
	const struct python_layout *layout;
	struct layout_marks marks;
	const char *reason; /* what is wrong, after -EBADMSG */
	/* Types that were recognised by their names, 0 = none yet. */
	uint64_t str_type, bytes_type, frame_type;
};

static int wrong(struct walk *walk, const char *reason)
{
	walk->reason = reason;
	return -EBADMSG;
}

bool is_object_address(uint64_t addr)
{
	return addr >= 4096 && addr < 1ULL << 56 && addr % 8 == 0;
}

static int read_u64(pid_t pid, uint64_t addr, uint64_t *ret)
{
	return remote_read(pid, addr, ret, sizeof(*ret));
}

static uint64_t word_at(const uint8_t *bytes, size_t at)
{
	uint64_t value;

	memcpy(&value, bytes + at, sizeof(value));
	return value;
}

static int32_t s32_at(const uint8_t *bytes, size_t at)
{
	int32_t value;

	memcpy(&value, bytes + at, sizeof(value));
	return value;
}

/* ---- threads --------------------------------------------------------------------------------- */

static int read_threads_of(pid_t pid, uint64_t interp, const struct python_layout *layout,
			   struct python_threads *threads, const char **ret_reason)
{
	struct python_thread thread = {0};
	uint64_t next;
	int err;

	err = read_u64(pid, interp + layout->interp_threads, &next);
	while (!err && next) {
		thread.addr = next;
		*ret_reason = "its list of threads is broken";
		if (!is_object_address(next) || threads->list.cnt >= MAX_THREADS)
			return -EBADMSG;
		err = read_u64(pid, thread.addr + layout->thread_interp, &thread.interp);
		if (!err)
			err = read_u64(pid, thread.addr + layout->thread_id, &thread.self);
		if (!err)
			err = read_u64(pid, thread.addr + layout->thread_next, &next);
		if (err)
			return err;
		*ret_reason = "a thread is in the list of another interpreter";
		if (thread.interp != interp)
			return -EBADMSG;
		err = array_push(&threads->list, thread);
	}
	return err;
}

int python_threads__read(pid_t pid, uint64_t runtime, const struct python_layout *layout,
			 struct python_threads *ret, const char **ret_reason)
{
	struct python_threads threads = {0};
	uint64_t interp;
	size_t cnt = 0;
	int err;

	err = read_u64(pid, runtime + layout->runtime_interpreters, &interp);
	while (!err && interp) {
		if (!is_object_address(interp) || ++cnt > MAX_INTERPS) {
			*ret_reason = "its list of interpreters is broken";
			err = -EBADMSG;
			break;
		}
		err = read_threads_of(pid, interp, layout, &threads, ret_reason);
		if (!err)
			err = read_u64(pid, interp + layout->interp_next, &interp);
	}
	if (!err && !threads.list.cnt)
		err = -EAGAIN;
	if (err)
		array_free(&threads.list);
	else
		*ret = threads;
	return err;
}

/* ---- types ----------------------------------------------------------------------------------- */

/* Whether the memory at `addr` begins with this text and its zero byte. */
static bool has_text(pid_t pid, uint64_t addr, const char *text)
{
	char buf[MAX_TYPE_NAME];
	size_t len = strlen(text) + 1;

	return addr && len <= sizeof(buf) && !remote_read(pid, addr, buf, len) &&
	       !memcmp(buf, text, len);
}

bool python_type__is_named(pid_t pid, const struct python_layout *layout, uint64_t type,
			   const char *name)
{
	uint64_t type_of_type, name_at;

	return is_object_address(type) &&
	       !read_u64(pid, type + layout->object_type, &type_of_type) &&
	       !read_u64(pid, type + layout->type_name, &name_at) && has_text(pid, name_at, name) &&
	       is_object_address(type_of_type) &&
	       !read_u64(pid, type_of_type + layout->type_name, &name_at) &&
	       has_text(pid, name_at, "type");
}

/* The same for a type that is asked for again and again. */
static bool is_type(struct walk *walk, uint64_t type, const char *name, uint64_t *known)
{
	if (type && type == *known)
		return true;
	if (!python_type__is_named(walk->pid, walk->layout, type, name))
		return false;
	*known = type;
	return true;
}

static bool has_basic_size(const struct walk *walk, uint64_t type, uint64_t size)
{
	uint64_t value;

	return !read_u64(walk->pid, type + walk->layout->type_basic_size, &value) && value == size;
}

/* ---- strings --------------------------------------------------------------------------------- */

/*
 * The bits of a string's state, the interned ones cut off: two bits, or in some builds of 3.14 half
 * of the word. Exactly one way to read it makes sense.
 */
static bool find_str_bits(uint32_t state, uint32_t *ret)
{
	const unsigned int shifts[] = {2, 8, 16};

	for (size_t i = 0; i < sizeof(shifts) / sizeof(shifts[0]); i++) {
		uint32_t bits = state >> shifts[i], kind = STR_KIND(bits);

		if ((kind != 1 && kind != 2 && kind != 4) || !(bits & STR_COMPACT))
			continue;
		*ret = bits;
		return true;
	}
	return false;
}

static int read_str(struct walk *walk, uint64_t addr, char **ret_text)
{
	const struct python_layout *layout = walk->layout;
	uint8_t head[64];
	struct python_text text = {0};
	uint64_t chars, len;
	uint32_t state, bits;
	char *decoded;
	int err;

	if (!is_object_address(addr) || layout->unicode_state + sizeof(state) > sizeof(head))
		return wrong(walk, "a name is no string");
	err = remote_read(walk->pid, addr, head, sizeof(head));
	if (err)
		return err;
	if (!is_type(walk, word_at(head, layout->object_type), "str", &walk->str_type))
		return wrong(walk, "a name is no string");
	chars = word_at(head, layout->var_size);
	memcpy(&state, head + layout->unicode_state, sizeof(state));
	if (!find_str_bits(state, &bits) || chars > MAX_CHARS)
		return wrong(walk, "a name is a string of an unknown form");
	text.chars = (uint32_t)chars;
	text.width = (uint8_t)STR_KIND(bits);
	text.is_ascii = !!(bits & STR_ASCII);
	len = chars * text.width;
	text.len = (uint16_t)(len < sizeof(text.bytes) ? len : sizeof(text.bytes));
	err = remote_read(walk->pid,
			  addr + (text.is_ascii ? layout->ascii_size : layout->unicode_size),
			  text.bytes, text.len);
	if (err)
		return err;
	for (size_t i = 0; text.is_ascii && i < text.len; i++)
		if (!text.bytes[i] || text.bytes[i] >= 0x80)
			return wrong(walk, "a name has characters that it cannot have");
	decoded = python_text__decode(&text);
	if (!decoded)
		return -ENOMEM;
	*ret_text = decoded;
	return 0;
}

/* ---- a frame --------------------------------------------------------------------------------- */

static int check_bytes(struct walk *walk, uint64_t addr)
{
	uint64_t type;
	int err;

	if (!is_object_address(addr))
		return wrong(walk, "a line table is none");
	err = read_u64(walk->pid, addr + walk->layout->object_type, &type);
	if (err)
		return err;
	return is_type(walk, type, "bytes", &walk->bytes_type)
		       ? 0
		       : wrong(walk, "a line table is none");
}

/* Finds the unit that the frame is at. */
static int find_unit(struct walk *walk, const uint8_t *frame, const uint8_t *code,
		     struct python_frame *ret)
{
	const struct python_proc *frames = &walk->layout->frames;
	uint64_t units = MAX_UNITS, bytes;
	int64_t unit;

	if (frames->instr == PYTHON_INSTR_POINTER) {
		bytes = word_at(frame, frames->frame_instr) - (ret->code + frames->code_instrs);
		if (bytes & 1)
			return wrong(walk, "an instruction is not where instructions are");
		unit = (int64_t)bytes / 2;
		units = word_at(code, walk->layout->var_size);
	} else {
		unit = s32_at(frame, frames->frame_instr);
		if (unit > 0 && frames->instr == PYTHON_INSTR_BYTES)
			unit /= 2;
	}
	/* Before the first one stands who has not begun. */
	if (unit < -1 || unit >= (int64_t)(units < MAX_UNITS ? units : MAX_UNITS))
		return wrong(walk, "an instruction is not in its function");
	ret->unit = unit < 0 ? PYTHON_NO_UNIT : (uint32_t)unit;
	return 0;
}

static int read_code(struct walk *walk, const uint8_t *frame, struct python_frame *ret)
{
	const struct python_proc *frames = &walk->layout->frames;
	uint8_t code[PYTHON_CODE_BYTES];
	int err;

	if (!is_object_address(ret->code))
		return wrong(walk, "a frame has no code");
	err = remote_read(walk->pid, ret->code, code, sizeof(code));
	if (err)
		return err;
	if (word_at(code, walk->layout->object_type) != frames->code_type)
		return wrong(walk, "a frame's code is no code object");
	ret->first_line = s32_at(code, frames->code_first_line);
	if (ret->first_line < 0 || ret->first_line > MAX_LINE)
		return wrong(walk, "a function begins at an impossible line");
	err = find_unit(walk, frame, code, ret);
	if (!err)
		err = check_bytes(walk, word_at(code, frames->code_lines));
	if (!err)
		err = read_str(walk, word_at(code, frames->code_file), &ret->file);
	if (!err)
		err = read_str(walk, word_at(code, frames->code_name), &ret->name);
	return err;
}

/* Frames that are objects (3.8 to 3.10) have their type, which has the size of this version. */
static int check_frame_object(struct walk *walk, const uint8_t *frame)
{
	uint64_t type = word_at(frame, walk->layout->object_type), known = walk->frame_type;

	if (!walk->marks.frame_size)
		return 0;
	if (!is_type(walk, type, "frame", &walk->frame_type))
		return wrong(walk, "a frame is none");
	if (walk->frame_type != known && !has_basic_size(walk, type, walk->marks.frame_size)) {
		walk->frame_type = known;
		return wrong(walk, "its frames have another size");
	}
	return 0;
}

static int push_frame(struct walk *walk, const uint8_t *bytes, struct python_frame *frame,
		      struct python_frames *frames)
{
	const struct python_proc *rules = &walk->layout->frames;
	int err;

	frame->code = word_at(bytes, rules->frame_code) & rules->code_mask;
	frame->is_last = rules->chunk == PYTHON_CHUNK_EACH ||
			 (rules->chunk == PYTHON_CHUNK_ENTRY && bytes[rules->frame_owner] == 1);
	err = check_frame_object(walk, bytes);
	if (!err)
		err = read_code(walk, bytes, frame);
	if (!err)
		err = array_push(&frames->list, *frame);
	if (err) {
		free(frame->file);
		free(frame->name);
	}
	return err;
}

/* Reads the frame at `addr` and says where the next one is. */
static int step(struct walk *walk, uint64_t addr, struct python_frames *frames, uint64_t *ret_next)
{
	const struct python_proc *rules = &walk->layout->frames;
	struct python_frame frame = {.addr = addr};
	uint8_t bytes[PYTHON_FRAME_BYTES];
	int err;

	if (!is_object_address(addr))
		return wrong(walk, "a frame is not where one can be");
	err = remote_read(walk->pid, addr, bytes, sizeof(bytes));
	if (err)
		return err;
	*ret_next = word_at(bytes, rules->frame_back);
	if (rules->chunk == PYTHON_CHUNK_SHIM && bytes[rules->frame_owner] >= OWNER_SHIM) {
		if (bytes[rules->frame_owner] > OWNER_SHIM + 1)
			return wrong(walk, "a frame has an unknown owner");
		if (frames->list.cnt)
			frames->list.items[frames->list.cnt - 1].is_last = true;
		return 0;
	}
	if (rules->chunk == PYTHON_CHUNK_ENTRY && bytes[rules->frame_owner] > 1)
		return wrong(walk, "a frame has an unknown mark");
	return push_frame(walk, bytes, &frame, frames);
}

/* ---- all frames ------------------------------------------------------------------------------ */

static int find_top(struct walk *walk, uint64_t thread, uint64_t *ret)
{
	const struct python_proc *rules = &walk->layout->frames;
	uint64_t top;
	int err = read_u64(walk->pid, thread + rules->thread_frame, &top);

	if (!err && rules->cframe_frame >= 0) {
		if (!is_object_address(top))
			return wrong(walk, "a thread has no C frame");
		err = read_u64(walk->pid, top + (uint64_t)rules->cframe_frame, &top);
	}
	if (!err)
		*ret = top;
	return err;
}

int python_frames__read(pid_t pid, const struct python_layout *layout, uint64_t thread, size_t max,
			struct python_frames *ret, const char **ret_reason)
{
	struct walk walk = {
		.pid = pid,
		.layout = layout,
		.marks = layout_marks__of(layout),
	};
	struct python_frames frames = {0};
	uint64_t next = 0;
	size_t cnt = 0;
	int err;

	err = find_top(&walk, thread, &next);
	/* Shims count too: a ring of them has to end. */
	while (!err && next && frames.list.cnt < max && cnt++ < 2 * max + 2)
		err = step(&walk, next, &frames, &next);
	if (err) {
		python_frames__free(&frames);
		if (err == -EBADMSG)
			*ret_reason = walk.reason;
		return err;
	}
	frames.is_complete = !next;
	*ret = frames;
	return 0;
}

void python_frames__free(struct python_frames *frames)
{
	for (size_t i = 0; i < frames->list.cnt; i++) {
		free(frames->list.items[i].file);
		free(frames->list.items[i].name);
	}
	array_free(&frames->list);
}
