/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discover/container_state_json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/regular_file.h"

/*
 * What a file may ask of memory: json-c takes about a kilobyte for an object or an array and less
 * than 100 bytes for any other value, so "[[],[],..." could make a hundred times its size of it.
 */
#define MAX_JSON_WEIGHT (1U << 20)
#define CONTAINER_WEIGHT 8

static int open_state(const char *path, struct stat *ret_st)
{
	int path_fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC), err;

	if (path_fd < 0)
		return -errno;
	err = regular_file__stat(path_fd, ret_st);
	if (!err)
		err = regular_file__reopen(path_fd);
	close(path_fd);
	return err;
}

/* Reads up to `size` bytes: a file that shrinks meanwhile is shorter, one that grows is cut off. */
static int read_state(int fd, char *buf, size_t size, size_t *ret_len)
{
	size_t len = 0;

	while (len < size) {
		ssize_t got = read(fd, buf + len, size - len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		len += (size_t)got;
	}
	*ret_len = len;
	return 0;
}

int state_json__load(char *path, struct json_object **ret)
{
	struct stat st;
	char *text = NULL;
	size_t len = 0;
	int fd, err;

	if (!path)
		return -ENOMEM;
	fd = open_state(path, &st);
	free(path);
	if (fd < 0)
		return fd;
	err = st.st_size > MAX_STATE_BYTES ? -EFBIG : 0;
	if (!err) {
		text = malloc((size_t)st.st_size + 1);
		err = text ? read_state(fd, text, (size_t)st.st_size, &len) : -ENOMEM;
	}
	if (!err)
		err = state_json__parse(text, len, ret);
	free(text);
	close(fd);
	return err;
}

static bool is_too_heavy(const char *text, size_t len)
{
	size_t weight = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '{' || text[i] == '[')
			weight += CONTAINER_WEIGHT;
		else if (text[i] == ',')
			weight++;
	}
	return weight > MAX_JSON_WEIGHT;
}

int state_json__parse(const char *text, size_t len, struct json_object **ret)
{
	struct json_tokener *tokener;
	struct json_object *object;
	int err = 0;

	if (len > MAX_STATE_BYTES)
		return -EFBIG;
	if (is_too_heavy(text, len))
		return -EBADMSG;
	tokener = json_tokener_new();
	if (!tokener)
		return -ENOMEM;
	json_tokener_set_flags(tokener, JSON_TOKENER_VALIDATE_UTF8);
	object = json_tokener_parse_ex(tokener, text, (int)len);
	if (json_tokener_get_error(tokener) != json_tokener_success || !object) {
		json_object_put(object);
		err = -EBADMSG;
	} else {
		*ret = object;
	}
	json_tokener_free(tokener);
	return err;
}

struct json_object *state_json__member(struct json_object *object, const char *key)
{
	struct json_object *value = NULL;

	return json_object_object_get_ex(object, key, &value) ? value : NULL;
}

const char *state_json__text(struct json_object *value)
{
	const char *text;
	size_t len;

	if (!json_object_is_type(value, json_type_string))
		return NULL;
	text = json_object_get_string(value);
	len = (size_t)json_object_get_string_len(value);
	if (!len || len > MAX_STATE_TEXT)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			return NULL;
	}
	return text;
}
