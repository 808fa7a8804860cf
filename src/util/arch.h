/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine whose programs the tool traces: its own. include/arch.h has what the kernel side
 * knows of it too.
 */
#ifndef LEAKSWEEP_UTIL_ARCH_H
#define LEAKSWEEP_UTIL_ARCH_H

#include <elf.h>
#include <stddef.h>

#if defined(__x86_64__)
#define ARCH_NAME "x86-64"
#define ARCH_MACHINE EM_X86_64 /* e_machine of its ELF files */
#define ARCH_ADDRESS_BITS 47   /* of user space, unless a program asks for five-level addresses */
/* Of glibc's struct pthread from 2.0 on: specific_1stblock, its first data; specific (nptl/descr.h)
 */
#define ARCH_TSD_FIRST (784 + 8)
#define ARCH_TSD_SECOND 1296
/* Whether Python's frames can be followed; if not, a static sentence says so. */
#define ARCH_NO_PYTHON NULL
/* What the doctor says that is given up; NULL = nothing */
#define ARCH_LIMITS NULL
#elif defined(__aarch64__)
#define ARCH_NAME "arm64"
#define ARCH_MACHINE EM_AARCH64
#define ARCH_ADDRESS_BITS 48
#define ARCH_TSD_FIRST 0 /* nobody asks */
#define ARCH_TSD_SECOND 0
#define ARCH_NO_PYTHON "Python's frames and objects are followed on x86-64 only"
#define ARCH_LIMITS                                                                                \
	"stacks are found by frame pointers alone (code without them ends a stack or is missing "  \
	"from it); Python's frames and objects are not followed"
#else
#error "unsupported architecture"
#endif

#endif
