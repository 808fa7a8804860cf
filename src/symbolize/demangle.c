/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mangled names come from the files of any container, and libiberty's work is exponential in the
 * length of a name: 2^n steps without any output for `f(B<B<...>, S0_>, S1_>...)` in a pack
 * expansion (10 s for a name of 180 bytes, measured with libiberty 20230104; its recursion limit
 * does not see that). So names are demangled in a sandbox, and with a time limit for each name; one
 * that kills the child stays mangled, and the next child goes on behind it. Without mangled names
 * there is no child.
 */
#include "symbolize/demangle.h"

#include <errno.h>
#include <libiberty/demangle.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/io.h"
#include "util/sandbox.h"

#define MAX_MANGLED 4096 /* bytes */
#define MAX_DEMANGLED 16384
#define MAX_NAME 16384
#define MAX_DEATHS 8			/* of children in one batch; then the rest stays mangled */
#define CPU_LIMIT_USEC 100000		/* of one name */
#define TOTAL_LIMIT_NS (2 * NS_PER_SEC) /* of one child: for 100000 usual names */
#define MEMORY_LIMIT (256UL << 20)
#define OUTPUT_LIMIT (256UL << 20)
#define OPTIONS (DMGL_PARAMS | DMGL_ANSI)

struct output {
	bool full;
	uint32_t len; /* a record begins here */
	char text[MAX_DEMANGLED];
};

struct input {
	const char *const *names;
	size_t cnt;
};

bool is_mangled(const char *name)
{
	return name[0] == '_' && (name[1] == 'Z' || name[1] == 'R' || name[1] == 'D') &&
	       strnlen(name, MAX_MANGLED) < MAX_MANGLED;
}

/* ---- in the child ---- */

static void append(const char *text, size_t len, void *opaque)
{
	struct output *output = opaque;

	if (output->full || len > sizeof(output->text) - output->len) {
		output->full = true;
		return;
	}
	memcpy(output->text + output->len, text, len);
	output->len += (uint32_t)len;
}

static bool demangle_one(const char *name, struct output *output)
{
	char *text;

	output->len = 0;
	output->full = false;
	/* Rust's legacy names are C++ names as well, so Rust comes first. */
	if (rust_demangle_callback(name, OPTIONS, append, output))
		return !output->full;
	output->len = 0;
	output->full = false;
	if (name[1] == 'Z')
		return cplus_demangle_v3_callback(name, OPTIONS, append, output) && !output->full;
	text = name[1] == 'D' ? dlang_demangle(name, OPTIONS) : NULL;
	if (text)
		append(text, strlen(text), output);
	free(text);
	return text && !output->full;
}

/*
 * Writes one record {length, text} for each name, at once: those before the one that kills the
 * child have to be there. Length 0 = stays mangled.
 */
static int run_child(void *arg, int output_fd)
{
	struct itimerval limit = {.it_value.tv_usec = CPU_LIMIT_USEC};
	const struct input *input = arg;
	struct output *output;
	bool ok = true;

	output = malloc(sizeof(*output));
	if (!output)
		return -ENOMEM;
	for (size_t i = 0; i < input->cnt && ok; i++) {
		ok = !setitimer(ITIMER_PROF, &limit, NULL);
		if (ok && (!is_mangled(input->names[i]) || !demangle_one(input->names[i], output)))
			output->len = 0;
		ok = ok && !write_all(output_fd, &output->len, sizeof(output->len) + output->len);
	}
	free(output);
	return ok ? 0 : -EIO;
}

/* ---- in the parent ---- */

static bool read_all(int fd, void *buf, size_t len)
{
	char *to = buf;
	ssize_t got;

	while (len) {
		got = read(fd, to, len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		to += got;
		len -= (size_t)got;
	}
	return true;
}

/*
 * Reads the records of a child that is done or dead. Returns 0 or -ENOMEM; *ret_done counts the
 * records.
 */
static int read_records(int fd, size_t cnt, char **ret_texts, size_t *ret_done)
{
	uint32_t len;
	char *text;

	for (size_t i = 0; i < cnt; i++) {
		*ret_done = i;
		if (!read_all(fd, &len, sizeof(len)) || len > MAX_DEMANGLED)
			return 0;
		if (!len)
			continue;
		text = malloc((size_t)len + 1);
		if (!text)
			return -ENOMEM;
		if (!read_all(fd, text, len)) {
			free(text);
			return 0;
		}
		text[len] = '\0';
		ret_texts[i] = text;
	}
	*ret_done = cnt;
	return 0;
}

/* How the child ended makes no difference: what it wrote counts. */
static int run_batch(const char *const *names, size_t cnt, char **ret_texts, size_t *ret_done)
{
	const struct sandbox_limits limits = {
		.cpu_ns = TOTAL_LIMIT_NS,
		.memory_bytes = MEMORY_LIMIT,
		.output_bytes = OUTPUT_LIMIT,
	};
	struct input input = {.names = names, .cnt = cnt};
	struct sandbox sandbox;
	int err;

	err = sandbox__start(run_child, &input, NULL, 0, &limits, &sandbox);
	if (err)
		return err;
	sandbox__wait(&sandbox);
	if (lseek(sandbox.output_fd, 0, SEEK_SET))
		err = -errno;
	else
		err = read_records(sandbox.output_fd, cnt, ret_texts, ret_done);
	sandbox__close(&sandbox);
	return err;
}

int demangle_names(const char *const *names, size_t cnt, char **ret_texts)
{
	size_t pos = 0, done;
	int err;

	memset(ret_texts, 0, cnt * sizeof(*ret_texts));
	for (int deaths = 0; pos < cnt && deaths < MAX_DEATHS; deaths++) {
		done = 0;
		err = run_batch(names + pos, cnt - pos, ret_texts + pos, &done);
		if (err)
			goto cleanup;
		pos += done + 1;
	}
	return 0;
cleanup:
	for (size_t i = 0; i < cnt; i++) {
		free(ret_texts[i]);
		ret_texts[i] = NULL;
	}
	return err;
}

char *symbol_name__copy(const char *name)
{
	size_t len = strnlen(name, MAX_NAME);
	const char *version = memchr(name, '@', len);

	return strndup(name, version && version != name ? (size_t)(version - name) : len);
}

/* Returns the length of the well-formed UTF-8 character at `text`, or 0 (Unicode 15, table 3-7). */
static size_t utf8_len(const unsigned char *text)
{
	unsigned char first = text[0], low = 0x80, high = 0xbf;
	size_t len;

	if (first < 0x80)
		return 1;
	if (first < 0xc2 || first > 0xf4)
		return 0;
	len = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	if (first == 0xe0)
		low = 0xa0;
	else if (first == 0xed)
		high = 0x9f;
	else if (first == 0xf0)
		low = 0x90;
	else if (first == 0xf4)
		high = 0x8f;
	if (text[1] < low || text[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if (text[i] < 0x80 || text[i] > 0xbf)
			return 0;
	return len;
}

void clean_text(char *text)
{
	unsigned char *pos = (unsigned char *)text;
	size_t len;

	while (*pos) {
		len = utf8_len(pos);
		/* U+0080 to U+009F are control characters too. */
		if (!len || (len == 1 && (*pos < 0x20 || *pos == 0x7f)) ||
		    (len == 2 && pos[0] == 0xc2 && pos[1] < 0xa0)) {
			*pos++ = '?';
			continue;
		}
		pos += len;
	}
}
