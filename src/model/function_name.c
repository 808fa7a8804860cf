/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One pass from left to right that counts brackets: no recursion, no allocation, whatever the name.
 * The path begins behind the last blank outside of brackets, as that is where a return type ends.
 */
#include "model/function_name.h"

#include <ctype.h>
#include <string.h>

bool name_part__is(struct name_part part, const char *word)
{
	return part.len == strlen(word) && !memcmp(part.text, word, part.len);
}

bool name_part__begins(struct name_part part, const char *word)
{
	size_t len = strlen(word);

	return part.len >= len && !memcmp(part.text, word, len);
}

static bool begins(const char *text, const char *word)
{
	return !strncmp(text, word, strlen(word));
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$';
}

struct scan {
	const char *at;
	const char *path;		/* begins here */
	const char *last, *before_last; /* parts of the path begin here */
	size_t depth;
	bool is_operator; /* blanks are part of the name: "operator new", "operator bool" */
};

/* Steps over the sign of an operator, which may look like a bracket. Returns whether there was one.
 */
static bool skip_operator(struct scan *scan, const char *text)
{
	const char *at = scan->at;

	if (!begins(at, "operator") || is_word(at[8]) || (at > text && is_word(at[-1])))
		return false;
	at += 8;
	if (begins(at, "()") || begins(at, "[]"))
		at += 2;
	else
		at += strspn(at, "<>=!+-*/%^&|~,");
	if (!scan->depth)
		scan->is_operator = true;
	scan->at = at;
	return true;
}

/* Steps over one bracket. Returns false where the parameters begin. */
static bool skip_bracket(struct scan *scan, const char *text)
{
	const char *at = scan->at;

	if (*at == '(' && !scan->depth) {
		bool is_decltype = at - text >= 9 && !memcmp(at - 9, "decltype ", 9);

		if (!begins(at, "(anonymous namespace)") && !is_decltype && at > scan->path)
			return false;
	}
	if (strchr("<({[", *at))
		scan->depth++;
	else if (scan->depth && !(*at == '>' && at > text && at[-1] == '-'))
		scan->depth--;
	scan->at++;
	return true;
}

/* Returns the length of a path's part up to its template arguments. */
static size_t part_len(const char *part, const char *end)
{
	size_t len = 0;

	if (begins(part, "operator") && !is_word(part[8])) {
		len = 8;
		if (begins(part + len, "()") || begins(part + len, "[]"))
			return len + 2;
		if (part[len] != ' ')
			return len + strspn(part + len, "<>=!+-*/%^&|~,");
	}
	while (part + len < end && part[len] != '<' && (part[len] != '[' || part[len + 1] == ']'))
		len++;
	return len;
}

static bool is_hash(const char *part, const char *end)
{
	return end - part == 17 && *part == 'h' && strspn(part + 1, "0123456789abcdef") >= 16;
}

void function_name__parse(const char *text, struct function_name *ret)
{
	struct scan scan = {.at = text, .path = text, .last = text, .before_last = text};
	const char *end;

	while (*scan.at) {
		if (skip_operator(&scan, text))
			continue;
		if (strchr("<>(){}[]", *scan.at)) {
			if (!skip_bracket(&scan, text))
				break;
			continue;
		}
		if (!scan.depth && *scan.at == ' ' && !scan.is_operator) {
			if (scan.at[1] == '[') /* "f [clone .cold]" */
				break;
			if (scan.at[1] != '(' || begins(scan.at + 1, "(anonymous namespace)"))
				scan.path = scan.last = scan.before_last = scan.at + 1;
		} else if (!scan.depth && !scan.is_operator && begins(scan.at, "::")) {
			scan.before_last = scan.last;
			scan.last = scan.at + 2;
			scan.at++;
		}
		scan.at++;
	}
	end = scan.at;
	ret->path = (struct name_part){scan.path, end - scan.path};
	/* "Vec::push::h0123456789abcdef", "Vec::push::<u8>" */
	if (is_hash(scan.last, end) || (*scan.last == '<' && scan.last > scan.before_last)) {
		end = scan.last > scan.path ? scan.last - 2 : end;
		scan.last = scan.before_last;
	}
	if (scan.last > end)
		scan.last = end;
	ret->last = (struct name_part){scan.last, part_len(scan.last, end)};
}
