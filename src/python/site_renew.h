/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finds where objects are taken from the interpreter's own lists of freed ones (lists, tuples,
 * floats, contexts ...; "free lists" in CPython's sources), which no allocator sees. All of them
 * pass _Py_NewReference, which is called or, in optimised builds and everywhere in 3.8, inlined:
 * then what is left of it is a call of _PyTraceMalloc_NewReference that is made when tracemalloc
 * traces; since 3.13, of _PyRuntime.ref_tracer.tracer_func when it is set. Of these places, those
 * count whose object was loaded from memory that is changed on the way: the list's head, or its
 * length.
 *
 * Frames are left out: before 3.11 each call of a Python function takes one (frame_alloc in
 * Objects/frameobject.c), and a probe there, with its stack, adds 12 us to a call (3.10, measured
 * on 6.18). They are few: those that run, 200 in the list and one with each code object.
 */
#ifndef LEAKSWEEP_PYTHON_SITE_RENEW_H
#define LEAKSWEEP_PYTHON_SITE_RENEW_H

#include <stdint.h>

#include "python/site_place.h"
#include "python/site_window.h"
#include "util/array.h"
#include "util/elf_image.h"

struct renew_site {
	const struct code_area *area; /* borrowed from the code */
	struct site_place place;
};

struct renew_sites {
	ARRAY(struct renew_site) list; /* in no order, the same place many times */
};

/*
 * Adds those of all areas to *sites. Returns 0 (also when the file has no _Py_NewReference, or one
 * that is not understood) or -ENOMEM.
 */
int site_renew__find(const struct elf_image *image, const struct site_code *code,
		     struct site_window *window, struct renew_sites *sites);

#endif
