/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tp_name of a static type has its module in it; a class has its own name only there, and the
 * module in its dict, as repr() shows it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "include/python.h"
#include "python/code_object.h"
#include "python/dict_keys.h"
#include "python/type_info.h"
#include "util/format.h"
#include "util/remote.h"

#define MAX_NAME 1024
#define NAME_STEP 64
#define MAX_ENTRIES 65536 /* of a class's dict that are looked at */
#define MODULE_KEY "__module__"

/* PyASCIIObject.state: interned is in the low bits, then kind, compact, ascii. */
#define STATE_SHIFT 2
#define STATE_KIND(state) ((state) >> STATE_SHIFT & 7)
#define STATE_COMPACT(state) ((state) >> (STATE_SHIFT + 3) & 1)
#define STATE_ASCII(state) ((state) >> (STATE_SHIFT + 4) & 1)

static uint64_t word64(const uint8_t *data, size_t off)
{
	uint64_t value;

	memcpy(&value, data + off, sizeof(value));
	return value;
}

char *python_str__read(const struct python_process *process, uint64_t addr)
{
	const struct python_layout *layout = &process->layout;
	struct python_text text = {0};
	uint8_t head[OBJECT_PEEK];
	uint32_t state;
	uint64_t len;

	if (layout->unicode_state > OBJECT_PEEK - sizeof(state) ||
	    remote_read(process->pid, addr, head, sizeof(head)))
		return NULL;
	memcpy(&state, head + layout->unicode_state, sizeof(state));
	text.width = STATE_KIND(state);
	text.is_ascii = STATE_ASCII(state);
	len = word64(head, 16);
	if (!STATE_COMPACT(state) || len > MAX_NAME ||
	    (text.width != 1 && text.width != 2 && text.width != 4))
		return NULL;
	text.chars = (uint32_t)len;
	len *= text.width;
	text.len = (uint16_t)(len < sizeof(text.bytes) ? len : sizeof(text.bytes));
	if (remote_read(process->pid,
			addr + (text.is_ascii ? layout->ascii_size : layout->unicode_size),
			text.bytes, text.len))
		return NULL;
	return python_text__decode(&text);
}

/* Returns an owned copy of the text at `addr`, or NULL. */
static char *read_text(pid_t pid, uint64_t addr)
{
	char *text = malloc(MAX_NAME + 1);
	size_t len = 0, step;

	/* Never over the end of a page: what is behind it may not be there. */
	while (text && len < MAX_NAME) {
		step = NAME_STEP - (addr + len) % NAME_STEP;
		if (step > MAX_NAME - len)
			step = MAX_NAME - len;
		if (remote_read(pid, addr + len, text + len, step))
			break;
		if (memchr(text + len, 0, step)) {
			if (text[0])
				return text;
			break;
		}
		len += step;
	}
	free(text);
	return NULL;
}

/* Whether the str at `addr` is MODULE_KEY; it is remembered: it is interned. */
static bool is_module_key(const struct python_process *process, uint64_t addr, uint64_t *key)
{
	char *text;
	bool is_key;

	if (addr == *key || *key)
		return addr == *key;
	text = python_str__read(process, addr);
	is_key = text && !strcmp(text, MODULE_KEY);
	free(text);
	if (is_key)
		*key = addr;
	return is_key;
}

/* Returns the owned __module__ of a class by its dict, or NULL. */
static char *read_module(const struct python_process *process, uint64_t dict, uint64_t *key)
{
	const struct python_layout *layout = &process->layout;
	uint8_t header[DICT_KEYS_HEADER], *entries;
	uint64_t at, cnt, value = 0;
	struct dict_keys keys;

	if (remote_read(process->pid, dict + layout->dict_keys, &at, sizeof(at)) ||
	    remote_read(process->pid, at, header, sizeof(header)) ||
	    !dict_keys__decode(layout->version, header, &keys))
		return NULL;
	cnt = keys.entry_cnt < MAX_ENTRIES ? keys.entry_cnt : MAX_ENTRIES;
	entries = malloc(cnt * keys.entry_bytes + 1);
	if (entries &&
	    !remote_read(process->pid, at + keys.entries_off, entries, cnt * keys.entry_bytes))
		for (uint64_t i = 0; i < cnt && !value; i++) {
			const uint8_t *entry = entries + i * keys.entry_bytes;

			if (is_module_key(process, word64(entry, keys.key_off), key))
				value = word64(entry, keys.value_off);
		}
	free(entries);
	return value ? python_str__read(process, value) : NULL;
}

/* PyHeapTypeObject: ht_qualname, ht_cached_keys, ht_module (3.9), which is the last one in 3.8. */
static uint64_t qualname_off(const struct python_layout *layout, uint64_t heap_size)
{
	return (layout->type_module ? layout->type_module : heap_size) - 16;
}

char *python_type__read_name(const struct python_process *process, uint64_t addr, uint64_t name_at,
			     uint64_t dict, bool is_heap, uint64_t heap_size, uint64_t *module_key)
{
	char *name = read_text(process->pid, name_at), *module, *qualname = NULL, *full = NULL;
	uint64_t at;

	if (!name)
		return NULL;
	if (!is_heap) {
		if (!strncmp(name, "builtins.", strlen("builtins.")))
			memmove(name, name + strlen("builtins."),
				strlen(name) - strlen("builtins.") + 1);
		return name;
	}
	module = read_module(process, dict, module_key);
	if (module && !remote_read(process->pid, addr + qualname_off(&process->layout, heap_size),
				   &at, sizeof(at)))
		qualname = python_str__read(process, at);
	if (module && qualname)
		full = strcmp(module, "builtins") ? format_text("%s.%s", module, qualname)
						  : strdup(qualname);
	free(module);
	free(qualname);
	if (!full)
		return name;
	free(name);
	return full;
}
