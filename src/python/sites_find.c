/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include "python/site_cache.h"
#include "python/site_code.h"
#include "python/site_file.h"
#include "python/sites.h"
#include "util/sandbox.h"

/* A build of Python takes 0.1 s; the code is in memory twice, as bytes and as what is known. */
static const struct sandbox_limits limits = {
	.cpu_ns = 20000000000,
	.memory_bytes = 2ULL * MAX_SITE_CODE + (64U << 20),
	.output_bytes = MAX_SITE_FILE,
};

/* The answer is a file of sites, for which the key is no secret, or an error. */
static const uint8_t no_key[SIPHASH_BYTES];

static int run(void *arg, int output_fd)
{
	struct python_sites sites;
	int err;

	err = python_sites__analyse(*(const int *)arg, &sites);
	if (err)
		return sandbox__answer_error(output_fd, err);
	return site_file__write(output_fd, no_key, no_key, &sites);
}

/* Everything here was said by a child that hostile input may have taken over. */
static int read_answer(int fd, const struct elf_image *image, struct python_sites *ret)
{
	struct python_sites sites;
	int err;

	err = sandbox__answered_error(fd);
	if (err)
		return err;
	err = site_file__read(fd, no_key, no_key, &sites);
	if (err)
		return err == -ENOMEM ? err : -EPIPE;
	if (!python_sites__is_valid(&sites, image)) {
		python_sites__free(&sites);
		return -EPIPE;
	}
	*ret = sites;
	return 0;
}

static int analyse_apart(int fd, const struct elf_image *image, struct python_sites *ret)
{
	struct sandbox sandbox;
	int err;

	err = sandbox__start(run, &fd, &fd, 1, &limits, &sandbox);
	if (err)
		return err;
	err = sandbox__wait(&sandbox);
	if (!err)
		err = read_answer(sandbox.output_fd, image, ret);
	else if (err != -ETIME)
		err = -EPIPE;
	sandbox__close(&sandbox);
	return err;
}

/* A cache that cannot be used is no failure. */
static int find_cached(int fd, const struct elf_image *image, const struct site_cache *cache,
		       struct python_sites *ret)
{
	uint8_t before[SIPHASH_BYTES], after[SIPHASH_BYTES];
	int err;

	if (site_cache__fingerprint(cache, image, before))
		return analyse_apart(fd, image, ret);
	if (!site_cache__get(cache, image, before, ret))
		return 0;
	err = analyse_apart(fd, image, ret);
	if (err)
		return err;
	/* Nobody changed the file while it was looked at. */
	if (!site_cache__fingerprint(cache, image, after) && !memcmp(before, after, sizeof(before)))
		site_cache__put(cache, before, ret);
	return 0;
}

int python_sites__find(int fd, const char *cache_dir, struct python_sites *ret)
{
	struct site_cache cache;
	struct elf_image image;
	int err;

	err = elf_image__open(&image, fd, EM_X86_64);
	if (err)
		return err;
	if (cache_dir && !site_cache__open(cache_dir, &cache)) {
		err = find_cached(fd, &image, &cache, ret);
		site_cache__close(&cache);
	} else {
		err = analyse_apart(fd, &image, ret);
	}
	elf_image__close(&image);
	return err;
}
