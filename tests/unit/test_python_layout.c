/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The layouts beside what a compiler makes of the headers of each Python that has them here. */
#include "unit/python_debug_offsets.h"
#include "unit/python_targets.h"

#include "python/layout.h"
#include "python/layout_marks.h"

#define LAYOUT(field)                                                                              \
	{                                                                                          \
#field, layout->field                                                              \
	}
#define FRAMES(field)                                                                              \
	{                                                                                          \
#field, layout->frames.field                                                       \
	}

static long value_of(const struct python_layout *layout, const char *name)
{
	struct layout_marks marks = layout_marks__of(layout);
	const struct {
		const char *name;
		long value;
	} fields[] = {
		LAYOUT(runtime_key),
		LAYOUT(runtime_interpreters),
		LAYOUT(interp_next),
		LAYOUT(interp_threads),
		LAYOUT(interp_gc_generations),
		LAYOUT(interp_gc_cnt),
		LAYOUT(interp_gc_step),
		LAYOUT(thread_next),
		LAYOUT(thread_interp),
		LAYOUT(thread_id),
		FRAMES(thread_frame),
		FRAMES(cframe_frame),
		FRAMES(frame_back),
		FRAMES(frame_code),
		FRAMES(frame_instr),
		FRAMES(frame_owner),
		FRAMES(code_first_line),
		FRAMES(code_file),
		FRAMES(code_name),
		FRAMES(code_lines),
		FRAMES(code_instrs),
		LAYOUT(object_type),
		LAYOUT(var_size),
		LAYOUT(type_name),
		LAYOUT(type_basic_size),
		LAYOUT(type_item_size),
		LAYOUT(type_flags),
		LAYOUT(type_dict),
		LAYOUT(type_dict_offset),
		LAYOUT(type_module),
		LAYOUT(gc_head),
		LAYOUT(managed_flags),
		LAYOUT(list_items),
		LAYOUT(list_allocated),
		LAYOUT(dict_used),
		LAYOUT(dict_keys),
		LAYOUT(dict_values),
		LAYOUT(unicode_state),
		LAYOUT(ascii_size),
		LAYOUT(unicode_size),
		LAYOUT(bytes_data),
		{"code_size", marks.code_size},
		{"frame_size", marks.frame_size},
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (!strcmp(fields[i].name, name))
			return fields[i].value;
	fail_msg("no field %s", name);
	return 0;
}

/* Returns the number of fields compared, 0 = there are no headers. */
static size_t compare(const struct python *python, const struct python_layout *layout)
{
	char *header, *flags, *program, *line;
	struct target target;
	size_t cnt = 0;

	assert_true(asprintf(&header, "%s/internal/pycore_pystate.h", python->include) > 0);
	if (access(header, R_OK) != 0) {
		printf("skipped: Python %s has no internal headers here\n", python->version);
		free(header);
		return 0;
	}
	free(header);
	assert_true(asprintf(&flags, "-w -I%s -I%s/internal", python->include, python->include) >
		    0);
	program = compile("gcc", flags, "python_offsets.c");
	target = start_target((const char *const[]){program, NULL});
	while ((line = read_line(&target))) {
		char name[64];
		long value;

		assert_int_equal(sscanf(line, "%63s %ld", name, &value), 2);
		if (value_of(layout, name) != value)
			fail_msg("Python %s: %s is %ld, not %ld", python->version, name, value,
				 value_of(layout, name));
		cnt++;
		free(line);
	}
	stop_target(&target);
	free(program);
	free(flags);
	return cnt;
}

static void test_headers(void **state)
{
	(void)state;
	for (size_t i = 0; i < python_cnt; i++) {
		struct python_layout layout;
		struct python_build build;
		struct target target;
		const char *reason;
		uint64_t bias;
		size_t cnt;

		if (!is_supported(&pythons[i]))
			continue;
		target = start_python(&pythons[i], "print('ready', flush=True); input()");
		expect_line(&target, "ready");
		assert_true(find_interpreter(target.pid, &build, &bias));
		stop_target(&target);
		assert_int_equal(python_layout__of(&build, &layout, &reason), 0);
		assert_int_equal(layout.version, pythons[i].version_hex);
		cnt = compare(&pythons[i], &layout);
		if (cnt) {
			assert_int_equal(cnt, 43);
			printf("Python %s: %zu fields as in its headers\n", pythons[i].version,
			       cnt);
		}
		python_build__free(&build);
	}
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void expect_refusal(struct python_build build, const char *word)
{
	struct python_layout layout, before;
	const char *reason = NULL;

	memset(&layout, 0x5a, sizeof(layout));
	before = layout;
	assert_int_equal(python_layout__of(&build, &layout, &reason), -ENOTSUP);
	assert_non_null(reason);
	if (!strstr(reason, word))
		fail_msg("\"%s\" does not say \"%s\"", reason, word);
	assert_memory_equal(&layout, &before, sizeof(layout));
}

static void test_refusals(void **state)
{
	struct python_build build = {.runtime_vaddr = 4096};

	(void)state;
	expect_refusal(build, "version");
	build.version = 0x0207;
	expect_refusal(build, "Python 2");
	build.version = 0x0306;
	expect_refusal(build, "too old");
	build.version = 0x0307;
	expect_refusal(build, "too old");
	build.version = 0x030f;
	expect_refusal(build, "newer");
	build.version = 0xffff;
	expect_refusal(build, "newer");
	build.version = 0x030b;
	build.runtime_vaddr = 0;
	expect_refusal(build, "_PyRuntime");
	build.runtime_vaddr = 4096;
	build.free_threaded = true;
	build.version = 0x030d;
	expect_refusal(build, "free-threaded");
	build.free_threaded = false;
	expect_refusal(build, "_Py_DebugOffsets");
	build.version = 0x030e;
	expect_refusal(build, "_Py_DebugOffsets");
}

/* The build points to the offsets; nothing of it is to be freed. */
static struct python_build build_314(struct debug_offsets_314 *offsets)
{
	return (struct python_build){
		.version = 0x030e,
		.runtime_vaddr = 4096,
		.debug_offsets = (uint8_t *)offsets,
		.debug_offsets_len = sizeof(*offsets),
	};
}

static void test_damaged_offsets(void **state)
{
	struct debug_offsets_314 offsets = make_debug_offsets_314();
	struct python_build build = build_314(&offsets);
	struct python_layout layout;
	const char *reason;

	(void)state;
	for (size_t len = 0; len < offsetof(struct debug_offsets_314, gc); len += 8) {
		build.debug_offsets_len = len;
		expect_refusal(build, "_Py_DebugOffsets");
	}
	build.debug_offsets_len = sizeof(offsets);
	assert_int_equal(python_layout__of(&build, &layout, &reason), 0);
	offsets.frame.instr_ptr = 108;
	expect_refusal(build, "_Py_DebugOffsets");
	offsets.frame.instr_ptr = 56;
	offsets.code.linetable = UINT64_MAX;
	expect_refusal(build, "_Py_DebugOffsets");
	offsets.code.linetable = 136;
	offsets.interp.next = 1 << 20;
	expect_refusal(build, "_Py_DebugOffsets");
	offsets.interp.next = 7368;
	offsets.str.size = 0;
	expect_refusal(build, "_Py_DebugOffsets");
	offsets.str.size = 64;
	offsets.version = 0x030d00f0;
	expect_refusal(build, "_Py_DebugOffsets");
	build.version = 0x030d; /* a struct of another version */
	expect_refusal(build, "_Py_DebugOffsets");
}

/* ---- 3.14, as far as it can be told without one ---------------------------------------------- */

static void test_314(void **state)
{
	struct debug_offsets_314 offsets = make_debug_offsets_314();
	struct python_build build = build_314(&offsets);
	struct python_layout layout;
	const char *reason;

	(void)state;
	assert_int_equal(python_layout__of(&build, &layout, &reason), 0);
	assert_int_equal(layout.runtime_interpreters, 816);
	assert_int_equal(layout.interp_next, 7368);
	assert_int_equal(layout.interp_threads, 7408);
	assert_int_equal(layout.interp_gc_generations, 7496 + 8);
	assert_int_equal(layout.thread_next, 8);
	assert_int_equal(layout.thread_interp, 16);
	assert_int_equal(layout.thread_id, 152);
	assert_int_equal(layout.frames.thread_frame, 72);
	assert_int_equal(layout.frames.cframe_frame, -1);
	assert_int_equal(layout.frames.frame_back, 8);
	assert_int_equal(layout.frames.frame_code, 0);
	assert_int_equal(layout.frames.frame_instr, 56);
	assert_int_equal(layout.frames.frame_owner, 74);
	assert_int_equal(layout.frames.code_mask & 3, 0);
	assert_int_equal(layout.frames.code_first_line, 68);
	assert_int_equal(layout.frames.code_file, 112);
	assert_int_equal(layout.frames.code_name, 128);
	assert_int_equal(layout.frames.code_lines, 136);
	assert_int_equal(layout.frames.code_instrs, 208);
	assert_int_equal(layout.frames.ascii_size, 40);
	assert_int_equal(layout.unicode_size, 56);
	assert_int_equal(layout.bytes_data, 32);
	assert_int_equal(layout.dict_values, 40);
	assert_int_equal(layout.type_flags, 168);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_damaged_offsets),
		cmocka_unit_test(test_314),
	};

	return cmocka_run_group_tests(tests, find_pythons, forget_pythons);
}
