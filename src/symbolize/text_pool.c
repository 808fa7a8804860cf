// SPDX-License-Identifier: GPL-2.0-or-later
#include "symbolize/text_pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "symbolize/demangle.h"

void text_pool__free(struct text_pool *pool)
{
	for (size_t i = 0; i < pool->texts.cnt; i++) {
		free(pool->texts.items[i].raw);
		free(pool->texts.items[i].shown);
	}
	array_free(&pool->texts);
	hashmap__free(&pool->index);
}

/* FNV-1a, 64 bits. */
static uint64_t hash(const char *text)
{
	uint64_t value = 0xcbf29ce484222325U;

	for (; *text; text++)
		value = (value ^ (unsigned char)*text) * 0x100000001b3U;
	return value;
}

int text_pool__add(struct text_pool *pool, const char *text, uint32_t *ret_id)
{
	struct pooled_text pooled = {.next = NO_TEXT};
	uint64_t *slot;
	bool is_new;

	slot = hashmap__insert(&pool->index, hash(text), 0, &is_new);
	if (!slot)
		return -ENOMEM;
	if (is_new)
		*slot = NO_TEXT;
	for (uint32_t i = (uint32_t)*slot; i != NO_TEXT; i = pool->texts.items[i].next) {
		if (!strcmp(pool->texts.items[i].raw, text)) {
			*ret_id = i;
			return 0;
		}
	}
	pooled.next = (uint32_t)*slot;
	pooled.raw = strdup(text);
	if (!pooled.raw || pool->texts.cnt >= NO_TEXT || array_push(&pool->texts, pooled)) {
		free(pooled.raw);
		return -ENOMEM;
	}
	*slot = pool->texts.cnt - 1;
	*ret_id = (uint32_t)*slot;
	return 0;
}

/* Demangles the new ones as far as they are mangled. */
static int demangle_new(struct text_pool *pool)
{
	struct pooled_text *first = pool->texts.items + pool->shown_cnt;
	size_t cnt = pool->texts.cnt - pool->shown_cnt, mangled_cnt = 0;
	const char **names = calloc(cnt, sizeof(*names));
	char **texts = calloc(cnt, sizeof(*texts));
	int err = -ENOMEM;

	if (!names || !texts)
		goto cleanup;
	for (size_t i = 0; i < cnt; i++)
		if (is_mangled(first[i].raw))
			names[mangled_cnt++] = first[i].raw;
	err = mangled_cnt ? demangle_names(names, mangled_cnt, texts) : 0;
	if (err != -ENOMEM)
		err = 0;
	for (size_t i = 0, k = 0; i < cnt && !err && k < mangled_cnt; i++)
		if (first[i].raw == names[k])
			first[i].shown = texts[k++];
cleanup:
	free(names);
	free(texts);
	return err;
}

int text_pool__show(struct text_pool *pool, bool demangle)
{
	struct pooled_text *pooled;
	int err = 0;

	if (pool->shown_cnt == pool->texts.cnt)
		return 0;
	if (demangle)
		err = demangle_new(pool);
	if (err)
		return err;
	while (pool->shown_cnt < pool->texts.cnt) {
		pooled = &pool->texts.items[pool->shown_cnt];
		if (!pooled->shown)
			pooled->shown = strdup(pooled->raw);
		if (!pooled->shown)
			return -ENOMEM;
		clean_text(pooled->shown);
		pool->shown_cnt++;
	}
	return 0;
}

const char *text_pool__get(const struct text_pool *pool, uint32_t id)
{
	return id == NO_TEXT ? NULL : pool->texts.items[id].shown;
}
