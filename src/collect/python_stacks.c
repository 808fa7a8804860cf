/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "collect/python_stacks.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/hashmap.h"

struct python_stacks {
	int map_fd;
	struct hashmap by_id; /* {id, 0} -> struct cached_python_stack */
	struct python_stack scratch;
	uint64_t frame_cnt, max_frames;
	bool is_full;
};

struct python_stacks *python_stacks__new(int map_fd, uint64_t max_frames)
{
	struct python_stacks *stacks = calloc(1, sizeof(*stacks));

	if (stacks) {
		stacks->map_fd = map_fd;
		stacks->max_frames = max_frames;
	}
	return stacks;
}

void python_stacks__free(struct python_stacks *stacks)
{
	if (!stacks)
		return;
	for (size_t i = 0; i < stacks->by_id.cap; i++)
		if (stacks->by_id.slots[i].used)
			free((void *)(uintptr_t)stacks->by_id.slots[i].value);
	hashmap__free(&stacks->by_id);
	free(stacks);
}

bool python_stacks__is_full(const struct python_stacks *stacks)
{
	return stacks->is_full;
}

static int read_stack(struct python_stacks *stacks, uint64_t id, struct cached_python_stack **ret)
{
	const struct python_stack *read = &stacks->scratch;
	struct cached_python_stack *stack;
	size_t cnt;
	int err;

	if (stacks->map_fd < 0)
		return -ENOENT;
	err = bpf_map_lookup_elem(stacks->map_fd, &id, &stacks->scratch);
	if (err)
		return err;
	cnt = read->frame_cnt < MAX_PYTHON_FRAMES ? read->frame_cnt : MAX_PYTHON_FRAMES;
	if (cnt > stacks->max_frames - stacks->frame_cnt) {
		stacks->is_full = true;
		return -ENOENT;
	}
	stack = malloc(sizeof(*stack) + cnt * sizeof(stack->frame[0]));
	if (!stack)
		return -ENOMEM;
	stack->frame_cnt = cnt;
	stack->end = read->end;
	memcpy(stack->frame, read->frame, cnt * sizeof(stack->frame[0]));
	*ret = stack;
	return 0;
}

int python_stacks__find(struct python_stacks *stacks, uint64_t id,
			const struct cached_python_stack **ret)
{
	uint64_t *slot = hashmap__find(&stacks->by_id, id, 0);
	struct cached_python_stack *stack;
	int err;

	if (!slot) {
		err = read_stack(stacks, id, &stack);
		if (err)
			return err;
		slot = hashmap__insert(&stacks->by_id, id, 0, NULL);
		if (!slot) {
			free(stack);
			return -ENOMEM;
		}
		*slot = (uintptr_t)stack;
		stacks->frame_cnt += stack->frame_cnt;
	}
	*ret = (const struct cached_python_stack *)(uintptr_t)*slot;
	return 0;
}
