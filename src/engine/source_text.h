/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text of the source files that somebody wants to see a profile of, while the processes that
 * use them live. */
#ifndef LEAKSWEEP_ENGINE_SOURCE_TEXT_H
#define LEAKSWEEP_ENGINE_SOURCE_TEXT_H

#include "model/snapshot.h"
#include "model/symbol.h"

/*
 * Adds the wanted files (source_path__matches) of a snapshot's stacks to it, each once: as a
 * process sees it that uses it; from the tool's own file system when it is the source of machine
 * code, or no such process lives; or as `previous`, which may be NULL, has it. One that cannot be
 * read is added without text. Returns 0 or -ENOMEM.
 */
int source_text__add(struct snapshot *snap, const struct symbol *symbols, const char *wanted,
		     const struct snapshot *previous);

#endif
