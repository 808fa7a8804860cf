// SPDX-License-Identifier: GPL-2.0-or-later
#include "symbolize/dwarf_lines.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwelf.h>
#include <errno.h>
#include <gelf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "symbolize/dwarf_scopes.h"
#include "util/array.h"
#include "util/hashmap.h"
#include "util/io.h"

#define MAX_TEXT 16384 /* bytes of one name */

struct writer {
	const struct lines_input *input;
	int output_fd;
	Dwarf *dwarf;
	struct scopes scopes;
	ARRAY(struct lines_record) records;
	ARRAY(struct lines_call) calls;
	ARRAY(char) text;
	struct hashmap text_index; /* libdw's pointer, is it a path -> offset in `text` */
	/* of the unit that is looked at */
	Dwarf_Die unit;
	const char *comp_dir; /* where its relative paths begin; NULL = unknown */
	Dwarf_Files *files;
	size_t file_cnt;
};

/* ---- text ----------------------------------------------------------------------------------- */

/* Puts `part` behind the path that ends at `end`, or takes the last part away for "..". */
static char *add_part(char *path, char *end, const char *part, size_t len)
{
	char *last;

	if (len == 1 && part[0] == '.')
		return end;
	if (len == 2 && !memcmp(part, "..", 2)) {
		for (last = end; last > path && last[-1] != '/'; last--)
			;
		if (end == path && *path == '/')
			return end; /* the root's parent is the root */
		if (end > path && !(end - last == 2 && !memcmp(last, "..", 2)))
			return last > path ? last - 1 : path;
	}
	if (end > path || *path == '/')
		*end++ = '/';
	memmove(end, part, len);
	return end + len;
}

void normalise_path(char *path)
{
	bool absolute = *path == '/';
	char *end = path, *part = path;
	size_t len;

	while (*part) {
		len = strcspn(part, "/");
		/* Each part brings a slash along, so what is written stays behind what is read. */
		if (len)
			end = add_part(path, end, part, len);
		part += len;
		part += *part == '/';
	}
	if (absolute && end == path)
		end++;
	*end = '\0';
}

static int append(struct writer *writer, const char *text, size_t len)
{
	size_t need = writer->text.cnt + len, cap = writer->text.cap ? writer->text.cap : 4096;
	char *grown;

	while (cap < need)
		cap *= 2;
	if (need > UINT32_MAX)
		return -EFBIG;
	if (cap > writer->text.cap) {
		grown = realloc(writer->text.items, cap);
		if (!grown)
			return -ENOMEM;
		writer->text.items = grown;
		writer->text.cap = cap;
	}
	memcpy(writer->text.items + writer->text.cnt, text, len);
	writer->text.cnt = need;
	return 0;
}

static int append_path(struct writer *writer, const char *path)
{
	const char *dir = writer->comp_dir;
	size_t off = writer->text.cnt, dir_len = dir ? strnlen(dir, MAX_TEXT) : 0;
	int err = 0;

	/* Builds that hide their place have a relative one ("./csu"), in DWARF 5 in both. */
	if (path[0] != '/' && dir_len && (strncmp(path, dir, dir_len) || path[dir_len] != '/')) {
		err = append(writer, dir, dir_len);
		if (!err)
			err = append(writer, "/", 1);
	}
	if (!err)
		err = append(writer, path, strnlen(path, MAX_TEXT));
	if (!err)
		err = append(writer, "", 1);
	if (err)
		return err;
	normalise_path(writer->text.items + off);
	writer->text.cnt = off + strlen(writer->text.items + off) + 1;
	return 0;
}

static int append_name(struct writer *writer, const char *name)
{
	int err = append(writer, name, strnlen(name, MAX_TEXT));

	return err ? err : append(writer, "", 1);
}

/* libdw gives equal pointers for equal names of a unit. */
static int add_text(struct writer *writer, const char *text, bool is_path, uint32_t *ret_off)
{
	size_t off = writer->text.cnt;
	uint64_t *slot;
	bool is_new;
	int err;

	*ret_off = 0;
	if (!text || !*text)
		return 0;
	slot = hashmap__insert(&writer->text_index, (uintptr_t)text, is_path, &is_new);
	if (!slot)
		return -ENOMEM;
	if (!is_new) {
		*ret_off = (uint32_t)*slot;
		return 0;
	}
	err = is_path ? append_path(writer, text) : append_name(writer, text);
	if (err)
		return err;
	*slot = off;
	*ret_off = (uint32_t)off;
	return 0;
}

/* ---- one unit ------------------------------------------------------------------------------- */

static const char *function_name(Dwarf_Die *die)
{
	Dwarf_Attribute attr;
	const char *name = NULL;

	if (dwarf_attr_integrate(die, DW_AT_linkage_name, &attr) ||
	    dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &attr))
		name = dwarf_formstring(&attr);
	return name ? name : dwarf_diename(die);
}

static uint32_t unsigned_attr(Dwarf_Die *die, unsigned int name)
{
	Dwarf_Attribute attr;
	Dwarf_Word value;

	if (!dwarf_attr(die, name, &attr) || dwarf_formudata(&attr, &value) || value > UINT32_MAX)
		return 0;
	return (uint32_t)value;
}

/* The place of an inlined call. */
static int call_place(struct writer *writer, Dwarf_Die *call, uint32_t *ret_file,
		      uint32_t *ret_line)
{
	uint32_t index = unsigned_attr(call, DW_AT_call_file);
	const char *file = NULL;

	*ret_line = unsigned_attr(call, DW_AT_call_line);
	if (index < writer->file_cnt && dwarf_hasattr(call, DW_AT_call_file))
		file = dwarf_filesrc(writer->files, index, NULL, NULL);
	return add_text(writer, file, true, ret_file);
}

/*
 * Each inlined call tells where it was made; the place of the code itself belongs to the innermost.
 */
static int add_calls(struct writer *writer, uint32_t innermost, struct lines_record *record)
{
	struct lines_call call = {0};
	struct scope_call *scope;
	int err = 0;

	record->call_first = (uint32_t)writer->calls.cnt;
	for (uint32_t i = innermost; i != NO_CALL && !err; i = scope->outer) {
		scope = &writer->scopes.calls.items[i];
		call.file = record->file;
		call.line = record->line;
		err = add_text(writer, function_name(&scope->die), false, &call.function);
		if (!err)
			err = call_place(writer, &scope->die, &record->file, &record->line);
		if (!err)
			err = array_push(&writer->calls, call);
		record->call_cnt++;
	}
	return err;
}

static int add_line(struct writer *writer, uint64_t address, struct lines_record *record)
{
	Dwarf_Line *line = dwarf_getsrc_die(&writer->unit, address);
	int number;

	if (!line)
		return 0;
	if (!dwarf_lineno(line, &number) && number > 0)
		record->line = (uint32_t)number;
	return add_text(writer, dwarf_linesrc(line, NULL, NULL), true, &record->file);
}

static int add_record(struct writer *writer, uint32_t index)
{
	struct scope *scope = &writer->scopes.items[index];
	struct lines_record record = {.index = index};
	int err;

	err = add_line(writer, writer->input->addresses[index], &record);
	if (!err && scope->found) {
		record.start = scope->start;
		err = add_text(writer, function_name(&scope->function), false, &record.function);
		if (!err)
			err = add_calls(writer, scope->innermost, &record);
	}
	if (err || (!record.file && !record.function))
		return err;
	scope->found = true;
	return array_push(&writer->records, record);
}

static int write_chunk(struct writer *writer)
{
	struct lines_head head = {.magic = LINES_MAGIC};
	static const char zeros[8];
	int err;

	err = append(writer, zeros, 8 - writer->text.cnt % 8);
	if (err)
		return err;
	head.record_cnt = (uint32_t)writer->records.cnt;
	head.call_cnt = (uint32_t)writer->calls.cnt;
	head.text_size = (uint32_t)writer->text.cnt;
	err = write_all(writer->output_fd, &head, sizeof(head));
	if (!err)
		err = write_all(writer->output_fd, writer->records.items,
				writer->records.cnt * sizeof(struct lines_record));
	if (!err)
		err = write_all(writer->output_fd, writer->calls.items,
				writer->calls.cnt * sizeof(struct lines_call));
	if (!err)
		err = write_all(writer->output_fd, writer->text.items, writer->text.cnt);
	return err;
}

static const char *comp_dir(Dwarf_Die *unit)
{
	Dwarf_Attribute attr;

	return dwarf_formstring(dwarf_attr(unit, DW_AT_comp_dir, &attr));
}

static int answer_unit(struct writer *writer)
{
	int err;

	writer->scopes.calls.cnt = writer->records.cnt = writer->calls.cnt = writer->text.cnt = 0;
	hashmap__clear(&writer->text_index);
	writer->comp_dir = comp_dir(&writer->unit);
	if (dwarf_getsrcfiles(&writer->unit, &writer->files, &writer->file_cnt))
		writer->file_cnt = 0;
	err = append(writer, "", 1);
	if (!err)
		err = scopes__find(&writer->scopes, &writer->unit);
	for (uint32_t i = 0; i < writer->input->cnt && !err; i++) {
		if (!writer->scopes.items[i].wanted)
			continue;
		err = add_record(writer, i);
		writer->scopes.items[i].wanted = false;
	}
	if (!err && writer->records.cnt)
		err = write_chunk(writer);
	return err;
}

/* ---- the file ------------------------------------------------------------------------------- */

/* The lowest code address: functions that the linker dropped keep addresses near 0. */
static uint64_t first_code(Elf *elf)
{
	uint64_t first = UINT64_MAX;
	Elf_Scn *section = NULL;
	GElf_Shdr shdr;

	while ((section = elf_nextscn(elf, section)))
		if (gelf_getshdr(section, &shdr) && (shdr.sh_flags & SHF_EXECINSTR) &&
		    shdr.sh_size && shdr.sh_addr < first)
			first = shdr.sh_addr;
	return first == UINT64_MAX ? 0 : first;
}

/* The other file counts only if it is the one that was meant. */
static Dwarf *open_alt(const struct lines_input *input, Dwarf *dwarf)
{
	const void *wanted, *build_id;
	const char *name;
	ssize_t len;
	Dwarf *alt;

	if (input->alt_fd < 0)
		return NULL;
	len = dwelf_dwarf_gnu_debugaltlink(dwarf, &name, &wanted);
	alt = len > 0 ? dwarf_begin(input->alt_fd, DWARF_C_READ) : NULL;
	if (!alt)
		return NULL;
	if (dwelf_elf_gnu_build_id(dwarf_getelf(alt), &build_id) == len &&
	    !memcmp(build_id, wanted, (size_t)len)) {
		dwarf_setalt(dwarf, alt);
		return alt;
	}
	dwarf_end(alt);
	return NULL;
}

static int answer_units(struct writer *writer)
{
	size_t left = writer->input->cnt;
	uint8_t unit_type;
	Dwarf_CU *cu = NULL;
	int err = 0;

	while (left && !err &&
	       !dwarf_get_units(writer->dwarf, cu, &cu, NULL, &unit_type, &writer->unit, NULL)) {
		if ((unit_type != DW_UT_compile && unit_type != DW_UT_skeleton) ||
		    !scopes__want(&writer->scopes, &writer->unit))
			continue;
		err = answer_unit(writer);
		left -= writer->records.cnt;
	}
	return err;
}

int dwarf_lines__write(void *arg, int output_fd)
{
	struct writer writer = {.input = arg, .output_fd = output_fd};
	const struct rlimit no_files = {0};
	Dwarf *alt = NULL;
	int err = -ENOMEM;

	/* libdw opens what the file names: a FIFO, say. */
	if (setrlimit(RLIMIT_NOFILE, &no_files))
		return -errno;
	writer.dwarf = dwarf_begin(writer.input->fd, DWARF_C_READ);
	if (!writer.dwarf)
		return -EBADMSG;
	alt = open_alt(writer.input, writer.dwarf);
	writer.scopes.addresses = writer.input->addresses;
	writer.scopes.cnt = writer.input->cnt;
	writer.scopes.min_address = first_code(dwarf_getelf(writer.dwarf));
	writer.scopes.items = calloc(writer.input->cnt + 1, sizeof(*writer.scopes.items));
	if (writer.scopes.items)
		err = answer_units(&writer);
	free(writer.scopes.items);
	array_free(&writer.scopes.calls);
	array_free(&writer.records);
	array_free(&writer.calls);
	array_free(&writer.text);
	hashmap__free(&writer.text_index);
	dwarf_end(writer.dwarf);
	dwarf_end(alt);
	return err;
}
