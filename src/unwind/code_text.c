/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unwind/code_text.h"

#include <string.h>

/* What is shorter lies between functions that are aligned to 16 bytes: padding. */
#define MIN_REGION 16
/* A text that the sweep did not understand is not guessed at for long. */
#define MAX_STRAYS (1U << 20)

/* ---- which code ------------------------------------------------------------------------------ */

static int add_range(struct code_ranges *ranges, uint64_t start, uint64_t end)
{
	struct code_range range = {start, end};

	return start < end ? array_push(&ranges->list, range) : 0;
}

/* The part of a section that a segment makes executable. */
static int add_section(struct code_ranges *ranges, const struct elf_segments *segments,
		       const Elf64_Shdr *shdr)
{
	uint64_t end, from, to;
	int err = 0;

	if (__builtin_add_overflow(shdr->sh_addr, shdr->sh_size, &end))
		return 0;
	for (size_t i = 0; i < segments->list.cnt && !err; i++) {
		const struct elf_segment *segment = &segments->list.items[i];

		if (!segment->executable)
			continue;
		from = shdr->sh_addr > segment->vaddr ? shdr->sh_addr : segment->vaddr;
		to = segment->vaddr + segment->size;
		err = add_range(ranges, from, end < to ? end : to);
	}
	return err;
}

/* Executable segments hold headers and data, too; sections, where there are any, tell them apart.
 */
static int find_executable(const struct elf_image *image, struct code_ranges *ret)
{
	const uint64_t wanted = SHF_ALLOC | SHF_EXECINSTR;
	int err = 0;

	for (size_t i = 0; i < image->shdr_cnt && !err; i++)
		if ((image->shdrs[i].sh_flags & wanted) == wanted &&
		    image->shdrs[i].sh_type == SHT_PROGBITS)
			err = add_section(ret, &image->segments, &image->shdrs[i]);
	for (size_t i = 0; i < image->segments.list.cnt && !err && !image->shdr_cnt; i++) {
		const struct elf_segment *segment = &image->segments.list.items[i];

		if (segment->executable)
			err = add_range(ret, segment->vaddr, segment->vaddr + segment->size);
	}
	if (!err)
		code_ranges__normalize(ret);
	return err;
}

/* Takes `covered` out of `from`; both are normalized. */
static int subtract(const struct code_ranges *from, const struct code_ranges *covered,
		    struct code_ranges *ret)
{
	size_t next = 0;
	int err = 0;

	for (size_t i = 0; i < from->list.cnt && !err; i++) {
		struct code_range left = from->list.items[i];

		while (next < covered->list.cnt && covered->list.items[next].end <= left.start)
			next++;
		for (size_t k = next; k < covered->list.cnt && !err; k++) {
			const struct code_range *hole = &covered->list.items[k];

			if (hole->start >= left.end)
				break;
			err = add_range(ret, left.start, hole->start);
			if (hole->end > left.start)
				left.start = hole->end;
		}
		if (!err)
			err = add_range(ret, left.start, left.end);
	}
	return err;
}

static int load_region(const struct elf_image *image, struct code_text *text,
		       const struct code_range *range)
{
	struct code_region region = {
		.start = (uint32_t)(range->start - text->base),
		.end = (uint32_t)(range->end - text->base),
	};
	size_t len = range->end - range->start;
	uint64_t off, avail;
	int err;

	if (!elf_segments__offset(&image->segments, range->start, true, &off, &avail) ||
	    avail < len)
		return 0; /* segments overlap: nobody knows which the program will see */
	region.bytes = malloc(len);
	if (!region.bytes)
		return -ENOMEM;
	err = elf_image__read(image, off, region.bytes, len);
	if (!err)
		err = array_push(&text->regions, region);
	if (err)
		free(region.bytes);
	return err;
}

static bool choose_regions(struct code_ranges *ranges, uint64_t base, uint64_t max_bytes)
{
	uint64_t total = 0;
	size_t kept = 0;

	for (size_t i = 0; i < ranges->list.cnt; i++) {
		struct code_range range = ranges->list.items[i];

		if (range.end - range.start < MIN_REGION)
			continue;
		total += range.end - range.start;
		if (total > max_bytes || range.end - base > INT32_MAX)
			return false;
		ranges->list.items[kept++] = range;
	}
	ranges->list.cnt = kept;
	return kept > 0;
}

int code_text__load(const struct elf_image *image, const struct code_ranges *covered,
		    uint64_t max_bytes, struct code_text *ret)
{
	struct code_ranges ranges = {0};
	Elf64_Ehdr ehdr;
	int err;

	*ret = (struct code_text){0};
	err = elf_image__read(image, 0, &ehdr, sizeof(ehdr));
	if (!err)
		err = find_executable(image, &ret->executable);
	if (!err)
		err = subtract(&ret->executable, covered, &ranges);
	if (err || !ret->executable.list.cnt)
		goto cleanup;
	ret->base = ret->executable.list.items[0].start;
	if (!choose_regions(&ranges, ret->base, max_bytes))
		goto cleanup;
	for (size_t i = 0; i < ranges.list.cnt && !err; i++)
		err = load_region(image, ret, &ranges.list.items[i]);
	ret->decoder = insn_decoder__new(ret->base, ehdr.e_type == ET_EXEC);
	if (!err && !ret->decoder)
		err = -ENOMEM;
cleanup:
	array_free(&ranges.list);
	return err;
}

void code_text__free(struct code_text *text)
{
	for (size_t i = 0; i < text->regions.cnt; i++)
		free(text->regions.items[i].bytes);
	array_free(&text->regions);
	array_free(&text->executable.list);
	array_free(&text->insns);
	hashmap__free(&text->strays);
	insn_decoder__free(text->decoder);
}

/* ---- places ---------------------------------------------------------------------------------- */

static const struct code_region *find_region(const struct code_text *text, int64_t at)
{
	size_t low = 0, high = text->regions.cnt;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct code_region *region = &text->regions.items[mid];

		if (at < region->start)
			high = mid;
		else if (at >= region->end)
			low = mid + 1;
		else
			return region;
	}
	return NULL;
}

bool code_text__offset(const struct code_text *text, uint64_t vaddr, uint32_t *ret_at)
{
	if (vaddr < text->base || vaddr - text->base > INT32_MAX ||
	    !find_region(text, (int64_t)(vaddr - text->base)))
		return false;
	*ret_at = (uint32_t)(vaddr - text->base);
	return true;
}

bool code_text__is_foreign(const struct code_text *text, int64_t at)
{
	const struct code_range *ranges = text->executable.list.items;
	uint64_t vaddr = text->base + (uint64_t)at;
	size_t low = 0, high = text->executable.list.cnt;

	if (find_region(text, at))
		return false;
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (vaddr < ranges[mid].start)
			high = mid;
		else if (vaddr >= ranges[mid].end)
			low = mid + 1;
		else
			return true;
	}
	return false;
}

/* ---- instructions ---------------------------------------------------------------------------- */

static bool decode_in(const struct code_text *text, const struct code_region *region, uint32_t at,
		      struct code_insn *ret)
{
	return insn_decoder__decode(text->decoder, region->bytes + (at - region->start),
				    region->end - at, at, ret);
}

bool code_text__is_first_code(const struct code_text *text, uint32_t at)
{
	static const uint8_t loader[] = {0x48, 0x89, 0xe7, 0xe8}; /* mov %rsp, %rdi; call */
	const struct code_region *region = find_region(text, at);
	struct code_insn insn;

	if (region && region->end - at >= sizeof(loader) &&
	    !memcmp(region->bytes + (at - region->start), loader, sizeof(loader)))
		return true;
	if (!region || !decode_in(text, region, at, &insn))
		return false;
	/* endbr64 */
	if (insn.op == CODE_PLAIN && insn.len == 4 && insn.len < region->end - at &&
	    !decode_in(text, region, at + insn.len, &insn))
		return false;
	return insn.op == CODE_ZERO && insn.reg == CODE_RBP;
}

int code_text__sweep(struct code_text *text, const uint32_t *starts, size_t cnt)
{
	size_t next = 0;

	for (size_t i = 0; i < text->regions.cnt; i++) {
		const struct code_region *region = &text->regions.items[i];
		uint32_t at = region->start;
		struct code_insn insn;

		while (at < region->end) {
			bool decoded = decode_in(text, region, at, &insn);

			while (next < cnt && starts[next] <= at)
				next++;
			if (decoded && next < cnt && starts[next] < at + insn.len) {
				at = starts[next];
				continue;
			}
			if (decoded && array_push(&text->insns, insn))
				return -ENOMEM;
			at += decoded ? insn.len : 1;
		}
	}
	text->sweep_cnt = (uint32_t)text->insns.cnt;
	return 0;
}

uint32_t code_text__lower(const struct code_text *text, uint32_t at)
{
	uint32_t low = 0, high = text->sweep_cnt;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (text->insns.items[mid].at < at)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

uint32_t code_text__find(const struct code_text *text, int64_t at)
{
	const uint64_t *stray;
	uint32_t idx;

	if (at < 0 || at > INT32_MAX)
		return CODE_NO_INSN;
	idx = code_text__lower(text, (uint32_t)at);
	if (idx < text->sweep_cnt && text->insns.items[idx].at == (uint32_t)at)
		return idx;
	stray = hashmap__find(&text->strays, (uint64_t)at, 0);
	return stray ? (uint32_t)*stray : CODE_NO_INSN;
}

uint32_t code_text__decode(struct code_text *text, int64_t at)
{
	uint32_t idx = code_text__find(text, at);
	const struct code_region *region;
	struct code_insn insn;
	uint64_t *stray;

	if (idx != CODE_NO_INSN)
		return idx;
	region = find_region(text, at);
	if (!region || text->insns.cnt - text->sweep_cnt >= MAX_STRAYS ||
	    !decode_in(text, region, (uint32_t)at, &insn))
		return CODE_NO_INSN;
	idx = (uint32_t)text->insns.cnt;
	stray = hashmap__insert(&text->strays, (uint64_t)at, 0, NULL);
	if (!stray)
		return CODE_NO_INSN;
	*stray = idx;
	if (array_push(&text->insns, insn)) {
		hashmap__remove(&text->strays, (uint64_t)at, 0);
		return CODE_NO_INSN;
	}
	return idx;
}
