/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What Python 3.14 tells of itself (struct _Py_DebugOffsets,
 * Include/internal/pycore_debug_offsets.h of 3.14), with the values that a build of 3.14 has where
 * frames are concerned.
 */
#ifndef LEAKSWEEP_TESTS_PYTHON_DEBUG_OFFSETS_H
#define LEAKSWEEP_TESTS_PYTHON_DEBUG_OFFSETS_H

#include <stdint.h>
#include <string.h>

struct debug_offsets_314 {
	char cookie[8];
	uint64_t version, free_threaded;
	struct {
		uint64_t size, finalizing, interpreters_head;
	} runtime;
	struct {
		uint64_t size, id, next, threads_head, threads_main, gc, imports_modules, sysdict,
			builtins, ceval_gil, gil, gil_enabled, gil_locked, gil_holder,
			code_object_generation, tlbc_generation;
	} interp;
	struct {
		uint64_t size, prev, next, interp, current_frame, thread_id, native_thread_id,
			datastack_chunk, status;
	} thread;
	struct {
		uint64_t size, previous, executable, instr_ptr, localsplus, owner, stackpointer,
			tlbc_index;
	} frame;
	struct {
		uint64_t size, filename, name, qualname, linetable, firstlineno, argcount,
			localsplusnames, localspluskinds, co_code_adaptive, co_tlbc;
	} code;
	struct {
		uint64_t size, ob_type;
	} object;
	struct {
		uint64_t size, tp_name, tp_repr, tp_flags;
	} type;
	struct {
		uint64_t size, ob_item, ob_size;
	} tuple, list;
	struct {
		uint64_t size, used, table, mask;
	} set;
	struct {
		uint64_t size, ma_keys, ma_values;
	} dict;
	struct {
		uint64_t size, ob_fval;
	} real;
	struct {
		uint64_t size, lv_tag, ob_digit;
	} integer;
	struct {
		uint64_t size, ob_size, ob_sval;
	} bytes;
	struct {
		uint64_t size, state, length, asciiobject_size;
	} str;
	struct {
		uint64_t size, collecting;
	} gc;
};

static inline struct debug_offsets_314 make_debug_offsets_314(void)
{
	struct debug_offsets_314 offsets = {
		.version = 0x030e00f0,
		.runtime = {.interpreters_head = 816},
		.interp = {.next = 7368, .threads_head = 7408, .gc = 7496},
		.thread = {.next = 8, .interp = 16, .current_frame = 72, .thread_id = 152},
		.frame = {.previous = 8, .executable = 0, .instr_ptr = 56, .owner = 74},
		.code = {.filename = 112,
			 .name = 120,
			 .qualname = 128,
			 .linetable = 136,
			 .firstlineno = 68,
			 .co_code_adaptive = 208},
		.object = {.size = 16, .ob_type = 8},
		.type = {.tp_name = 24, .tp_flags = 168},
		.list = {.ob_item = 24, .ob_size = 16},
		.dict = {.ma_keys = 32, .ma_values = 40},
		.bytes = {.ob_size = 16, .ob_sval = 32},
		.str = {.size = 64, .state = 32, .length = 16, .asciiobject_size = 40},
	};

	memcpy(offsets.cookie, "xdebugpy", sizeof(offsets.cookie));
	return offsets;
}

#endif
