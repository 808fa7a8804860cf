/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/alloc_fn_option.h"

#include <errno.h>
#include <string.h>

#include "util/message.h"

#define MAX_ARG 5 /* bpf/arch.bpf.h reads as many */

enum { ARG_SIZE, ARG_COUNT, ARG_OLD, ARG_OUT, ARG_MAX };

static const char *const arg_names[ARG_MAX] = {"size", "count", "old", "out"};

/* Parses "size=1,count=2" into argument numbers, 0 for what is not there. */
static int parse_args(const char *text, unsigned int args[static ARG_MAX])
{
	for (;;) {
		size_t len = strcspn(text, "="), which;

		for (which = 0; which < ARG_MAX; which++)
			if (strlen(arg_names[which]) == len &&
			    !strncmp(arg_names[which], text, len))
				break;
		if (which == ARG_MAX || args[which] || text[len] != '=' || text[len + 1] < '1' ||
		    text[len + 1] > '0' + MAX_ARG)
			return -EINVAL;
		args[which] = text[len + 1] - '0';
		text += len + 2;
		if (!*text)
			return 0;
		if (*text++ != ',')
			return -EINVAL;
	}
}

static int add(struct user_alloc_fns *fns, const char *text, size_t name_len, uint64_t cookie)
{
	struct user_alloc_fn fn = {.name = strndup(text, name_len), .cookie = cookie};

	if (!fn.name || array_push(&fns->fns, fn)) {
		free((char *)fn.name);
		return -ENOMEM;
	}
	return 0;
}

int user_alloc_fns__add_alloc(struct user_alloc_fns *fns, const char *text, char **ret_message)
{
	size_t name_len = strcspn(text, ":");
	unsigned int args[ARG_MAX] = {0};
	enum alloc_op op;

	if (!name_len || !text[name_len] || parse_args(text + name_len + 1, args) ||
	    !args[ARG_SIZE])
		return fail(ret_message, -EINVAL,
			    "--alloc-fn: '%s' is not NAME:size=N with N the number of the size "
			    "argument, 1 to 5 (also count=N, old=N, out=N)",
			    text);
	op = args[ARG_OLD] ? ALLOC_OP_REALLOC : ALLOC_OP_ALLOC;
	return add(fns, text, name_len,
		   ALLOC_FN(op, args[ARG_SIZE], args[ARG_COUNT], args[ARG_OLD], args[ARG_OUT]));
}

int user_alloc_fns__add_free(struct user_alloc_fns *fns, const char *text, char **ret_message)
{
	size_t name_len = strcspn(text, ":");
	unsigned int args[ARG_MAX] = {0};

	if (!name_len || (text[name_len] && parse_args(text + name_len + 1, args)) ||
	    args[ARG_SIZE] || args[ARG_COUNT] || args[ARG_OUT])
		return fail(ret_message, -EINVAL,
			    "--free-fn: '%s' is not NAME or NAME:old=N with N the number of the "
			    "pointer argument, 1 to 5",
			    text);
	return add(fns, text, name_len,
		   ALLOC_FN(ALLOC_OP_FREE, 0, 0, args[ARG_OLD] ? args[ARG_OLD] : 1, 0));
}

void user_alloc_fns__free(struct user_alloc_fns *fns)
{
	for (size_t i = 0; i < fns->fns.cnt; i++)
		free((char *)fns->fns.items[i].name);
	array_free(&fns->fns);
}
