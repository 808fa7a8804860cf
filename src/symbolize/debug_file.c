/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "symbolize/debug_file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "util/format.h"
#include "util/regular_file.h"
#include "util/remote_mount.h"
#include "util/xz.h"

#define BESIDE_CNT 2
#define NAMED_CNT (BESIDE_CNT + 1)
#define MAX_LINK_SECTION 8192
#define CRC_CHUNK (256U << 10)
#define MAX_NAMES (1U << 20)	  /* bytes of section names */
#define MAX_PACKED (32U << 20)	  /* Fedora's biggest has 3 MiB */
#define MAX_UNPACKED (128U << 20) /* a second of work */

/* What a debug file has to match. */
struct wanted {
	const struct elf_image *file;
	uint8_t build_id[MAX_ELF_BUILD_ID];
	size_t build_id_len;
	bool check_crc;
	uint32_t crc;
};

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* The CRC-32 of .gnu_debuglink is zlib's. */
static bool has_crc(int fd, uint32_t wanted)
{
	uLong crc = crc32(0, NULL, 0);
	off_t off = 0;
	ssize_t got;
	void *buf;

	buf = malloc(CRC_CHUNK);
	if (!buf)
		return false;
	while ((got = pread(fd, buf, CRC_CHUNK, off)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			break;
		crc = crc32(crc, buf, (uInt)got);
		off += got;
	}
	free(buf);
	return !got && crc == wanted;
}

static bool matches(const struct wanted *wanted, int fd)
{
	uint8_t build_id[MAX_ELF_BUILD_ID];
	struct stat ours, theirs;
	struct elf_image debug;
	size_t len;

	/* A link that leads back to the file itself brings nothing. */
	if (fstat(fd, &theirs) ||
	    (wanted->file->fd >= 0 && !fstat(wanted->file->fd, &ours) && same_file(&ours, &theirs)))
		return false;
	if (elf_image__open(&debug, fd, EM_NONE))
		return false;
	len = elf_image__build_id(&debug, build_id);
	elf_image__close(&debug);
	if (wanted->build_id_len &&
	    (len != wanted->build_id_len || memcmp(build_id, wanted->build_id, len)))
		return false;
	return !wanted->check_crc || has_crc(fd, wanted->crc);
}

/* Takes the path over (NULL = no memory). */
static int open_path(char *path, int *ret_fd)
{
	int fd;

	if (!path)
		return -ENOMEM;
	fd = regular_file__open(path);
	free(path);
	if (fd < 0)
		return -ENOENT;
	*ret_fd = fd;
	return 0;
}

/* The same for a file that has to match. */
static int try_path(const struct wanted *wanted, char *path, int *ret_fd)
{
	int fd, err;

	err = open_path(path, &fd);
	if (err)
		return err;
	if (!matches(wanted, fd)) {
		close(fd);
		return -ENOENT;
	}
	*ret_fd = fd;
	return 0;
}

/* Returns an owned path; the build-id has at least 2 bytes. NULL = no memory. */
static char *build_id_path(const uint8_t *build_id, size_t len, const char *debug_root)
{
	char hex[2 * MAX_ELF_BUILD_ID + 1];

	for (size_t i = 0; i < len; i++)
		snprintf(hex + 2 * i, 3, "%02x", build_id[i]);
	return format_text("%s/.build-id/%.2s/%s.debug", debug_root, hex, hex + 2);
}

static int by_build_id(const struct wanted *wanted, const char *debug_root, int *ret_fd)
{
	if (wanted->build_id_len < 2)
		return -ENOENT;
	return try_path(wanted, build_id_path(wanted->build_id, wanted->build_id_len, debug_root),
			ret_fd);
}

/*
 * Loads a section of at most `max` bytes with a zero byte after them. Returns 0 or as
 * elf_image__section_named and elf_image__load. The caller frees *ret_data.
 */
static int load_section(const struct elf_image *file, const char *section, size_t max,
			char **ret_data, size_t *ret_size)
{
	const Elf64_Shdr *shdr;
	int err;

	err = elf_image__section_named(file, section, &shdr);
	if (!err)
		err = elf_image__load(file, shdr->sh_offset, shdr->sh_size, max, ret_data);
	if (!err)
		*ret_size = shdr->sh_size;
	return err;
}

/* Loads a section that begins with a file name. A damaged link is as good as none. */
static int load_link(const struct elf_image *file, const char *section, char **ret_name,
		     size_t *ret_size)
{
	int err = load_section(file, section, MAX_LINK_SECTION, ret_name, ret_size);

	return err && err != -ENOMEM ? -ENOENT : err;
}

/* The section holds a file name with its zero byte, padding to 4, and the CRC. */
static int read_link(const struct elf_image *file, char **ret_name, uint32_t *ret_crc)
{
	size_t size, crc_off;
	char *name;
	int err;

	err = load_link(file, ".gnu_debuglink", &name, &size);
	if (err)
		return err;
	crc_off = (strlen(name) + 1 + 3) & ~(size_t)3;
	if (!*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, "..") ||
	    crc_off + sizeof(*ret_crc) > size) {
		free(name);
		return -ENOENT;
	}
	memcpy(ret_crc, name + crc_off, sizeof(*ret_crc));
	*ret_name = name;
	return 0;
}

/* Where a debug file may be that is looked for by its name. */
struct named {
	const char *path;	 /* of the file itself */
	char *places[NAMED_CNT]; /* owned; the first ones are beside it */
};

/* Fills in the places. Returns 0 or -ENOMEM. */
static int list_places(struct named *named, const char *name, const char *debug_root)
{
	int dir_len = (int)(strrchr(named->path, '/') - named->path);

	named->places[0] = format_text("%.*s/%s", dir_len, named->path, name);
	named->places[1] = format_text("%.*s/.debug/%s", dir_len, named->path, name);
	named->places[2] = format_text("%s%.*s/%s", debug_root, dir_len, named->path, name);
	return named->places[0] && named->places[1] && named->places[2] ? 0 : -ENOMEM;
}

/* The paths are the target's choice and may lead to where nobody answers. */
static void touch_places(const void *arg)
{
	const struct named *named = arg;
	struct stat st;
	char byte;

	stat(named->path, &st);
	for (size_t i = 0; i < NAMED_CNT; i++)
		if (pread(regular_file__open(named->places[i]), &byte, 1, 0) < 0) {
			/* That is an answer, too. */
		}
}

static bool is_at(const struct elf_image *file, const char *path)
{
	struct stat ours, theirs;

	return file->fd >= 0 && !fstat(file->fd, &ours) && !stat(path, &theirs) &&
	       same_file(&ours, &theirs);
}

static int try_named(const struct wanted *wanted, struct named *named, int *ret_fd)
{
	int err = -ENOENT;
	size_t i;

	if (remote_mount__try(getpid(), 0, touch_places, named))
		return -ENOENT;
	for (i = is_at(wanted->file, named->path) ? 0 : BESIDE_CNT; i < NAMED_CNT && err == -ENOENT;
	     i++) {
		err = try_path(wanted, named->places[i], ret_fd);
		named->places[i] = NULL;
	}
	return err;
}

static int by_link(struct wanted *wanted, const char *path, const char *debug_root, int *ret_fd)
{
	struct named named = {.path = path};
	char *name;
	int err;

	if (path[0] != '/' || strlen(path) > INT32_MAX || strstr(path, "/../"))
		return -ENOENT;
	err = read_link(wanted->file, &name, &wanted->crc);
	if (err)
		return err;
	wanted->check_crc = true;
	err = list_places(&named, name, debug_root);
	if (!err)
		err = try_named(wanted, &named, ret_fd);
	for (size_t i = 0; i < NAMED_CNT; i++)
		free(named.places[i]);
	free(name);
	return err;
}

int debug_file__open(const struct elf_image *file, const char *path, const char *debug_root,
		     int *ret_fd)
{
	struct wanted wanted = {.file = file};
	int err;

	wanted.build_id_len = elf_image__build_id(file, wanted.build_id);
	err = by_build_id(&wanted, debug_root, ret_fd);
	if (err == -ENOENT)
		err = by_link(&wanted, path, debug_root, ret_fd);
	return err;
}

bool debug_file__belongs(const struct elf_image *file, int fd)
{
	struct wanted wanted = {.file = file};

	wanted.build_id_len = elf_image__build_id(file, wanted.build_id);
	return wanted.build_id_len && matches(&wanted, fd);
}

/* elf_image__section_named passes over compressed sections. */
bool debug_file__has_dwarf(const struct elf_image *file)
{
	const Elf64_Shdr *names, *shdr;
	bool found = false;
	char *text;

	if (file->section_names >= file->shdr_cnt)
		return false;
	names = &file->shdrs[file->section_names];
	if (names->sh_type == SHT_NOBITS ||
	    elf_image__load(file, names->sh_offset, names->sh_size, MAX_NAMES, &text))
		return false;
	for (size_t i = 0; i < file->shdr_cnt && !found; i++) {
		shdr = &file->shdrs[i];
		if (shdr->sh_type != SHT_NOBITS && shdr->sh_size && shdr->sh_name < names->sh_size)
			found = !strcmp(text + shdr->sh_name, ".debug_info") ||
				!strcmp(text + shdr->sh_name, ".zdebug_info");
	}
	free(text);
	return found;
}

int debug_file__open_alt(const struct elf_image *file, const char *debug_root, int *ret_fd)
{
	const char *rest, *build_id;
	size_t size, len;
	char *name;
	int err;

	/* The section holds a file name with its zero byte, and a build-id. */
	err = load_link(file, ".gnu_debugaltlink", &name, &size);
	if (err)
		return err;
	build_id = name + strlen(name) + 1;
	len = size > strlen(name) ? size - strlen(name) - 1 : 0;
	err = -ENOENT;
	if (len >= 2 && len <= MAX_ELF_BUILD_ID)
		err = open_path(build_id_path((const uint8_t *)build_id, len, debug_root), ret_fd);
	rest = strstr(name, "/.dwz/");
	if (err == -ENOENT && rest && !strstr(rest, "/../"))
		err = open_path(format_text("%s%s", debug_root, rest), ret_fd);
	free(name);
	return err;
}

int debug_file__unpack_mini(const struct elf_image *file, void **ret_image, size_t *ret_size)
{
	size_t size;
	char *packed;
	int err;

	err = load_section(file, ".gnu_debugdata", MAX_PACKED, &packed, &size);
	if (err)
		return err;
	err = xz_unpack(packed, size, MAX_UNPACKED, ret_image, ret_size);
	free(packed);
	return err;
}
