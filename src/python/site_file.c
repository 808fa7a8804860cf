/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/site_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/python.h"
#include "python/site_insn.h"
#include "util/io.h"

static const char magic[8] = "LSsite\r\n";

struct header {
	char magic[8];
	uint32_t version;
	uint32_t record_size; /* bytes */
	uint32_t site_cnt;
	uint32_t refill_calls;
	uint16_t alloc_cnt, free_cnt, new_pool_cnt, new_init_cnt, renew_cnt, stepped_cnt;
	uint8_t verdict, pool_shift, alignment;
	uint8_t zero[1];
	uint8_t fingerprint[SIPHASH_BYTES];
};

struct record {
	uint64_t off, cookie;
	uint8_t kind, is_stepped;
	uint8_t zero[6];
};

static size_t file_size(size_t site_cnt)
{
	return sizeof(struct header) + site_cnt * sizeof(struct record) + SIPHASH_BYTES;
}

static void hash_bytes(const uint8_t *key, const uint8_t *bytes, size_t len, uint8_t *ret)
{
	struct siphash hash;

	siphash__init(&hash, key);
	siphash__update(&hash, bytes, len);
	siphash__final(&hash, ret);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void put_header(uint8_t *to, const uint8_t *fingerprint, const struct python_sites *sites)
{
	struct header header;

	memset(&header, 0, sizeof(header));
	memcpy(header.magic, magic, sizeof(magic));
	header.version = SITE_FILE_VERSION;
	header.record_size = sizeof(struct record);
	header.site_cnt = (uint32_t)sites->sites.cnt;
	header.refill_calls = sites->refill_calls;
	header.alloc_cnt = sites->alloc_cnt;
	header.free_cnt = sites->free_cnt;
	header.new_pool_cnt = sites->new_pool_cnt;
	header.new_init_cnt = sites->new_init_cnt;
	header.renew_cnt = sites->renew_cnt;
	header.stepped_cnt = sites->stepped_cnt;
	header.verdict = sites->verdict;
	header.pool_shift = sites->pool_shift;
	header.alignment = sites->alignment;
	memcpy(header.fingerprint, fingerprint, SIPHASH_BYTES);
	memcpy(to, &header, sizeof(header));
}

static void put_record(uint8_t *to, const struct python_site *site)
{
	struct record record;

	memset(&record, 0, sizeof(record));
	record.off = site->off;
	record.cookie = site->cookie;
	record.kind = site->kind;
	record.is_stepped = site->is_stepped;
	memcpy(to, &record, sizeof(record));
}

int site_file__write(int fd, const uint8_t key[static SIPHASH_BYTES],
		     const uint8_t fingerprint[static SIPHASH_BYTES],
		     const struct python_sites *sites)
{
	size_t size = file_size(sites->sites.cnt), at = sizeof(struct header);
	uint8_t *bytes;
	int err;

	if (sites->sites.cnt > MAX_PYTHON_SITES)
		return -EFBIG;
	bytes = malloc(size);
	if (!bytes)
		return -ENOMEM;
	put_header(bytes, fingerprint, sites);
	for (size_t i = 0; i < sites->sites.cnt; i++, at += sizeof(struct record))
		put_record(bytes + at, &sites->sites.items[i]);
	hash_bytes(key, bytes, at, bytes + at);
	err = write_all(fd, bytes, size);
	free(bytes);
	return err;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int read_bytes(int fd, uint8_t *bytes, size_t size)
{
	size_t done = 0;
	ssize_t got;

	while (done < size) {
		got = pread(fd, bytes + done, size - done, (off_t)done);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			return -EBADMSG;
		done += (size_t)got;
	}
	return 0;
}

static int get_records(const uint8_t *bytes, size_t cnt, struct python_sites *sites)
{
	static const uint8_t zero[sizeof(((struct record *)0)->zero)];
	struct record record;
	int err = 0;

	for (size_t i = 0; i < cnt && !err; i++) {
		memcpy(&record, bytes + i * sizeof(record), sizeof(record));
		if (record.is_stepped > 1 || memcmp(record.zero, zero, sizeof(zero)) != 0)
			return -EBADMSG;
		err = array_push(&sites->sites, ((struct python_site){
							.off = record.off,
							.cookie = record.cookie,
							.kind = record.kind,
							.is_stepped = record.is_stepped,
						}));
	}
	return err;
}

static int get_all(const uint8_t *bytes, size_t size, const uint8_t *fingerprint,
		   struct python_sites *ret)
{
	struct python_sites sites = {0};
	struct header header;
	int err;

	memcpy(&header, bytes, sizeof(header));
	if (memcmp(header.magic, magic, sizeof(magic)) != 0 ||
	    header.version != SITE_FILE_VERSION || header.record_size != sizeof(struct record) ||
	    header.site_cnt > MAX_PYTHON_SITES || file_size(header.site_cnt) != size ||
	    memcmp(header.fingerprint, fingerprint, SIPHASH_BYTES) != 0)
		return -EBADMSG;
	sites.refill_calls = header.refill_calls;
	sites.alloc_cnt = header.alloc_cnt;
	sites.free_cnt = header.free_cnt;
	sites.new_pool_cnt = header.new_pool_cnt;
	sites.new_init_cnt = header.new_init_cnt;
	sites.renew_cnt = header.renew_cnt;
	sites.stepped_cnt = header.stepped_cnt;
	sites.verdict = header.verdict;
	sites.pool_shift = header.pool_shift;
	sites.alignment = header.alignment;
	err = get_records(bytes + sizeof(header), header.site_cnt, &sites);
	if (err)
		python_sites__free(&sites);
	else
		*ret = sites;
	return err;
}

int site_file__read(int fd, const uint8_t key[static SIPHASH_BYTES],
		    const uint8_t fingerprint[static SIPHASH_BYTES], struct python_sites *ret)
{
	uint8_t hash[SIPHASH_BYTES], *bytes;
	struct stat st;
	size_t size;
	int err;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size < (off_t)file_size(0) || st.st_size > MAX_SITE_FILE)
		return -EBADMSG;
	size = (size_t)st.st_size;
	bytes = malloc(size);
	if (!bytes)
		return -ENOMEM;
	err = read_bytes(fd, bytes, size);
	if (err)
		goto cleanup;
	hash_bytes(key, bytes, size - SIPHASH_BYTES, hash);
	err = memcmp(hash, bytes + size - SIPHASH_BYTES, SIPHASH_BYTES) != 0
		      ? -EBADMSG
		      : get_all(bytes, size, fingerprint, ret);
cleanup:
	free(bytes);
	return err;
}

/* ---- whether it can be so -------------------------------------------------------------------- */

static bool is_instruction(const struct python_site *site, const struct elf_image *image)
{
	uint8_t bytes[MAX_X86_INSN];
	struct x86_opcode opcode;
	struct site_insn insn;
	uint64_t vaddr, off, avail;

	if (!elf_segments__vaddr(&image->segments, site->off, &vaddr) ||
	    !elf_segments__offset(&image->segments, vaddr, true, &off, &avail) || off != site->off)
		return false;
	if (avail > sizeof(bytes))
		avail = sizeof(bytes);
	if (elf_image__read(image, off, bytes, avail) || !site_insn__decode(bytes, avail, &insn))
		return false;
	opcode = x86_opcode__split(bytes, insn.len);
	return !x86_opcode__is_refused(&opcode) &&
	       x86_opcode__is_emulated(&opcode) == !site->is_stepped;
}

static bool has_sound_cookie(const struct python_site *site, const struct python_sites *sites)
{
	uint64_t cookie = site->cookie;
	enum python_op op = site_kind__op(site->kind);
	enum python_place place = PYTHON_SITE_PLACE(cookie);

	if (place != PYTHON_PLACE_REG && place != PYTHON_PLACE_MEM)
		return false;
	return cookie == PYTHON_SITE(op, place, PYTHON_SITE_REG(cookie), sites->pool_shift,
				     sites->alignment, PYTHON_SITE_DISP(cookie));
}

static bool has_right_counts(const struct python_sites *sites)
{
	size_t kinds[SITE_RENEW + 1] = {0}, stepped = 0;

	for (size_t i = 0; i < sites->sites.cnt; i++) {
		kinds[sites->sites.items[i].kind]++;
		stepped += sites->sites.items[i].is_stepped;
	}
	return kinds[SITE_ALLOC] == sites->alloc_cnt && kinds[SITE_FREE] == sites->free_cnt &&
	       kinds[SITE_NEW_POOL] == sites->new_pool_cnt &&
	       kinds[SITE_NEW_INIT] == sites->new_init_cnt &&
	       kinds[SITE_RENEW] == sites->renew_cnt && stepped == sites->stepped_cnt;
}

/* A verdict without sites says nothing else either. */
static bool is_empty(const struct python_sites *sites)
{
	return (sites->verdict == SITES_NONE || sites->verdict == SITES_DOUBTFUL) &&
	       !sites->refill_calls && !sites->pool_shift && !sites->alignment;
}

static bool has_right_verdict(const struct python_sites *sites)
{
	if (sites->pool_shift < 12 || sites->pool_shift > 24 || sites->alignment < 8 ||
	    sites->alignment > 64 || sites->alignment & (sites->alignment - 1))
		return false;
	if (sites->verdict != SITES_COMPLETE)
		return sites->verdict == SITES_DOUBTFUL;
	return sites->free_cnt && sites->new_pool_cnt == 1 && sites->new_init_cnt == 1 &&
	       sites->alloc_cnt && sites->alloc_cnt >= sites->refill_calls;
}

bool python_sites__is_valid(const struct python_sites *sites, const struct elf_image *image)
{
	const struct python_site *site, *last = NULL;

	if (sites->sites.cnt ? !has_right_verdict(sites) : !is_empty(sites))
		return false;
	for (size_t i = 0; i < sites->sites.cnt; i++, last = site) {
		site = &sites->sites.items[i];
		if (site->kind < SITE_ALLOC || site->kind > SITE_RENEW ||
		    (last && site->off <= last->off) || !has_sound_cookie(site, sites) ||
		    !is_instruction(site, image))
			return false;
	}
	return has_right_counts(sites);
}
