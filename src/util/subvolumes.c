/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/subvolumes.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

void subvolumes__free(struct subvolumes *subvolumes)
{
	hashmap__free(&subvolumes->devs);
}

static uint64_t read_subvolume(int fd)
{
	struct statfs fs;
	struct stat st;

	if (fstatfs(fd, &fs) || (unsigned long)fs.f_type != BTRFS_SUPER_MAGIC || fstat(fd, &st))
		return 0;
	return st.st_dev;
}

uint64_t subvolumes__note(struct subvolumes *subvolumes, const struct proc_map *map, int fd)
{
	/* Other devices are of other file systems. */
	uint64_t subvolume = major(map->dev) ? 0 : read_subvolume(fd);

	if (subvolume && !hashmap__insert(&subvolumes->devs, map->dev, 0, NULL))
		return 0;
	return subvolume;
}

uint64_t subvolumes__find(const struct subvolumes *subvolumes, pid_t pid,
			  const struct proc_map *map)
{
	uint64_t subvolume = 0;
	char path[80];
	int fd;

	if (!hashmap__find(&subvolumes->devs, map->dev, 0))
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", (int)pid,
		 (unsigned long long)map->start, (unsigned long long)map->end);
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd >= 0) {
		subvolume = read_subvolume(fd);
		close(fd);
	}
	return subvolume;
}
