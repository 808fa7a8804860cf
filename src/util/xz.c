// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/xz.h"

#include <errno.h>
#include <lzma.h>
#include <stdint.h>
#include <stdlib.h>

#define MAX_DECODER_MEMORY (80ULL << 20) /* the dictionary of `xz -9` takes 64 MiB */
#define FIRST_CHUNK (256U << 10)

/* Doubles the output, up to `max` and one byte that tells when there is more. */
static int grow(uint8_t **data, size_t *cap, size_t max)
{
	size_t room = *cap ? *cap : FIRST_CHUNK / 2;
	uint8_t *grown;

	room = room < max / 2 ? room * 2 : max + 1;
	grown = realloc(*data, room);
	if (!grown)
		return -ENOMEM;
	*data = grown;
	*cap = room;
	return 0;
}

int xz_unpack(const void *packed, size_t size, size_t max, void **ret_data, size_t *ret_size)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	uint8_t *data = NULL;
	size_t cap = 0, done = 0;
	lzma_ret status;
	int err;

	if (max == SIZE_MAX)
		max--;
	if (lzma_stream_decoder(&stream, MAX_DECODER_MEMORY, LZMA_CONCATENATED) != LZMA_OK)
		return -ENOMEM;
	stream.next_in = packed;
	stream.avail_in = size;
	do {
		err = done == cap ? grow(&data, &cap, max) : 0;
		if (err)
			goto cleanup;
		stream.next_out = data + done;
		stream.avail_out = cap - done;
		status = lzma_code(&stream, LZMA_FINISH);
		done = cap - stream.avail_out;
		if (done > max) {
			err = -EFBIG;
			goto cleanup;
		}
	} while (status == LZMA_OK);
	err = status == LZMA_STREAM_END					  ? 0
	      : status == LZMA_MEM_ERROR || status == LZMA_MEMLIMIT_ERROR ? -ENOMEM
									  : -EBADMSG;
	if (err)
		goto cleanup;
	*ret_data = data;
	*ret_size = done;
	data = NULL;
cleanup:
	lzma_end(&stream);
	free(data);
	return err;
}
