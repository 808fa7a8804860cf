/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finds the separate debug file of an ELF file on this host, never over the network. Where debug
 * files lie and how they are tied to their program: "Debugging Information in Separate Files" in
 * the GDB manual.
 */
#ifndef LEAKSWEEP_SYMBOLIZE_DEBUG_FILE_H
#define LEAKSWEEP_SYMBOLIZE_DEBUG_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "util/elf_image.h"

#define DEBUG_ROOT "/usr/lib/debug"

/*
 * Looks by build-id under `debug_root`, then by .gnu_debuglink beside the file, in .debug/ beside
 * it, and under `debug_root`. A debug file must carry the same build-id when the file has one; one
 * found by name must also have the CRC-32 that the link demands. `path` is the file's path as its
 * process sees it: places beside it are used only if the path leads to the same file from here, so
 * that a container cannot point at our files. Returns 0 with a descriptor of a regular file that
 * the caller closes, -ENOENT or -ENOMEM.
 */
int debug_file__open(const struct elf_image *file, const char *path, const char *debug_root,
		     int *ret_fd);

/* Returns whether the file behind `fd` is an ELF file with the build-id of `file`, which has one.
 */
bool debug_file__belongs(const struct elf_image *file, int fd);

/* Returns whether the file has DWARF units itself, compressed or not. */
bool debug_file__has_dwarf(const struct elf_image *file);

/*
 * Opens the file with what dwz moved out of several debug files (.gnu_debugaltlink, DWARF 5
 * supplementary files in their GNU form). It is looked for by its build-id, and by what follows
 * "/.dwz/" in its name, under `debug_root`; the name may say anything else. The caller has to
 * compare the build-ids. Returns 0 with a descriptor that the caller closes, -ENOENT or -ENOMEM.
 */
int debug_file__open_alt(const struct elf_image *file, const char *debug_root, int *ret_fd);

/*
 * Unpacks .gnu_debugdata, an ELF file with the symbols that were stripped ("MiniDebugInfo" in the
 * GDB manual). Returns 0, -ENOENT, -ENOMEM or another negative errno (damaged, too big). The caller
 * frees *ret_image.
 */
int debug_file__unpack_mini(const struct elf_image *file, void **ret_image, size_t *ret_size);

#endif
