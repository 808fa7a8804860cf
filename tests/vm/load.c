/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * load OBJECT MODE: has the running kernel's verifier read every program of an object in the form
 * that a mode of attaching (perf, multi, session) gives it. Says each program's size in verified
 * instructions; when one is refused, which and why, and exits with 1.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/attach/probe_link.h"

#define LOG_TAIL 4000 /* bytes of a verifier's log; its sentence is at the end */

static int print_warnings(enum libbpf_print_level level, const char *format, va_list args)
{
	char *text;
	int len;

	if (level != LIBBPF_WARN)
		return 0;
	len = vasprintf(&text, format, args);
	if (len < 0)
		return 0;
	fputs(len > LOG_TAIL ? text + len - LOG_TAIL : text, stdout);
	free(text);
	return 0;
}

/* A session's program takes the place of the two that see a call and its return. */
static void select_program(struct bpf_program *prog, const char *mode)
{
	const char *name = bpf_program__name(prog);
	bool session = !strcmp(mode, "session"), multi = session || !strcmp(mode, "multi");
	bool is_session = !strcmp(name, "alloc_session");
	bool is_pair = !strcmp(name, "alloc_enter") || !strcmp(name, "alloc_exit");

	bpf_program__set_autoload(prog, is_session ? session : !(session && is_pair));
	if (bpf_program__type(prog) != BPF_PROG_TYPE_KPROBE)
		return;
	if (is_session)
		bpf_program__set_expected_attach_type(prog, ATTACH_TRACE_UPROBE_SESSION);
	else if (multi)
		bpf_program__set_expected_attach_type(prog, ATTACH_TRACE_UPROBE_MULTI);
}

static int say_size(const struct bpf_program *prog)
{
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);
	int err = bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &len);

	if (err)
		return err;
	printf("  %-16s %u verified instructions, %u bytes of machine code\n",
	       bpf_program__name(prog), info.verified_insns, info.jited_prog_len);
	return 0;
}

static int load(struct bpf_object *object, const char *mode)
{
	struct bpf_program *prog;
	int loaded = 0, err;

	bpf_object__for_each_program(prog, object) select_program(prog, mode);
	err = bpf_object__load(object);
	if (err) {
		printf("mode %s: refused: %s\n", mode, strerror(-err));
		return 1;
	}
	bpf_object__for_each_program(prog, object)
	{
		if (!bpf_program__autoload(prog))
			continue;
		if (say_size(prog))
			return 1;
		loaded++;
	}
	printf("mode %s: the kernel takes all %d programs\n", mode, loaded);
	return 0;
}

int main(int argc, char **argv)
{
	struct bpf_object *object;
	int failed;

	if (argc != 3) {
		fprintf(stderr, "usage: load OBJECT perf|multi|session\n");
		return 2;
	}
	libbpf_set_print(print_warnings);
	object = bpf_object__open_file(argv[1], NULL);
	if (!object) {
		fprintf(stderr, "load: %s cannot be opened\n", argv[1]);
		return 1;
	}
	failed = load(object, argv[2]);
	bpf_object__close(object);
	return failed;
}
