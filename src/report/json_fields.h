/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON objects, field by field. Private to the JSON renderer. */
#ifndef LEAKSWEEP_REPORT_JSON_FIELDS_H
#define LEAKSWEEP_REPORT_JSON_FIELDS_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "model/profile.h"

/* An object being filled. The first failure sticks, so that callers need not look after each field.
 */
struct fields {
	struct json_object *object;
	int err;
};

void fields__new(struct fields *fields);

/* Adds an owned value. `name` must live as long as the object: all names here are literals. */
void add_value(struct fields *fields, const char *name, struct json_object *value);
void add_null(struct fields *fields, const char *name);
void add_int(struct fields *fields, const char *name, int64_t value);
void add_uint(struct fields *fields, const char *name, uint64_t value);
void add_bool(struct fields *fields, const char *name, bool value);

/* Three digits, the same in every locale. */
void add_float(struct fields *fields, const char *name, double value);

/* Text made valid UTF-8; NULL becomes "", or null for what may be unknown. */
void add_text(struct fields *fields, const char *name, const char *raw);
void add_known_text(struct fields *fields, const char *name, const char *raw);
struct json_object *new_text(const char *raw);

void add_cost(struct fields *fields, const struct cost *cost);
void add_totals(struct fields *fields, const char *name, const struct cost *cost);

/* Adds `inner` to `outer` and takes it over, finished or not. */
void add_fields(struct fields *outer, const char *name, struct fields *inner);

/* Adds "leaksweep": version and schema. */
void add_tool(struct fields *root);

/* Begins the document of a snapshot: "leaksweep", "mode", "started_at", "duration_ns", "interval".
 */
void fields__new_document(struct fields *root, const struct snapshot *snap);

/* Adds "host": on which machine the snapshot was taken. */
void add_host(struct fields *root, const struct snapshot *snap);

/* Adds "notes": sentences. */
void add_notes(struct fields *root, const struct snapshot *snap);

/* Append an owned value, or finished fields, to an array and take it over. Return 0 or -ENOMEM. */
int append_value(struct json_object *array, struct json_object *value);
int append_fields(struct json_object *array, struct fields *fields);

/* Writes an object and frees it; without its last brace when more fields are to follow. Returns 0
 * or -ENOMEM. */
int put_fields(struct fields *fields, bool close, FILE *out);

/* ---- the parts of the report that list stacks (json_stacks.c) ---- */

/* The JSON text of every call that was needed so far, without its last brace. */
struct call_texts {
	struct call_text {
		char *text;
		size_t len;
	} * items;
	size_t cnt;
	size_t *begins; /* per frame: its innermost call */
};

/* Returns 0 or -ENOMEM; to be freed in both cases. */
int call_texts__init(struct call_texts *texts, const struct profile *profile);
void call_texts__free(struct call_texts *texts);

/*
 * Writes as "frames" all calls of a stack, behind other members, and closes their object. Those
 * that other reports leave out are marked. Returns 0 or -ENOMEM.
 */
int json_put_calls(const struct profile *profile, uint32_t stack, struct call_texts *texts,
		   FILE *out);

/* Write the list of stacks; groups before it when the profile is grouped otherwise. Return 0 or
 * -ENOMEM. */
int json_put_stacks(const struct profile *profile, FILE *out);
int json_put_groups_and_stacks(const struct profile *profile, FILE *out);

#endif
