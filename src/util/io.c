/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/io.h"

#include <errno.h>
#include <unistd.h>

int write_all(int fd, const void *buf, size_t len)
{
	const char *from = buf;
	ssize_t put;

	while (len) {
		put = write(fd, from, len);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put ? -errno : -EIO;
		from += put;
		len -= (size_t)put;
	}
	return 0;
}
