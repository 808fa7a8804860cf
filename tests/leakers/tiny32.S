/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A 32-bit process without any library: says READY and sleeps until it is killed. */
	.globl _start
	.text
_start:
	movl $4, %eax		/* write(1, ready, 6) */
	movl $1, %ebx
	movl $ready, %ecx
	movl $6, %edx
	int $0x80
1:	movl $29, %eax		/* pause() */
	int $0x80
	jmp 1b
	.section .rodata
ready:	.ascii "READY\n"
	.section .note.GNU-stack, "", @progbits
