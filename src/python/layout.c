/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tables hold what offsetof() and sizeof say of the headers of each version; the unit test asks
 * a compiler. 3.13 and later tell most of it themselves (struct _Py_DebugOffsets): then the tables
 * only have the rest.
 */
#include "python/layout.h"

#include <errno.h>
#include <string.h>

#include "python/layout_marks.h"

#define CODE_OF_39 176 /* sizeof(PyCodeObject) of 3.8 to 3.10 */

/* Type flags of Include/object.h, Include/cpython/object.h. */
#define MANAGED_WEAKREF (1ULL << 3) /* 3.12 and later */
#define MANAGED_DICT (1ULL << 4)

/* What is the same in all of these versions. */
#define COMMON                                                                                     \
	.thread_next = 8, .thread_interp = 16, .object_type = 8, .var_size = 16, .type_name = 24,  \
	.type_basic_size = 32, .type_item_size = 40, .type_flags = 168, .type_dict = 264,          \
	.type_dict_offset = 288, .gc_head = 16, .list_items = 24, .list_allocated = 32,            \
	.dict_used = 16, .dict_keys = 32, .dict_values = 40, .unicode_state = 32,                  \
	.bytes_data = 32, .alignment = 16

/* Lists of the collector: struct gc_generation has a head of 16 bytes and two ints. */
#define GC_LISTS(at) .interp_gc_generations = (at), .interp_gc_cnt = 3, .interp_gc_step = 24

#define STR_OF_38 .ascii_size = 48, .unicode_size = 72
#define STR_OF_312 .ascii_size = 40, .unicode_size = 56

/* 3.8 to 3.10: frames are objects, one a call of the interpreter loop. */
#define FRAMES_OF_38(how, instr_at)                                                                \
	.frames = {                                                                                \
		.code_mask = ~0ULL,                                                                \
		.thread_frame = 24,                                                                \
		.cframe_frame = -1,                                                                \
		.frame_back = 24,                                                                  \
		.frame_code = 32,                                                                  \
		.frame_instr = (instr_at),                                                         \
		.instr = (how),                                                                    \
		.chunk = PYTHON_CHUNK_EACH,                                                        \
		.code_first_line = 40,                                                             \
		.code_file = 104,                                                                  \
		.code_name = 112,                                                                  \
		.code_lines = 120,                                                                 \
		.ascii_size = 48,                                                                  \
	}

static const struct python_layout layouts[] = {
	{
		.version = 0x0308,
		COMMON,
		STR_OF_38,
		FRAMES_OF_38(PYTHON_INSTR_BYTES, 104),
		.runtime_key = 1396,
		.runtime_interpreters = 32,
		.interp_threads = 8,
		.thread_id = 176,
		.pool_shift = 12, /* the collector's lists are in _PyRuntime: not told */
	},
	{
		.version = 0x0309,
		COMMON,
		STR_OF_38,
		FRAMES_OF_38(PYTHON_INSTR_BYTES, 104),
		GC_LISTS(640),
		.runtime_key = 588,
		.runtime_interpreters = 32,
		.interp_threads = 8,
		.thread_id = 176,
		.type_module = 872,
		.pool_shift = 12,
	},
	{
		.version = 0x030a,
		COMMON,
		STR_OF_38,
		FRAMES_OF_38(PYTHON_INSTR_UNITS, 96),
		GC_LISTS(640),
		.runtime_key = 588,
		.runtime_interpreters = 32,
		.interp_threads = 8,
		.thread_id = 176,
		.type_module = 880,
		.pool_shift = 14,
	},
	{
		.version = 0x030b,
		COMMON,
		STR_OF_38,
		GC_LISTS(672),
		.runtime_key = 596,
		.runtime_interpreters = 40,
		.interp_threads = 16,
		.thread_id = 152,
		.type_module = 880,
		.managed_words = 2,
		.managed_flags = MANAGED_DICT,
		.pool_shift = 14,
		.frames =
			{
				.code_mask = ~0ULL,
				.thread_frame = 56,
				.cframe_frame = 8,
				.frame_back = 48,
				.frame_code = 32,
				.frame_instr = 56,
				.frame_owner = 68, /* is_entry */
				.instr = PYTHON_INSTR_POINTER,
				.chunk = PYTHON_CHUNK_ENTRY,
				.code_first_line = 72,
				.code_file = 112,
				.code_name = 128,
				.code_lines = 136,
				.code_instrs = 184,
				.ascii_size = 48,
			},
	},
	{
		.version = 0x030c,
		COMMON,
		STR_OF_312,
		GC_LISTS(136),
		.runtime_key = 1548,
		.runtime_interpreters = 40,
		.interp_threads = 72,
		.thread_id = 136,
		.type_module = 888,
		.managed_words = 2,
		.managed_flags = MANAGED_DICT | MANAGED_WEAKREF,
		.pool_shift = 14,
		.frames =
			{
				.code_mask = ~0ULL,
				.thread_frame = 56,
				.cframe_frame = 0,
				.frame_back = 8,
				.frame_code = 0,
				.frame_instr = 56,
				.frame_owner = 70,
				.instr = PYTHON_INSTR_POINTER,
				.chunk = PYTHON_CHUNK_SHIM,
				.code_first_line = 68,
				.code_file = 112,
				.code_name = 128,
				.code_lines = 136,
				.code_instrs = 192,
				.ascii_size = 40,
			},
	},
	{
		.version = 0x030d,
		COMMON,
		STR_OF_312,
		GC_LISTS(24), /* from the interpreter's gc */
		.runtime_key = 2164,
		.type_module = 888,
		.managed_words = 2,
		.managed_flags = MANAGED_DICT | MANAGED_WEAKREF,
		.pool_shift = 14,
		.frames =
			{
				.code_mask = ~0ULL,
				.cframe_frame = -1,
				.instr = PYTHON_INSTR_POINTER,
				.chunk = PYTHON_CHUNK_SHIM,
			},
	},
	{
		.version = 0x030e,
		COMMON,
		STR_OF_312,
		GC_LISTS(8), /* from the interpreter's gc: young, two old ones */
		.runtime_key = 2340,
		.type_module = 888,
		.managed_words = 2,
		.managed_flags = MANAGED_DICT | MANAGED_WEAKREF,
		.pool_shift = 14,
		.frames =
			{
				.code_mask = ~3ULL, /* _PyStackRef, Py_TAG_BITS */
				.cframe_frame = -1,
				.instr = PYTHON_INSTR_POINTER,
				.chunk = PYTHON_CHUNK_SHIM,
			},
	},
};

/* ---- what 3.13 and later tell ---------------------------------------------------------------- */

/*
 * Places in struct _Py_DebugOffsets, in words, by version (Include/internal/pycore_runtime.h of
 * 3.13, pycore_debug_offsets.h of 3.14).
 */
struct debug_places {
	uint8_t interpreters_head;
	uint8_t interp_next, interp_threads, interp_gc;
	uint8_t thread_next, thread_interp, thread_frame, thread_id;
	uint8_t frame_previous, frame_executable, frame_instr, frame_owner;
	uint8_t code_filename, code_qualname, code_lines, code_first_line, code_instrs;
	uint8_t object_type;
	uint8_t type_name, type_flags;
	uint8_t list_items, dict_keys, dict_values;
	uint8_t bytes_data, unicode_size, unicode_state, ascii_size;
};

static const struct debug_places places_of_313 = {
	.interpreters_head = 5,
	.interp_next = 8,
	.interp_threads = 9,
	.interp_gc = 10,
	.thread_next = 21,
	.thread_interp = 22,
	.thread_frame = 23,
	.thread_id = 24,
	.frame_previous = 29,
	.frame_executable = 30,
	.frame_instr = 31,
	.frame_owner = 33,
	.code_filename = 35,
	.code_qualname = 37,
	.code_lines = 38,
	.code_first_line = 39,
	.code_instrs = 43,
	.object_type = 45,
	.type_name = 47,
	.type_flags = 49,
	.list_items = 54,
	.dict_keys = 57,
	.dict_values = 58,
	.bytes_data = 66,
	.unicode_size = 67,
	.unicode_state = 68,
	.ascii_size = 70,
};

static const struct debug_places places_of_314 = {
	.interpreters_head = 5,
	.interp_next = 8,
	.interp_threads = 9,
	.interp_gc = 11,
	.thread_next = 24,
	.thread_interp = 25,
	.thread_frame = 26,
	.thread_id = 27,
	.frame_previous = 32,
	.frame_executable = 33,
	.frame_instr = 34,
	.frame_owner = 36,
	.code_filename = 40,
	.code_qualname = 42,
	.code_lines = 43,
	.code_first_line = 44,
	.code_instrs = 48,
	.object_type = 51,
	.type_name = 53,
	.type_flags = 55,
	.list_items = 60,
	.dict_keys = 67,
	.dict_values = 68,
	.bytes_data = 76,
	.unicode_size = 77,
	.unicode_state = 78,
	.ascii_size = 80,
};

struct debug_reader {
	const struct python_build *build;
	bool is_odd; /* a value was not there, or too large */
};

/* The offset at a word; `field` bytes from there have to lie below `limit`. */
static uint16_t take(struct debug_reader *reader, uint8_t word, uint64_t field, uint64_t limit)
{
	size_t at = (size_t)word * 8;
	uint64_t value;

	if (at + sizeof(value) > reader->build->debug_offsets_len) {
		reader->is_odd = true;
		return 0;
	}
	memcpy(&value, reader->build->debug_offsets + at, sizeof(value));
	if (value > limit || field > limit - value) {
		reader->is_odd = true;
		return 0;
	}
	return (uint16_t)value;
}

#define STATE_LIMIT 65535 /* of the runtime and of an interpreter */
#define OBJECT_LIMIT 1024

static void take_frames(struct debug_reader *reader, const struct debug_places *places,
			struct python_proc *frames)
{
	frames->thread_frame = take(reader, places->thread_frame, 8, OBJECT_LIMIT);
	frames->frame_back = (uint8_t)take(reader, places->frame_previous, 8, PYTHON_FRAME_BYTES);
	frames->frame_code = (uint8_t)take(reader, places->frame_executable, 8, PYTHON_FRAME_BYTES);
	frames->frame_instr = (uint8_t)take(reader, places->frame_instr, 8, PYTHON_FRAME_BYTES);
	frames->frame_owner = (uint8_t)take(reader, places->frame_owner, 1, PYTHON_FRAME_BYTES);
	frames->code_first_line = take(reader, places->code_first_line, 4, PYTHON_CODE_BYTES);
	frames->code_file = take(reader, places->code_filename, 8, PYTHON_CODE_BYTES);
	frames->code_name = take(reader, places->code_qualname, 8, PYTHON_CODE_BYTES);
	frames->code_lines = take(reader, places->code_lines, 8, PYTHON_CODE_BYTES);
	frames->code_instrs = take(reader, places->code_instrs, 0, OBJECT_LIMIT);
	frames->ascii_size = take(reader, places->ascii_size, 0, OBJECT_LIMIT);
}

static void take_objects(struct debug_reader *reader, const struct debug_places *places,
			 struct python_layout *layout)
{
	layout->object_type = take(reader, places->object_type, 8, OBJECT_LIMIT);
	layout->type_name = take(reader, places->type_name, 8, OBJECT_LIMIT);
	layout->type_flags = take(reader, places->type_flags, 8, OBJECT_LIMIT);
	layout->list_items = take(reader, places->list_items, 8, OBJECT_LIMIT);
	layout->dict_keys = take(reader, places->dict_keys, 8, OBJECT_LIMIT);
	layout->dict_values = take(reader, places->dict_values, 8, OBJECT_LIMIT);
	layout->bytes_data = take(reader, places->bytes_data, 0, OBJECT_LIMIT);
	layout->unicode_state = take(reader, places->unicode_state, 4, OBJECT_LIMIT);
	layout->ascii_size = take(reader, places->ascii_size, 0, OBJECT_LIMIT);
	/* It tells the size of PyUnicodeObject, which has a pointer more than the compact one. */
	layout->unicode_size = take(reader, places->unicode_size, 0, OBJECT_LIMIT) - 8;
}

/* Returns whether the offsets are there and make sense. */
static bool take_debug_offsets(const struct python_build *build, struct python_layout *layout)
{
	bool is_313 = layout->version == 0x030d;
	const struct debug_places *places = is_313 ? &places_of_313 : &places_of_314;
	struct debug_reader reader = {.build = build};
	uint64_t hex;

	if (!build->debug_offsets || build->debug_offsets_len < 16)
		return false;
	memcpy(&hex, build->debug_offsets + 8, sizeof(hex));
	if (hex >> 16 != layout->version)
		return false;
	layout->runtime_interpreters = take(&reader, places->interpreters_head, 8, STATE_LIMIT);
	layout->interp_next = take(&reader, places->interp_next, 8, STATE_LIMIT);
	layout->interp_threads = take(&reader, places->interp_threads, 8, STATE_LIMIT);
	layout->interp_gc_generations += take(&reader, places->interp_gc, 256, STATE_LIMIT);
	layout->thread_next = take(&reader, places->thread_next, 8, OBJECT_LIMIT);
	layout->thread_interp = take(&reader, places->thread_interp, 8, OBJECT_LIMIT);
	layout->thread_id = take(&reader, places->thread_id, 8, OBJECT_LIMIT);
	take_frames(&reader, places, &layout->frames);
	take_objects(&reader, places, layout);
	/* Two that never change tell whether the struct is the one that is known. */
	return !reader.is_odd && layout->unicode_size > layout->ascii_size &&
	       layout->unicode_size < OBJECT_LIMIT && layout->object_type == 8 &&
	       layout->type_name == 24;
}

/* ---- all ------------------------------------------------------------------------------------- */

static const char *why_not(const struct python_build *build)
{
	if (!build->version)
		return "the version of this Python could not be told for certain";
	if (build->version < 0x0300)
		return "Python 2 is not supported: its frames are not known, 3.8 or later is "
		       "needed";
	if (build->version < 0x0308)
		return "this Python is too old: frames are known from 3.8 on";
	if (build->version > 0x030e)
		return "this Python is newer than the versions that are known (3.8 to 3.14)";
	if (build->free_threaded)
		return "free-threaded builds of Python are not supported: objects, frames and "
		       "their allocator are laid out in another way";
	if (!build->runtime_vaddr)
		return "this Python does not export _PyRuntime";
	return NULL;
}

/* _co_firsttraceable and co_extra are the last fields before the instructions; `owner` lies behind
 * is_entry, and in its place since that has gone. */
static void set_first_unit(struct python_layout *layout)
{
	struct python_proc *frames = &layout->frames;

	if (layout->version < 0x030b || layout->version > 0x030d)
		return;
	frames->code_first_unit = frames->code_instrs - 16;
	frames->frame_holder = frames->frame_owner + (frames->chunk == PYTHON_CHUNK_ENTRY);
}

int python_layout__of(const struct python_build *build, struct python_layout *ret,
		      const char **ret_reason)
{
	const char *reason = why_not(build);
	struct python_layout layout;

	if (reason) {
		*ret_reason = reason;
		return -ENOTSUP;
	}
	layout = layouts[build->version - layouts[0].version];
	if (layout.version >= 0x030d && !take_debug_offsets(build, &layout)) {
		*ret_reason = "this Python does not tell its offsets (_Py_DebugOffsets), or not "
			      "those of its version";
		return -ENOTSUP;
	}
	set_first_unit(&layout);
	*ret = layout;
	return 0;
}

struct layout_marks layout_marks__of(const struct python_layout *layout)
{
	if (layout->version >= 0x030b)
		return (struct layout_marks){.code_size = layout->frames.code_instrs};
	return (struct layout_marks){
		.code_size = CODE_OF_39,
		.frame_size = layout->version == 0x030a ? 360 : 368,
	};
}
