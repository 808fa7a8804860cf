/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unwind/cfi_entry.h"

#include <dwarf.h>
#include <string.h>

#define DWARF64_MARK 0xffffffffU /* the length is in the 8 bytes behind */
#define FIRST_RESERVED 0xfffffff0U

#define FORMAT_MASK 0x0f /* of an encoding DW_EH_PE_* */
#define BASE_MASK 0xf0

struct extent {
	size_t head; /* bytes of the length itself */
	uint64_t body;
};

/* Returns whether there is a whole entry. */
static bool read_extent(const struct frame_section *section, size_t at, struct extent *ret)
{
	size_t left = section->size - at;
	uint32_t narrow;

	if (left < sizeof(narrow))
		return false;
	memcpy(&narrow, section->data + at, sizeof(narrow));
	*ret = (struct extent){sizeof(narrow), narrow};
	if (narrow == DWARF64_MARK) {
		ret->head += sizeof(ret->body);
		if (left < ret->head)
			return false;
		memcpy(&ret->body, section->data + at + sizeof(narrow), sizeof(ret->body));
	} else if (narrow >= FIRST_RESERVED) {
		return false;
	}
	return ret->body <= left - ret->head;
}

/* Returns whether the length could be written. */
static bool lengthen(struct frame_section *section, size_t at, size_t more)
{
	struct extent extent;
	uint32_t narrow;

	if (!read_extent(section, at, &extent))
		return false;
	extent.body += more;
	if (extent.head > sizeof(narrow)) {
		memcpy(section->data + at + sizeof(narrow), &extent.body, sizeof(extent.body));
		return true;
	}
	if (extent.body >= FIRST_RESERVED)
		return false;
	narrow = (uint32_t)extent.body;
	memcpy(section->data + at, &narrow, sizeof(narrow));
	return true;
}

void cfi_section__repair(struct frame_section *section)
{
	size_t from = 0, at = 0, before = SIZE_MAX, marks = 0;
	struct extent extent;

	for (; read_extent(section, at, &extent); at += extent.head + extent.body) {
		if (!extent.body) {
			if (!section->bounded)
				break;
			marks += extent.head;
			continue;
		}
		if (marks && before != SIZE_MAX && !lengthen(section, before, marks))
			break;
		/* .debug_frame refers to its entries by their places. */
		if (marks && before == SIZE_MAX && section->eh)
			from = at;
		before = at;
		marks = 0;
	}
	at -= marks;
	frame_section__cut(section, before == SIZE_MAX ? at : from, at);
}

void cfi_entry__erase(struct frame_section *section, size_t at)
{
	struct extent extent;

	/* A common entry, which is told by all zeros or all ones, of a version that never was. */
	if (read_extent(section, at, &extent))
		memset(section->data + at + extent.head, section->eh ? 0 : 0xff, extent.body);
}

/* Returns how many bytes a value takes, 0 = not of one size. */
static size_t format_size(uint8_t encoding)
{
	switch (encoding & FORMAT_MASK) {
	case DW_EH_PE_absptr:
	case DW_EH_PE_udata8:
	case DW_EH_PE_sdata8:
		return 8;
	case DW_EH_PE_udata4:
	case DW_EH_PE_sdata4:
		return 4;
	case DW_EH_PE_udata2:
	case DW_EH_PE_sdata2:
		return 2;
	default:
		return 0;
	}
}

static bool is_readable(uint8_t encoding)
{
	return format_size(encoding) && ((encoding & BASE_MASK) == DW_EH_PE_absptr ||
					 (encoding & BASE_MASK) == DW_EH_PE_pcrel);
}

bool cfi_entry__encoding(const Dwarf_CIE *cie, uint8_t *ret_encoding)
{
	const uint8_t *pos = cie->augmentation_data, *end = pos + cie->augmentation_data_size;
	const char *text = cie->augmentation;
	uint8_t encoding = DW_EH_PE_absptr;
	size_t size;

	if (*text && *text++ != 'z')
		return false;
	for (; *text; text++) {
		if (*text == 'S')
			continue;
		if (pos >= end)
			return false;
		switch (*text) {
		case 'R':
			encoding = *pos++;
			break;
		case 'L':
			pos++;
			break;
		case 'P': /* where the personality routine is, indirectly as a rule */
			size = *pos == DW_EH_PE_omit ? 0 : format_size(*pos);
			if ((!size && *pos != DW_EH_PE_omit) ||
			    (*pos & BASE_MASK & ~DW_EH_PE_indirect) == DW_EH_PE_aligned ||
			    (size_t)(end - pos) <= size)
				return false;
			pos += 1 + size;
			break;
		default:
			return false;
		}
	}
	if (!is_readable(encoding))
		return false;
	*ret_encoding = encoding;
	return true;
}

bool cfi_entry__read_value(const struct frame_section *section, uint8_t encoding,
			   const uint8_t **pos, const uint8_t *end, uint64_t *ret)
{
	size_t size = format_size(encoding);
	uint64_t value = 0;
	unsigned int unused = 64 - 8 * (unsigned int)size;

	if (!is_readable(encoding) || *pos > end || (size_t)(end - *pos) < size)
		return false;
	memcpy(&value, *pos, size);
	if (encoding & DW_EH_PE_signed)
		value = (uint64_t)((int64_t)(value << unused) >> unused);
	if ((encoding & BASE_MASK) == DW_EH_PE_pcrel)
		value += section->vaddr + (uint64_t)(*pos - section->data);
	*pos += size;
	*ret = value;
	return true;
}
