/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unwind/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unwind/table_file.h"
#include "util/cache_dir.h"
#include "util/new_file.h"

struct table_cache {
	int dir_fd;
	uint8_t fingerprint_key[SIPHASH_BYTES], file_key[SIPHASH_BYTES];
	uint64_t max_bytes;
	uint64_t bytes; /* as far as we know: others add and remove too */
};

int table_cache__open(const char *dir, uint64_t max_bytes, struct table_cache **ret)
{
	struct table_cache *cache;
	uint8_t key[SIPHASH_BYTES];
	int err;

	cache = calloc(1, sizeof(*cache));
	if (!cache)
		return -ENOMEM;
	cache->max_bytes = max_bytes;
	cache->dir_fd = cache_dir__open(dir);
	if (cache->dir_fd < 0) {
		err = cache->dir_fd;
		goto cleanup;
	}
	err = cache_dir__key(cache->dir_fd, key);
	if (!err)
		err = cache_dir__trim(cache->dir_fd, max_bytes, &cache->bytes);
	if (err)
		goto cleanup;
	/* Two keys: fingerprints are in file names, for all to see who may list the directory. */
	cache_dir__derive_key(key, "fingerprint", cache->fingerprint_key);
	cache_dir__derive_key(key, "file", cache->file_key);
	*ret = cache;
	return 0;
cleanup:
	table_cache__free(cache);
	return err;
}

void table_cache__free(struct table_cache *cache)
{
	if (!cache)
		return;
	if (cache->dir_fd >= 0)
		close(cache->dir_fd);
	free(cache);
}

const uint8_t *table_cache__fingerprint_key(const struct table_cache *cache)
{
	return cache->fingerprint_key;
}

static char *append_hex(char *to, const uint8_t *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		*to++ = digits[bytes[i] >> 4];
		*to++ = digits[bytes[i] & 15];
	}
	return to;
}

/* What a build-id of 64 bytes does not say, no person will read. */
static char *file_name(const struct table_key *key)
{
	size_t id_len = key->build_id_len < 64 ? key->build_id_len : 64;
	char *name = malloc(2 * id_len + 2 * SIPHASH_BYTES + sizeof("none-" CACHE_SUFFIX)), *end;

	if (!name)
		return NULL;
	end = id_len ? append_hex(name, key->build_id, id_len) : stpcpy(name, "none");
	*end++ = '-';
	end = append_hex(end, key->fingerprint, SIPHASH_BYTES);
	strcpy(end, CACHE_SUFFIX);
	return name;
}

int table_cache__get(struct table_cache *cache, const struct table_key *key,
		     struct unwind_table *ret)
{
	char *name = file_name(key);
	int fd, err;

	if (!name)
		return -ENOMEM;
	fd = openat(cache->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	err = fd < 0 ? -errno : table_file__read(fd, cache->file_key, key->fingerprint, ret);
	if (err == -ELOOP || err == -ENXIO || err == -EISDIR)
		err = -EBADMSG;
	if (!err)
		futimens(fd, NULL); /* a file that cannot be touched only goes earlier */
	else if (err == -EBADMSG)
		unlinkat(cache->dir_fd, name, 0);
	if (fd >= 0)
		close(fd);
	free(name);
	return err;
}

static int write_file(struct table_cache *cache, const struct table_key *key, const char *name,
		      const struct unwind_table *table)
{
	struct new_file file;
	int err;

	err = new_file__create(cache->dir_fd, &file);
	if (err)
		return err;
	err = table_file__write(file.fd, cache->file_key, key->fingerprint, table);
	if (!err)
		err = new_file__publish(&file, name);
	new_file__close(&file);
	return err;
}

int table_cache__put(struct table_cache *cache, const struct table_key *key,
		     const struct unwind_table *table)
{
	uint64_t cost = cache_dir__cost(table_file__size(table));
	char *name;
	int err;

	if (cost > cache->max_bytes - cache->max_bytes / 8)
		return -EFBIG;
	name = file_name(key);
	if (!name)
		return -ENOMEM;
	err = write_file(cache, key, name, table);
	free(name);
	if (err)
		return err == -EEXIST ? 0 : err;
	cache->bytes += cost;
	if (cache->bytes > cache->max_bytes)
		cache_dir__trim(cache->dir_fd, cache->max_bytes, &cache->bytes);
	return 0;
}
