// SPDX-License-Identifier: GPL-2.0-or-later
#include "symbolize/kernel_symbols.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "symbolize/find_start.h"
#include "util/array.h"
#include "util/procfs_read.h"

/* The last function of an area ends somewhere: what is further away is none of it. */
#define MAX_FUNCTION_SIZE (1U << 20)
#define NO_NAME UINT32_MAX /* data: ends the function before it */

struct kernel_symbol {
	uint64_t start;
	uint32_t name;	/* offset in `text`, or NO_NAME */
	uint32_t order; /* in the file: the first of several names is the usual one */
};

struct kernel_symbols {
	char *text; /* the file, names cut out */
	ARRAY(struct kernel_symbol) list;
};

static bool is_code(char type)
{
	return type == 't' || type == 'T' || type == 'w' || type == 'W';
}

/* `line` ends with a zero byte. Returns 0, -EINVAL (none of the format) or -ENOMEM. */
static int add_line(struct kernel_symbols *symbols, char *line, bool *ret_visible)
{
	struct kernel_symbol symbol = {.order = (uint32_t)symbols->list.cnt};
	char *pos, *name;
	char type;

	errno = 0;
	symbol.start = strtoull(line, &pos, 16);
	if (errno || pos == line || pos[0] != ' ' || !pos[1] || pos[2] != ' ' || !pos[3])
		return -EINVAL;
	type = pos[1];
	name = pos + 3;
	name[strcspn(name, " \t")] = '\0';
	/* Per-CPU variables and constants of assembler code are no places. */
	if (type == 'a' || type == 'A')
		return 0;
	*ret_visible |= symbol.start != 0;
	symbol.name = is_code(type) ? (uint32_t)(name - symbols->text) : NO_NAME;
	return array_push(&symbols->list, symbol);
}

static int compare(const void *a, const void *b)
{
	const struct kernel_symbol *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	if ((x->name == NO_NAME) != (y->name == NO_NAME))
		return x->name == NO_NAME ? 1 : -1;
	return x->order < y->order ? -1 : x->order > y->order;
}

/* Keeps one symbol for each address, functions first, and one for each stretch of data. */
static void unify(struct kernel_symbols *symbols)
{
	struct kernel_symbol *list = symbols->list.items;
	size_t cnt = 0;

	qsort(list, symbols->list.cnt, sizeof(*list), compare);
	for (size_t i = 0; i < symbols->list.cnt; i++)
		if (!cnt || (list[i].start != list[cnt - 1].start &&
			     (list[i].name != NO_NAME || list[cnt - 1].name != NO_NAME)))
			list[cnt++] = list[i];
	symbols->list.cnt = cnt;
}

static int parse(struct kernel_symbols *symbols, size_t len)
{
	char *line = symbols->text, *end;
	bool visible = false;
	int err;

	while (line < symbols->text + len) {
		end = line + strcspn(line, "\n");
		*end = '\0';
		err = add_line(symbols, line, &visible);
		if (err == -ENOMEM)
			return err;
		line = end + 1;
	}
	if (!visible)
		return -EACCES;
	unify(symbols);
	return 0;
}

int kernel_symbols__read(const char *path, struct kernel_symbols **ret_symbols)
{
	struct kernel_symbols *symbols = calloc(1, sizeof(*symbols));
	size_t len;
	int err;

	if (!symbols)
		return -ENOMEM;
	err = procfs_read_path(path, &symbols->text, &len);
	if (!err)
		err = len < NO_NAME ? parse(symbols, len) : -EFBIG;
	if (err)
		kernel_symbols__free(symbols);
	else
		*ret_symbols = symbols;
	return err;
}

void kernel_symbols__free(struct kernel_symbols *symbols)
{
	if (!symbols)
		return;
	free(symbols->text);
	array_free(&symbols->list);
	free(symbols);
}

bool kernel_symbols__find(const struct kernel_symbols *symbols, uint64_t address,
			  const char **ret_name, uint64_t *ret_start)
{
	const struct kernel_symbol *symbol = array_find_start(&symbols->list, address);

	if (!symbol || symbol->name == NO_NAME || address - symbol->start >= MAX_FUNCTION_SIZE)
		return false;
	*ret_name = symbols->text + symbol->name;
	*ret_start = symbol->start;
	return true;
}
