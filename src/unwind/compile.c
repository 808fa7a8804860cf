/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a file to its table. Where several sources say something of the same code, the first holds:
 * .eh_frame, which programs themselves unwind by, then .debug_frame, then the instructions.
 */
#include "unwind/table.h"

#include <errno.h>
#include <stdlib.h>

#include "unwind/cfi_reader.h"
#include "unwind/code_scan.h"
#include "unwind/frame_section.h"
#include "unwind/table_builder.h"
#include "util/elf_image.h"
#include "util/xz.h"

#define MAX_DEBUGDATA (64U << 20)
#define MAX_UNPACKED (256U << 20)

struct compilation {
	const struct elf_image *image;
	struct table_builder *builder;
	struct code_ranges covered;
	struct unwind_counts counts;
};

/* Returns 0, -ENOENT (there is no such section) or another negative errno. */
static int read_section(struct compilation *compilation, const struct elf_image *from,
			int (*load)(const struct elf_image *, struct frame_section *))
{
	struct frame_section section;
	int err;

	err = load(from, &section);
	if (err)
		return err;
	err = cfi_reader__read(&section, compilation->image, compilation->builder,
			       &compilation->covered, &compilation->counts);
	frame_section__free(&section);
	return err;
}

/* Reads the debug file that distributions pack into stripped files ("MiniDebugInfo"). */
static int read_debugdata(struct compilation *compilation)
{
	const struct elf_image *image = compilation->image;
	struct elf_image inner;
	const Elf64_Shdr *shdr;
	void *unpacked = NULL;
	char *packed = NULL;
	size_t size;
	int err;

	err = elf_image__section_named(image, ".gnu_debugdata", &shdr);
	if (err)
		return err;
	err = elf_image__load(image, shdr->sh_offset, shdr->sh_size, MAX_DEBUGDATA, &packed);
	if (!err)
		err = xz_unpack(packed, shdr->sh_size, MAX_UNPACKED, &unpacked, &size);
	free(packed);
	if (!err)
		err = elf_image__open_memory(&inner, unpacked, size);
	if (!err) {
		err = read_section(compilation, &inner, frame_section__load_debug);
		elf_image__close(&inner);
	}
	free(unpacked);
	/* An addition that cannot be read is as good as none. */
	return err == -ENOMEM ? err : 0;
}

static int read_sources(struct compilation *compilation)
{
	const struct elf_image *image = compilation->image;
	int err;

	err = read_section(compilation, image, frame_section__load_eh);
	if (!err || err == -ENOENT)
		err = read_section(compilation, image, frame_section__load_debug);
	if (err && err != -ENOENT)
		return err;
	/* Linkers leave an empty .eh_frame in files that describe nothing. */
	err = compilation->counts.fdes ? 0 : read_debugdata(compilation);
	return err == -ENOENT ? 0 : err;
}

/* What no source describes is told by its instructions. */
static int scan_the_rest(struct compilation *compilation)
{
	code_ranges__normalize(&compilation->covered);
	table_builder__begin_scanned(compilation->builder);
	return code_scan__run(compilation->image, &compilation->covered, MAX_SCANNED_CODE,
			      compilation->builder);
}

static int compile(const struct elf_image *image, struct unwind_table *ret)
{
	struct compilation compilation = {.image = image};
	struct unwind_table table;
	int err = -ENOMEM;

	if (image->machine != EM_X86_64)
		return -ENOTSUP;
	compilation.builder = table_builder__new(&image->segments);
	if (!compilation.builder)
		goto cleanup;
	err = read_sources(&compilation);
	if (!err)
		err = scan_the_rest(&compilation);
	if (!err)
		err = table_builder__finish(compilation.builder, &table);
	if (err)
		goto cleanup;
	table.counts.fdes = compilation.counts.fdes;
	table.counts.broken_fdes = compilation.counts.broken_fdes;
	*ret = table;
cleanup:
	table_builder__free(compilation.builder);
	array_free(&compilation.covered.list);
	return err;
}

int unwind_table__compile(int fd, struct unwind_table *ret)
{
	struct elf_image image;
	int err;

	err = elf_image__open(&image, fd, EM_X86_64);
	if (err)
		return err;
	err = compile(&image, ret);
	elf_image__close(&image);
	return err;
}

int unwind_table__compile_image(const void *data, size_t size, struct unwind_table *ret)
{
	struct elf_image image;
	int err;

	err = elf_image__open_memory(&image, data, size);
	if (err)
		return err;
	err = compile(&image, ret);
	elf_image__close(&image);
	return err;
}
