/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A profile line by line of the source files that a name asks for: what each line allocated itself,
 * and what passed through it.
 */
#ifndef LEAKSWEEP_MODEL_ANNOTATION_H
#define LEAKSWEEP_MODEL_ANNOTATION_H

#include "model/profile.h"

/*
 * Whether `wanted` names a source file: it is the whole path or an end of it from a '/' on
 * ("cache.py", "app/cache.py"). A relative path, as scripts are started with, may be the end of
 * `wanted` just so.
 */
bool source_path__matches(const char *path, const char *wanted);

/* A wanted file and a process with stacks that go through it. */
struct source_user {
	const char *path; /* borrowed from the symbols */
	uint32_t proc;	  /* index */
	bool native;	  /* machine code is made of it */
};

struct source_users {
	ARRAY(struct source_user) users; /* equal pairs once, in the order of the rows */
};

/* Lists the wanted files of a snapshot. Returns 0 or -ENOMEM; to be freed in both cases. */
int source_users__read(struct source_users *ret, const struct snapshot *snap,
		       const struct symbol *symbols, const char *wanted);
void source_users__free(struct source_users *users);

struct annotated_line {
	uint32_t file;	     /* index */
	uint32_t line;	     /* 0 = not known */
	struct cost self;    /* of stacks whose first shown call is here */
	struct cost through; /* of stacks with a call here, each once */
	int64_t delta_bytes; /* of the live bytes of `self`, against the previous profile */
	size_t last_row;     /* private: of `through` */
};

struct annotated_file {
	const char *path;	/* borrowed from the symbols */
	uint32_t source;	/* index in the snapshot's sources, SNAP_NONE = none */
	bool is_python;		/* its lines are Python's */
	size_t first, line_cnt; /* in `lines` */
	struct cost self, through;
	size_t last_row; /* private: of `through` */
};

struct annotation {
	ARRAY(struct annotated_file) files; /* what holds most first */
	ARRAY(struct annotated_line) lines; /* of the files in their order, by number */
};

/*
 * Adds up the wanted files. `profile` may be grouped in any way. Returns 0 or -ENOMEM; to be freed
 * in both cases.
 */
int annotation__read(struct annotation *ret, const struct profile *profile, const char *wanted);
void annotation__free(struct annotation *annotation);

/*
 * Returns the profile's rows by stacks, with their differences: itself, its `stacks`, or a new one
 * that the caller frees (*ret_owned, else NULL). NULL = no memory.
 */
const struct profile *profile__by_stack(const struct profile *profile, struct profile **ret_owned);

#endif
