/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unwind/own_build.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "util/elf_image.h"
#include "util/regular_file.h"

static int hash_file(struct siphash *hash, int fd)
{
	uint8_t build_id[MAX_ELF_BUILD_ID];
	struct file_identity identity;
	struct elf_image image;
	size_t len = 0;
	int err;

	err = elf_image__open(&image, fd, EM_NONE);
	if (err)
		return err;
	len = elf_image__build_id(&image, build_id);
	elf_image__close(&image);
	if (len) {
		siphash__update(hash, build_id, len);
		return 0;
	}
	err = file_identity__read(fd, &identity);
	if (err)
		return err;
	siphash__update(hash, &identity.size, sizeof(identity.size));
	siphash__update(hash, &identity.mtime_ns, sizeof(identity.mtime_ns));
	return 0;
}

int own_build__hash(struct siphash *hash)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = hash_file(hash, fd);
	close(fd);
	return err;
}
