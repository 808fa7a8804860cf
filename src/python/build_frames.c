/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/build_frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ENTRIES (4U << 20)
#define MAX_ENTRY_BYTES 4096 /* of an FDE or CIE; what is behind them is not looked at */

/* Pointer encodings, LSB "DWARF Exception Header Encoding". */
#define ENC_FORMAT 0x0f
#define ENC_PCREL 0x10
#define ENC_PCREL_SDATA4 0x1b
#define ENC_UDATA4 0x03
#define ENC_DATAREL_SDATA4 0x3b

/* .eh_frame_hdr: version, encodings of the pointer to .eh_frame, of the count, and of the table. */
struct frame_header {
	uint8_t version, frame_enc, cnt_enc, table_enc;
	int32_t frame;
	uint32_t cnt;
};

struct frame_entry {
	int32_t start, fde; /* from the header's address */
};

/* ---- the index ------------------------------------------------------------------------------- */

int frame_index__open(const struct elf_image *image, struct frame_index *ret)
{
	struct frame_index index = {.image = image};
	struct frame_header header;
	const Elf64_Phdr *phdr;
	size_t i = 0;
	int err;

	*ret = index;
	while (i < image->phdr_cnt && image->phdrs[i].p_type != PT_GNU_EH_FRAME)
		i++;
	if (i == image->phdr_cnt)
		return 0;
	phdr = &image->phdrs[i];
	if (elf_image__read(image, phdr->p_offset, &header, sizeof(header)) ||
	    header.version != 1 || header.frame_enc != ENC_PCREL_SDATA4 ||
	    header.cnt_enc != ENC_UDATA4 || header.table_enc != ENC_DATAREL_SDATA4 ||
	    header.cnt > MAX_ENTRIES)
		return 0;
	err = elf_image__load(image, phdr->p_offset + sizeof(header),
			      (uint64_t)header.cnt * sizeof(struct frame_entry), SIZE_MAX - 1,
			      (char **)&index.entries);
	if (err)
		return err == -ENOMEM ? err : 0;
	index.base = phdr->p_vaddr;
	index.cnt = header.cnt;
	*ret = index;
	return 0;
}

void frame_index__close(struct frame_index *index)
{
	free(index->entries);
	*index = (struct frame_index){0};
}

/* ---- reading an entry ------------------------------------------------------------------------ */

/* What is left to read of an entry. After a read past its end all is 0 and `bad` is set. */
struct cursor {
	const uint8_t *pos, *end;
	bool bad;
};

static const uint8_t *take(struct cursor *cursor, uint64_t len)
{
	const uint8_t *pos = cursor->pos;

	if (cursor->bad || len > (uint64_t)(cursor->end - cursor->pos)) {
		cursor->bad = true;
		return NULL;
	}
	cursor->pos += len;
	return pos;
}

static uint8_t take_byte(struct cursor *cursor)
{
	const uint8_t *pos = take(cursor, 1);

	return pos ? *pos : 0;
}

static uint64_t take_leb(struct cursor *cursor)
{
	uint64_t value = 0;
	uint8_t byte;

	for (unsigned int shift = 0; shift < 64; shift += 7) {
		byte = take_byte(cursor);
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return value;
	}
	cursor->bad = true;
	return 0;
}

/* Bytes of a pointer; 0 = of variable length, or unknown. */
static size_t pointer_size(uint8_t enc)
{
	switch (enc & ENC_FORMAT) {
	case 0x00: /* a whole word */
	case 0x04:
	case 0x0c:
		return 8;
	case 0x03:
	case 0x0b:
		return 4;
	case 0x02:
	case 0x0a:
		return 2;
	default:
		return 0;
	}
}

static uint64_t take_pointer(struct cursor *cursor, uint8_t enc, bool is_signed)
{
	size_t size = pointer_size(enc);
	const uint8_t *pos = size ? take(cursor, size) : NULL;
	uint64_t value = 0;

	if (!pos) {
		cursor->bad = true;
		return 0;
	}
	memcpy(&value, pos, size);
	if (is_signed && (enc & 0x08) && size < 8 && value >> (size * 8 - 1))
		value |= ~0ULL << (size * 8);
	return value;
}

/* Reads the CIE or FDE at an address: what follows its length. */
static bool load_entry(const struct frame_index *index, uint64_t vaddr, uint8_t *buf,
		       struct cursor *ret)
{
	uint64_t off, avail;
	uint32_t len;

	if (!elf_segments__offset(&index->image->segments, vaddr, false, &off, &avail) ||
	    avail < sizeof(len) || elf_image__read(index->image, off, &len, sizeof(len)) ||
	    len < 8 || len > avail - sizeof(len))
		return false;
	if (len > MAX_ENTRY_BYTES)
		len = MAX_ENTRY_BYTES;
	if (elf_image__read(index->image, off + sizeof(len), buf, len))
		return false;
	*ret = (struct cursor){.pos = buf, .end = buf + len};
	return true;
}

/* ---- CIE and FDE ----------------------------------------------------------------------------- */

struct cie {
	uint8_t pointer_enc;
	bool has_augmentation; /* in its FDEs */
};

static bool read_cie(const struct frame_index *index, uint64_t vaddr, struct cie *ret)
{
	uint8_t buf[MAX_ENTRY_BYTES], version;
	struct cie cie = {0};
	struct cursor cursor;
	const char *text;
	size_t len;

	if (!load_entry(index, vaddr, buf, &cursor) || take_pointer(&cursor, ENC_UDATA4, false))
		return false; /* a CIE's number is 0 */
	version = take_byte(&cursor);
	text = (const char *)cursor.pos;
	len = cursor.bad ? 0 : strnlen(text, (size_t)(cursor.end - cursor.pos));
	take(&cursor, len + 1);
	if ((version != 1 && version != 3) || (len && text[0] != 'z'))
		return false;
	take_leb(&cursor); /* code and data alignment, as many bytes signed and not */
	take_leb(&cursor);
	if (version == 1)
		take_byte(&cursor);
	else
		take_leb(&cursor);
	if (len)
		take_leb(&cursor);
	cie.has_augmentation = len > 0;
	for (size_t i = 1; i < len && !cursor.bad; i++) {
		if (text[i] == 'R')
			cie.pointer_enc = take_byte(&cursor);
		else if (text[i] == 'P')
			take_pointer(&cursor, take_byte(&cursor), false);
		else if (text[i] == 'L')
			take_byte(&cursor);
	}
	*ret = cie;
	return !cursor.bad;
}

/*
 * Whether the rules of the first instruction are others than those at a function's begin, where the
 * canonical frame address is the stack pointer + 8: the instructions before the first step in code.
 */
static bool begins_with_frame(struct cursor *cursor)
{
	while (!cursor->bad && cursor->pos < cursor->end) {
		uint8_t op = take_byte(cursor);

		switch (op & 0xc0 ? op & 0xc0 : op) {
		case 0x40: /* a step */
		case 0x01:
		case 0x02:
		case 0x03:
		case 0x04:
			return false;
		case 0x0c: /* DW_CFA_def_cfa: register, offset */
			return take_leb(cursor) != 7 || take_leb(cursor) != 8;
		case 0x0e: /* DW_CFA_def_cfa_offset */
			return take_leb(cursor) != 8;
		case 0x0d: /* DW_CFA_def_cfa_register, _expression */
		case 0x0f:
			return true;
		case 0x00: /* DW_CFA_nop, _remember_state, _restore_state, _restore */
		case 0x0a:
		case 0x0b:
		case 0xc0:
			break;
		case 0x80: /* DW_CFA_offset */
			take_leb(cursor);
			break;
		case 0x05: /* DW_CFA_offset_extended, _register */
		case 0x09:
			take_leb(cursor);
			take_leb(cursor);
			break;
		case 0x06: /* DW_CFA_restore_extended, _undefined, _same_value, _GNU_args_size */
		case 0x07:
		case 0x08:
		case 0x2e:
			take_leb(cursor);
			break;
		case 0x10: /* DW_CFA_expression, _val_expression */
		case 0x16:
			take_leb(cursor);
			take(cursor, take_leb(cursor));
			break;
		default:
			return false;
		}
	}
	return false;
}

static bool read_fde(const struct frame_index *index, uint64_t vaddr, struct frame_range *ret)
{
	uint64_t cie_at, start, size, at = vaddr + 4; /* behind its length */
	uint8_t buf[MAX_ENTRY_BYTES];
	struct frame_range range;
	struct cursor cursor;
	struct cie cie;

	if (!load_entry(index, vaddr, buf, &cursor))
		return false;
	cie_at = take_pointer(&cursor, ENC_UDATA4, false);
	if (!cie_at || cie_at > at || !read_cie(index, at - cie_at, &cie))
		return false;
	start = take_pointer(&cursor, cie.pointer_enc, true);
	if (cie.pointer_enc & ENC_PCREL)
		start += at + 4;
	size = take_pointer(&cursor, cie.pointer_enc, false);
	if (cie.has_augmentation)
		take(&cursor, take_leb(&cursor));
	if (cursor.bad || !size || size > UINT64_MAX - start)
		return false;
	range = (struct frame_range){.start = start, .end = start + size};
	range.has_frame = begins_with_frame(&cursor);
	*ret = range;
	return true;
}

bool frame_index__find(const struct frame_index *index, uint64_t vaddr, struct frame_range *ret)
{
	size_t low = 0, high = index->cnt, mid;
	struct frame_range range;

	while (low < high) {
		mid = low + (high - low) / 2;
		if ((int64_t)(vaddr - index->base) < index->entries[mid].start)
			high = mid;
		else
			low = mid + 1;
	}
	if (!low ||
	    !read_fde(index, index->base + (uint64_t)(int64_t)index->entries[low - 1].fde, &range))
		return false;
	if (vaddr < range.start || vaddr >= range.end)
		return false;
	*ret = range;
	return true;
}
