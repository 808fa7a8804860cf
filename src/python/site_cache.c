/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/site_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "python/site_file.h"
#include "util/cache_dir.h"
#include "util/new_file.h"

#define MAX_HASHED (1ULL << 30) /* bytes; of larger files nothing is kept */
#define CHUNK (1U << 16)	/* bytes that are read and hashed at once */

struct file_name {
	char text[2 * SIPHASH_BYTES + sizeof(SITES_SUFFIX)];
};

int site_cache__open(const char *dir, struct site_cache *ret)
{
	struct site_cache cache;
	uint8_t key[SIPHASH_BYTES];
	int err;

	cache.dir_fd = cache_dir__open(dir);
	if (cache.dir_fd < 0)
		return cache.dir_fd;
	err = cache_dir__key(cache.dir_fd, key);
	if (err) {
		close(cache.dir_fd);
		return err;
	}
	cache_dir__derive_key(key, "sites fingerprint", cache.fingerprint_key);
	cache_dir__derive_key(key, "sites file", cache.file_key);
	*ret = cache;
	return 0;
}

void site_cache__close(struct site_cache *cache)
{
	close(cache->dir_fd);
	cache->dir_fd = -1;
}

/* ---- what a result belongs to ---------------------------------------------------------------- */

static int hash_segment(struct siphash *hash, const struct elf_image *image,
			const struct elf_segment *segment, uint8_t *chunk)
{
	uint64_t place[] = {segment->vaddr, segment->off, segment->size}, done = 0;
	size_t len;
	int err = 0;

	siphash__update(hash, place, sizeof(place));
	while (done < segment->size && !err) {
		len = segment->size - done < CHUNK ? (size_t)(segment->size - done) : CHUNK;
		err = elf_image__read(image, segment->off + done, chunk, len);
		if (!err)
			siphash__update(hash, chunk, len);
		done += len;
	}
	return err;
}

int site_cache__fingerprint(const struct site_cache *cache, const struct elf_image *image,
			    uint8_t ret[static SIPHASH_BYTES])
{
	uint64_t about[] = {SITE_FILE_VERSION, image->machine, image->size}, total = 0;
	struct siphash hash;
	uint8_t *chunk;
	int err = 0;

	chunk = malloc(CHUNK);
	if (!chunk)
		return -ENOMEM;
	siphash__init(&hash, cache->fingerprint_key);
	siphash__update(&hash, about, sizeof(about));
	siphash__update(&hash, image->phdrs, image->phdr_cnt * sizeof(*image->phdrs));
	for (size_t i = 0; i < image->segments.list.cnt && !err; i++) {
		const struct elf_segment *segment = &image->segments.list.items[i];

		if (segment->size > MAX_HASHED - total)
			err = -EFBIG;
		else
			err = hash_segment(&hash, image, segment, chunk);
		total += segment->size;
	}
	if (!err)
		siphash__final(&hash, ret);
	free(chunk);
	return err;
}

static struct file_name name_of(const uint8_t *fingerprint)
{
	static const char digits[] = "0123456789abcdef";
	struct file_name name;
	char *to = name.text;

	for (size_t i = 0; i < SIPHASH_BYTES; i++) {
		*to++ = digits[fingerprint[i] >> 4];
		*to++ = digits[fingerprint[i] & 15];
	}
	memcpy(to, SITES_SUFFIX, sizeof(SITES_SUFFIX));
	return name;
}

/* ---- files ----------------------------------------------------------------------------------- */

int site_cache__get(const struct site_cache *cache, const struct elf_image *image,
		    const uint8_t fingerprint[static SIPHASH_BYTES], struct python_sites *ret)
{
	struct file_name name = name_of(fingerprint);
	struct python_sites sites;
	int fd, err;

	fd = openat(cache->dir_fd, name.text, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	err = fd < 0 ? -errno : site_file__read(fd, cache->file_key, fingerprint, &sites);
	if (!err && !python_sites__is_valid(&sites, image)) {
		python_sites__free(&sites);
		err = -EBADMSG;
	}
	if (err == -ELOOP || err == -ENXIO || err == -EISDIR)
		err = -EBADMSG;
	if (!err) {
		futimens(fd, NULL); /* a file that cannot be touched only goes earlier */
		*ret = sites;
	} else if (err == -EBADMSG) {
		unlinkat(cache->dir_fd, name.text, 0);
	}
	if (fd >= 0)
		close(fd);
	return err;
}

int site_cache__put(const struct site_cache *cache, const uint8_t fingerprint[static SIPHASH_BYTES],
		    const struct python_sites *sites)
{
	struct file_name name = name_of(fingerprint);
	struct new_file file;
	int err;

	err = new_file__create(cache->dir_fd, &file);
	if (err)
		return err;
	err = site_file__write(file.fd, cache->file_key, fingerprint, sites);
	if (!err)
		err = new_file__publish(&file, name.text);
	new_file__close(&file);
	return err == -EEXIST ? 0 : err;
}
