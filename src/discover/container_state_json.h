/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON files of container runtimes, which hold much that strangers wrote. */
#ifndef LEAKSWEEP_DISCOVER_CONTAINER_STATE_JSON_H
#define LEAKSWEEP_DISCOVER_CONTAINER_STATE_JSON_H

#include <json-c/json.h>

#define MAX_STATE_BYTES (8U << 20)
#define MAX_STATE_TEXT 4096 /* bytes */

/*
 * Reads a file: a regular one of at most MAX_STATE_BYTES, not a symbolic link. Takes over `path`;
 * NULL is -ENOMEM. Returns 0, -EFBIG, -EBADMSG (no JSON, not UTF-8, more values than any runtime
 * writes), -ENOMEM or another negative errno. Release *ret with json_object_put.
 */
int state_json__load(char *path, struct json_object **ret);

/* The same for `len` bytes of text. */
int state_json__parse(const char *text, size_t len, struct json_object **ret);

/* Returns the member of an object, or NULL; so it does for whatever is no object. */
struct json_object *state_json__member(struct json_object *object, const char *key);

/*
 * Returns the text of a string that is fit to be shown: not empty, no control characters, at most
 * MAX_STATE_TEXT bytes. NULL for everything else. It lives as long as the value does.
 */
const char *state_json__text(struct json_object *value);

#endif
