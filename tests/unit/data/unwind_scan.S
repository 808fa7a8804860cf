/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Code without call frame information, as C libraries write it by hand; never run. */
	.text
	.globl _start
	.type _start, @function
_start:
	xor %ebp, %ebp
	mov %rsp, %rdi
	and $-16, %rsp
.globl start_call
start_call:
	call start_c
	hlt

	.type start_c, @function
start_c:
	sub $8, %rsp
	mov (%rdi), %esi
.globl start_c_call
start_c_call:
	call good
	xor %edi, %edi
.globl quit_call
quit_call:
	call quit

/* Nothing calls it, and what is before it does not lead here. */
	.p2align 4
.globl hidden
hidden:
	push %rbx
	mov %edi, %ebx
.globl hidden_call
hidden_call:
	call good
	add %ebx, %eax
	pop %rbx
	ret

	.globl good
	.type good, @function
good:
	push %rbp
	mov %rsp, %rbp
	push %rbx
	sub $24, %rsp
	test %edi, %edi
	jz 1f
	lea thread(%rip), %rdi
.globl good_call
good_call:
	call new_thread
1:	add $24, %rsp
	pop %rbx
	pop %rbp
	ret

	.type quit, @function
quit:
	mov $60, %eax
	syscall
	hlt

/* A thread begins on the new stack. */
	.globl new_thread
	.type new_thread, @function
new_thread:
	mov $56, %eax
	sub $8, %rsi
	mov %rcx, (%rsi)
	syscall
	test %eax, %eax
	jnz 1f
	xor %ebp, %ebp
	pop %rdi
.globl thread_call
thread_call:
	call *%r9
	mov $60, %eax
	syscall
	hlt
1:	ret

	.type thread, @function
thread:
	push %r12
	mov %rdi, %r12
.globl by_pointer_call
by_pointer_call:
	call *8(%r12)
	xor %eax, %eax
	pop %r12
	ret

/* The depth at the return is not that of the entry. */
	.globl unbalanced
	.type unbalanced, @function
unbalanced:
	push %rbx
	push %r12
.globl unbalanced_call
unbalanced_call:
	call good
	pop %r12
	ret

/* One path has pushed what the other has not. */
	.globl undecided
	.type undecided, @function
undecided:
	sub $8, %rsp
	test %edi, %edi
	jz 1f
	sub $16, %rsp
1:
.globl undecided_call
undecided_call:
	call good
	add $8, %rsp
	ret

	.globl with_enter
	.type with_enter, @function
with_enter:
	push %rbp
	lea (%rsp), %rbp
	sub %rdi, %rsp
	and $-64, %rsp
.globl dynamic_call
dynamic_call:
	call good
	leave
	ret

/* The return address of a signal handler. */
	nop
	.globl restorer
restorer:
	mov $15, %rax
	syscall

	.section .note.GNU-stack,"",@progbits
