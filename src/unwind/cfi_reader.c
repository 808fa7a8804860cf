/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libdw finds the description of an address, but does not list what is described, and is not made
 * for descriptions that overlap: it keeps them in a search tree. So the section is walked first
 * with dwarf_next_cfi, everything that libdw must not see is cut out of our copy in place, and then
 * libdw is asked about each function that is left, row by row, in the order of addresses.
 */
#include "unwind/cfi_reader.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <string.h>

#include "unwind/cfi_entry.h"
#include "unwind/cfi_row.h"

#define FORMAT_MASK 0x0f /* of an encoding DW_EH_PE_* */
/*
 * libdw executes a function's program from its beginning for each row. The longest in 3000 files of
 * a Debian host has 60 KB; the most that one file has in long ones takes 3 GB, which is 1 s of
 * work.
 */
#define LONG_PROGRAM (4U << 10)
#define MAX_LONG_WORK (6ULL << 30) /* bytes executed */
#define MAX_RESTORER 32		   /* bytes */

/* A description of a function: frame description entry. */
struct fde {
	uint64_t start, end; /* vaddr */
	uint32_t at;	     /* in the section */
	uint32_t size_at;    /* where the number of its bytes is written, ... */
	uint32_t size_width; /* ... in so many bytes */
	uint32_t length;     /* of its program and what stands before that, bytes */
};

/* What descriptions have in common: common information entry. */
struct cie {
	uint32_t at;
	uint8_t encoding; /* of addresses, DW_EH_PE_* */
};

struct cfi_reader {
	struct frame_section *section;
	const struct elf_image *image;
	struct table_builder *builder;
	struct unwind_counts *counts;
	Elf_Data data;
	ARRAY(struct cie) cies; /* by place */
	ARRAY(struct fde) fdes;
	uint64_t long_work; /* bytes of long programs executed */
};

/* ---- the list of functions ------------------------------------------------------------------- */

/* Returns 0, -EBADMSG (broken) or -ENOMEM. */
static int list_cie(struct cfi_reader *reader, size_t at, const Dwarf_CFI_Entry *entry)
{
	struct cie cie = {.at = (uint32_t)at};

	if (!dwarf_cfi_cie_p(entry))
		return 0;
	if (!cfi_entry__encoding(&entry->cie, &cie.encoding))
		return -EBADMSG;
	return array_push(&reader->cies, cie);
}

static int compare_cie(const void *key, const void *item)
{
	uint64_t at = *(const Dwarf_Off *)key;
	const struct cie *cie = item;

	return (at > cie->at) - (at < cie->at);
}

/* Finds the code segment around the beginning and cuts off what lies behind that. */
static bool clip_to_code(const struct elf_image *image, struct fde *fde)
{
	uint64_t off, avail;

	if (!elf_segments__offset(&image->segments, fde->start, true, &off, &avail))
		return false;
	if (fde->end - fde->start > avail)
		fde->end = fde->start + avail;
	return true;
}

/* As list_cie. */
static int list_fde(struct cfi_reader *reader, size_t at, const Dwarf_CFI_Entry *entry)
{
	const struct frame_section *section = reader->section;
	const uint8_t *pos = entry->fde.start, *end = entry->fde.end;
	struct fde fde = {.at = (uint32_t)at};
	const struct cie *cie;
	uint64_t size;

	if (dwarf_cfi_cie_p(entry))
		return 0;
	cie = reader->cies.cnt ? bsearch(&entry->fde.CIE_pointer, reader->cies.items,
					 reader->cies.cnt, sizeof(*cie), compare_cie)
			       : NULL;
	if (!cie || !cfi_entry__read_value(section, cie->encoding, &pos, end, &fde.start))
		return -EBADMSG;
	fde.size_at = (uint32_t)(pos - section->data);
	fde.length = (uint32_t)(end - pos);
	if (!cfi_entry__read_value(section, cie->encoding & FORMAT_MASK, &pos, end, &size))
		return -EBADMSG;
	fde.size_width = (uint32_t)(pos - section->data) - fde.size_at;
	if (size > UINT64_MAX - fde.start)
		return -EBADMSG;
	fde.end = fde.start + size;
	/*
	 * A function that cannot be reached may have no code at all. Linkers that drop a function
	 * leave its description behind, at address 0.
	 */
	if (!size || !fde.start || !clip_to_code(reader->image, &fde)) {
		cfi_entry__erase(reader->section, at);
		return 0;
	}
	return array_push(&reader->fdes, fde);
}

/* Shows the entries that can be read to `list` and erases those that cannot. */
static int walk_entries(struct cfi_reader *reader,
			int (*list)(struct cfi_reader *, size_t, const Dwarf_CFI_Entry *))
{
	struct frame_section *section = reader->section;
	Dwarf_Off at = 0, next = 0;
	Dwarf_CFI_Entry entry;
	int got, err;

	for (; at < section->size; at = next) {
		got = dwarf_next_cfi(section->file, &reader->data, section->eh, at, &next, &entry);
		if (got > 0)
			break;
		err = got < 0 ? -EBADMSG : list(reader, at, &entry);
		if (err == -ENOMEM)
			return err;
		if (err && !got && list == list_fde)
			reader->counts->broken_fdes++;
		if (err)
			cfi_entry__erase(section, at);
		if (next <= at)
			break;
	}
	return 0;
}

/* ---- no two at one place --------------------------------------------------------------------- */

static int compare_fdes(const void *a, const void *b)
{
	const struct fde *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

static void sort_fdes(struct cfi_reader *reader)
{
	struct fde *fdes = reader->fdes.items;
	size_t i;

	for (i = 1; i < reader->fdes.cnt && compare_fdes(&fdes[i - 1], &fdes[i]) < 0; i++)
		;
	if (i < reader->fdes.cnt)
		qsort(fdes, reader->fdes.cnt, sizeof(*fdes), compare_fdes);
}

static void separate_fdes(struct cfi_reader *reader)
{
	struct fde *fdes = reader->fdes.items, *before = NULL;
	size_t kept = 0;

	for (size_t i = 0; i < reader->fdes.cnt; i++) {
		if (before && before->start == fdes[i].start) {
			/* Code that a linker folded is described several times: no harm. */
			reader->counts->broken_fdes += before->end != fdes[i].end;
			cfi_entry__erase(reader->section, fdes[i].at);
			continue;
		}
		if (before && before->end > fdes[i].start)
			before->end = fdes[i].start;
		before = &fdes[kept++];
		*before = fdes[i];
	}
	reader->fdes.cnt = kept;
	/* Little endian, so the low bytes of the size are all it takes. */
	for (size_t i = 0; i < kept; i++) {
		uint64_t size = fdes[i].end - fdes[i].start;

		memcpy(reader->section->data + fdes[i].size_at, &size, fdes[i].size_width);
	}
}

/* ---- rows ------------------------------------------------------------------------------------ */

/*
 * What returns from a signal handler (the kernel's struct ksignal ka.sa.sa_restorer) without saying
 * so: mov $15, %rax; syscall. Nobody called it, so its return address is its first byte, and the
 * byte before is looked up.
 */
static int add_restorer(struct cfi_reader *reader, const struct fde *fde)
{
	static const uint8_t code[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};
	const struct unwind_row row = {.rule = UNWIND_RULE_SIGNAL, .fp = UNWIND_FP_SAME};
	uint64_t size = fde->end - fde->start, off, avail;
	uint8_t bytes[sizeof(code)];

	if (size < sizeof(code) || size > MAX_RESTORER ||
	    !elf_segments__offset(&reader->image->segments, fde->start, true, &off, &avail) ||
	    elf_image__read(reader->image, off, bytes, sizeof(bytes)) ||
	    memcmp(bytes, code, sizeof(code)) != 0)
		return 0;
	return table_builder__add(reader->builder, fde->start - 1, fde->start + sizeof(code), row);
}

/*
 * Goes on to *ret_end. Returns 0, -EBADMSG (a program that libdw refuses from there on), -EFBIG or
 * -ENOMEM.
 */
static int add_rows(struct cfi_reader *reader, Dwarf_CFI *cfi, const struct fde *fde,
		    uint64_t *ret_end)
{
	uint64_t pc = fde->start, start, end;
	struct unwind_row row;
	Dwarf_Frame *frame;
	int err = 0;

	for (; pc < fde->end && !err; pc = end) {
		*ret_end = pc;
		if (fde->length > LONG_PROGRAM)
			reader->long_work += fde->length;
		if (fde->length > LONG_PROGRAM && reader->long_work > MAX_LONG_WORK)
			return -EBADMSG;
		if (dwarf_cfi_addrframe(cfi, pc, &frame))
			return -EBADMSG;
		row = cfi_row__make(frame, &start, &end);
		free(frame);
		if (start > pc || end <= pc)
			return -EBADMSG;
		if (end > fde->end)
			end = fde->end;
		err = table_builder__add(reader->builder, pc, end, row);
	}
	*ret_end = pc;
	return err;
}

static int add_functions(struct cfi_reader *reader, Dwarf_CFI *cfi, struct code_ranges *covered)
{
	int err = 0;

	/* Before all others: they reach into the function before. */
	for (size_t i = 0; i < reader->fdes.cnt && !err; i++)
		err = add_restorer(reader, &reader->fdes.items[i]);
	for (size_t i = 0; i < reader->fdes.cnt && !err; i++) {
		struct code_range range = {.start = reader->fdes.items[i].start};

		err = add_rows(reader, cfi, &reader->fdes.items[i], &range.end);
		if (err == -EBADMSG) {
			reader->counts->broken_fdes++;
			err = 0;
		}
		if (!err)
			err = array_push(&covered->list, range);
	}
	return err;
}

static int ask_libdw(struct cfi_reader *reader, struct code_ranges *covered)
{
	const struct frame_section *section = reader->section;
	Dwarf_CFI *cfi = NULL;
	Dwarf *dwarf = NULL;
	int err = -ENOMEM;
	Elf *elf;

	elf = elf_memory((char *)section->file, section->file_size);
	if (!elf)
		return -ENOMEM;
	if (section->eh) {
		cfi = dwarf_getcfi_elf(elf);
	} else {
		dwarf = dwarf_begin_elf(elf, DWARF_C_READ, NULL);
		cfi = dwarf ? dwarf_getcfi(dwarf) : NULL;
	}
	if (cfi)
		err = add_functions(reader, cfi, covered);
	if (cfi && section->eh)
		dwarf_cfi_end(cfi);
	dwarf_end(dwarf);
	elf_end(elf);
	return err;
}

int cfi_reader__read(struct frame_section *section, const struct elf_image *image,
		     struct table_builder *builder, struct code_ranges *covered,
		     struct unwind_counts *counts)
{
	struct cfi_reader reader = {
		.section = section,
		.image = image,
		.builder = builder,
		.counts = counts,
	};
	int err;

	elf_version(EV_CURRENT);
	cfi_section__repair(section);
	reader.data = (Elf_Data){.d_buf = section->data, .d_size = section->size};
	err = walk_entries(&reader, list_cie);
	if (!err)
		err = walk_entries(&reader, list_fde);
	if (!err) {
		sort_fdes(&reader);
		separate_fdes(&reader);
		counts->fdes += (uint32_t)reader.fdes.cnt;
	}
	if (!err && reader.fdes.cnt)
		err = ask_libdw(&reader, covered);
	array_free(&reader.cies);
	array_free(&reader.fdes);
	return err;
}
