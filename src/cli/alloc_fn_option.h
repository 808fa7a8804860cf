/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Functions that the user names: --alloc-fn NAME:size=N[,count=N][,old=N][,out=N] and --free-fn
 * NAME[:old=N]. */
#ifndef LEAKSWEEP_CLI_ALLOC_FN_OPTION_H
#define LEAKSWEEP_CLI_ALLOC_FN_OPTION_H

#include "discover/elf_allocs.h"
#include "util/array.h"

struct user_alloc_fns {
	ARRAY(struct user_alloc_fn) fns; /* names are owned */
};

/* Add one function. Return 0, -ENOMEM, or -EINVAL with an owned sentence in *ret_message. */
int user_alloc_fns__add_alloc(struct user_alloc_fns *fns, const char *text, char **ret_message);
int user_alloc_fns__add_free(struct user_alloc_fns *fns, const char *text, char **ret_message);
void user_alloc_fns__free(struct user_alloc_fns *fns);

#endif
