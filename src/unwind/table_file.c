/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unwind/table_file.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static const char magic[8] = "LSrows\r\n";

struct header {
	char magic[8];
	uint32_t version;
	uint32_t row_size, page_size; /* bytes of one */
	uint32_t row_cnt, page_cnt;
	struct unwind_counts counts;
	uint8_t fingerprint[SIPHASH_BYTES];
};

struct hash {
	uint8_t bytes[SIPHASH_BYTES];
};

static uint64_t file_size(uint64_t page_cnt, uint64_t row_cnt)
{
	return sizeof(struct header) + page_cnt * sizeof(struct unwind_page) +
	       row_cnt * sizeof(struct unwind_row) + sizeof(struct hash);
}

uint64_t table_file__size(const struct unwind_table *table)
{
	return file_size(table->page_cnt, table->row_cnt);
}

static struct header make_header(const uint8_t *fingerprint, const struct unwind_table *table)
{
	struct header header;

	memset(&header, 0, sizeof(header));
	memcpy(header.magic, magic, sizeof(magic));
	header.version = TABLE_FILE_VERSION;
	header.row_size = sizeof(struct unwind_row);
	header.page_size = sizeof(struct unwind_page);
	header.row_cnt = table->row_cnt;
	header.page_cnt = table->page_cnt;
	header.counts = table->counts;
	memcpy(header.fingerprint, fingerprint, SIPHASH_BYTES);
	return header;
}

static struct hash hash_parts(const uint8_t *key, const struct iovec *parts, size_t cnt)
{
	struct siphash hash;
	struct hash result;

	siphash__init(&hash, key);
	for (size_t i = 0; i < cnt; i++)
		siphash__update(&hash, parts[i].iov_base, parts[i].iov_len);
	siphash__final(&hash, result.bytes);
	return result;
}

/* The kernel moves at most INT_MAX bytes or so at once, and fewer whenever it likes. */
static int move_all(bool out, int fd, struct iovec *parts, size_t cnt)
{
	ssize_t moved;

	while (cnt) {
		if (!parts->iov_len) {
			parts++;
			cnt--;
			continue;
		}
		moved = out ? writev(fd, parts, (int)cnt) : readv(fd, parts, (int)cnt);
		if (moved < 0 && errno == EINTR)
			continue;
		if (moved < 0)
			return -errno;
		if (!moved)
			return -EBADMSG;
		while (moved) {
			size_t step =
				(size_t)moved < parts->iov_len ? (size_t)moved : parts->iov_len;

			parts->iov_base = (char *)parts->iov_base + step;
			parts->iov_len -= step;
			moved -= (ssize_t)step;
			if (parts->iov_len)
				break;
			parts++;
			cnt--;
		}
	}
	return 0;
}

int table_file__write(int fd, const uint8_t key[static SIPHASH_BYTES],
		      const uint8_t fingerprint[static SIPHASH_BYTES],
		      const struct unwind_table *table)
{
	struct header header = make_header(fingerprint, table);
	struct hash hash;
	struct iovec parts[] = {
		{&header, sizeof(header)},
		{table->pages, table->page_cnt * sizeof(*table->pages)},
		{table->rows, table->row_cnt * sizeof(*table->rows)},
		{&hash, sizeof(hash)},
	};

	hash = hash_parts(key, parts, 3);
	return move_all(true, fd, parts, 4);
}

static int check_header(const struct header *header, const uint8_t *fingerprint, uint64_t size)
{
	if (memcmp(header->magic, magic, sizeof(magic)) != 0 ||
	    header->version != TABLE_FILE_VERSION ||
	    header->row_size != sizeof(struct unwind_row) ||
	    header->page_size != sizeof(struct unwind_page) || header->row_cnt > MAX_UNWIND_ROWS ||
	    header->page_cnt > MAX_UNWIND_PAGES ||
	    memcmp(header->fingerprint, fingerprint, SIPHASH_BYTES) != 0 ||
	    size != file_size(header->page_cnt, header->row_cnt))
		return -EBADMSG;
	return 0;
}

static int read_body(int fd, const uint8_t *key, struct header *header, struct unwind_table *table)
{
	struct hash told, hash;
	struct iovec hashed[] = {
		{header, sizeof(*header)},
		{table->pages, table->page_cnt * sizeof(*table->pages)},
		{table->rows, table->row_cnt * sizeof(*table->rows)},
	};
	struct iovec parts[] = {hashed[1], hashed[2], {&told, sizeof(told)}};
	int err;

	err = move_all(false, fd, parts, 3);
	if (err)
		return err;
	hash = hash_parts(key, hashed, 3);
	return memcmp(&hash, &told, sizeof(hash)) ? -EBADMSG : 0;
}

int table_file__read(int fd, const uint8_t key[static SIPHASH_BYTES],
		     const uint8_t fingerprint[static SIPHASH_BYTES], struct unwind_table *ret)
{
	struct unwind_table table = {0};
	struct header header;
	struct iovec head = {&header, sizeof(header)};
	struct stat st;
	int err;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(header))
		return -EBADMSG;
	if (lseek(fd, 0, SEEK_SET))
		return -errno;
	err = move_all(false, fd, &head, 1);
	if (!err)
		err = check_header(&header, fingerprint, (uint64_t)st.st_size);
	if (err)
		return err;
	table.row_cnt = header.row_cnt;
	table.page_cnt = header.page_cnt;
	table.counts = header.counts;
	/* One more of each: a pointer to nothing is no reason to call it out of memory. */
	table.pages = malloc(((size_t)table.page_cnt + 1) * sizeof(*table.pages));
	table.rows = malloc(((size_t)table.row_cnt + 1) * sizeof(*table.rows));
	if (!table.pages || !table.rows)
		err = -ENOMEM;
	else
		err = read_body(fd, key, &header, &table);
	if (err) {
		free(table.pages);
		free(table.rows);
	} else {
		*ret = table;
	}
	return err;
}
