/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An interpreter is known by the symbols that every extension module binds to, so they are there in
 * stripped files, too: the dynamic table of the program or of libpython. Only what the file defines
 * counts: a program that is linked against libpython names the same symbols.
 */
#include "python/build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "python/build_eval.h"
#include "python/build_symbols.h"
#include "python/build_version.h"

#define EVAL_NAME "_PyEval_EvalFrameDefault" /* since 3.6, PEP 523 */
#define DEBUG_COOKIE "xdebugpy"		     /* struct _Py_DebugOffsets */
#define DEBUG_FREE_THREADED_AT 16	     /* u64 */
#define MAX_DEBUG_OFFSETS 1024		     /* 3.14's has 900 bytes */

enum place_id {
	PLACE_EVAL,
	PLACE_OLD_EVAL,
	PLACE_RUNTIME,
	PLACE_CODE_TYPE,
	PLACE_TYPE_TYPE,
	PLACE_NONE,
	PLACE_NO_MEMORY,
	PLACE_FINALIZE,
	PLACE_VERSION,
	PLACE_INIT_MODULE_2,
	PLACE_CNT
};

static const char *const place_names[PLACE_CNT] = {
	[PLACE_EVAL] = EVAL_NAME,
	[PLACE_OLD_EVAL] = "PyEval_EvalFrameEx",
	[PLACE_RUNTIME] = "_PyRuntime",
	[PLACE_CODE_TYPE] = "PyCode_Type",
	[PLACE_TYPE_TYPE] = "PyType_Type",
	[PLACE_NONE] = "_Py_NoneStruct",
	[PLACE_NO_MEMORY] = "PyErr_NoMemory",
	[PLACE_FINALIZE] = "Py_FinalizeEx",
	[PLACE_VERSION] = "Py_Version",
	[PLACE_INIT_MODULE_2] = "Py_InitModule4_64", /* modsupport.h of 2.x, 64-bit builds */
};

/* ---- parts of a build ------------------------------------------------------------------------ */

static uint64_t code_offset(const struct elf_image *image, const struct build_place *place)
{
	uint64_t off, avail;

	if (!place->vaddr ||
	    !elf_segments__offset(&image->segments, place->vaddr, true, &off, &avail))
		return 0;
	return off;
}

static int read_debug_offsets(const struct elf_image *image, const struct build_place *runtime,
			      struct python_build *build)
{
	uint64_t off, avail, size = runtime->size, free_threaded;
	char *data;
	int err;

	if (!runtime->vaddr ||
	    !elf_segments__offset(&image->segments, runtime->vaddr, false, &off, &avail))
		return 0; /* zero until the program starts: before 3.13 */
	if (!size || size > MAX_DEBUG_OFFSETS)
		size = MAX_DEBUG_OFFSETS;
	if (size > avail)
		size = avail;
	if (size < DEBUG_FREE_THREADED_AT + sizeof(free_threaded))
		return 0;
	err = elf_image__load(image, off, size, MAX_DEBUG_OFFSETS, &data);
	if (err)
		return err == -ENOMEM ? err : 0;
	if (memcmp(data, DEBUG_COOKIE, strlen(DEBUG_COOKIE)) != 0) {
		free(data);
		return 0;
	}
	memcpy(&free_threaded, data + DEBUG_FREE_THREADED_AT, sizeof(free_threaded));
	build->free_threaded = free_threaded != 0;
	build->debug_offsets = (uint8_t *)data;
	build->debug_offsets_len = size;
	return 0;
}

/* Where .symtab names a part of the loop that was split off. */
static int take_cold_part(void *arg, const struct build_symbol *symbol)
{
	struct code_parts *parts = arg;

	if (symbol->type != STT_FUNC || !symbol->size ||
	    symbol->vaddr > UINT64_MAX - symbol->size || parts->list.cnt >= 16 ||
	    strncmp(symbol->name, EVAL_NAME ".cold", sizeof(EVAL_NAME ".cold") - 1) != 0)
		return 0;
	return array_push(&parts->list,
			  ((struct code_part){symbol->vaddr, symbol->vaddr + symbol->size}));
}

static int add_range(const struct elf_image *image, const struct code_part *part,
		     struct python_build *build)
{
	uint64_t off, avail;

	if (!elf_segments__offset(&image->segments, part->start, true, &off, &avail))
		return 0;
	if (avail > part->end - part->start)
		avail = part->end - part->start;
	return array_push(&build->eval, ((struct code_range){off, off + avail}));
}

static int read_eval(const struct elf_image *image, const struct build_place *eval,
		     struct python_build *build)
{
	struct code_parts parts = {0};
	int err;

	if (!eval->size || eval->vaddr > UINT64_MAX - eval->size)
		return 0;
	err = array_push(&parts.list, ((struct code_part){eval->vaddr, eval->vaddr + eval->size}));
	if (!err)
		err = build_symbols__each_static(image, take_cold_part, &parts);
	if (!err)
		err = code_parts__complete(&parts, image, EVAL_NAME);
	for (size_t i = 0; i < parts.list.cnt && !err; i++)
		err = add_range(image, &parts.list.items[i], build);
	array_free(&parts.list);
	return err;
}

/* ---- all ------------------------------------------------------------------------------------- */

static int read_version(const struct elf_image *image, const struct build_place *places,
			struct python_build *build)
{
	struct version_hints hints = {
		.py_version_vaddr = places[PLACE_VERSION].vaddr,
		.is_2 = places[PLACE_INIT_MODULE_2].vaddr != 0,
		.debug_offsets = build->debug_offsets,
		.debug_offsets_len = build->debug_offsets_len,
	};

	return build_version__read(image, &hints, &build->version, &build->version_text);
}

static int read_build(const struct elf_image *image, struct python_build *build)
{
	struct build_place places[PLACE_CNT];
	const struct build_place *eval;
	int err;

	for (size_t i = 0; i < PLACE_CNT; i++)
		places[i] = (struct build_place){.name = place_names[i]};
	err = build_symbols__find(image, false, places, PLACE_CNT);
	if (err)
		return err;
	eval = &places[places[PLACE_EVAL].vaddr ? PLACE_EVAL : PLACE_OLD_EVAL];
	if (!code_offset(image, eval) || !places[PLACE_CODE_TYPE].vaddr ||
	    !places[PLACE_TYPE_TYPE].vaddr)
		return -ENOENT;
	build->runtime_vaddr = places[PLACE_RUNTIME].vaddr;
	build->code_type_vaddr = places[PLACE_CODE_TYPE].vaddr;
	build->type_type_vaddr = places[PLACE_TYPE_TYPE].vaddr;
	build->none_vaddr = places[PLACE_NONE].vaddr;
	build->no_memory_off = code_offset(image, &places[PLACE_NO_MEMORY]);
	build->finalize_off = code_offset(image, &places[PLACE_FINALIZE]);
	err = read_debug_offsets(image, &places[PLACE_RUNTIME], build);
	if (!err)
		err = read_version(image, places, build);
	return err ? err : read_eval(image, eval, build);
}

int python_build__read(int fd, struct python_build *ret)
{
	struct python_build build = {0};
	struct elf_image image;
	int err;

	err = elf_image__open(&image, fd, EM_NONE);
	if (err)
		return err;
	err = read_build(&image, &build);
	elf_image__close(&image);
	if (err)
		python_build__free(&build);
	else
		*ret = build;
	return err;
}

void python_build__free(struct python_build *build)
{
	free(build->version_text);
	free(build->debug_offsets);
	array_free(&build->eval);
	*build = (struct python_build){0};
}
