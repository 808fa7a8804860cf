/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A path is read part by part from the root down; each part may name a unit, a pod or a container,
 * and the innermost of each kind counts. Nothing is copied before the end.
 */
#include "discover/cgroup_name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "discover/container_state.h"
#include "util/format.h"

#define ID_LEN 64	/* hex digits of a container id */
#define SHORT_ID_LEN 12 /* what runtimes show of one */
#define SHORT_UID_LEN 8 /* of a pod's: the first group of a UUID */
#define MIN_ID_PREFIX 8 /* hex digits that a user has to give */
#define MIN_POD_UID 8
#define MAX_POD_UID 64 /* a UUID has 36, the hash of a static pod's manifest 32 */
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

struct part {
	const char *text;
	size_t len;
};

struct shape {
	enum cgroup_runtime runtime;
	struct part service, pod_uid;
	struct part id;	 /* hex id or name */
	bool is_name;	 /* `id` is what people call the container */
	bool is_escaped; /* as systemd does */
	bool in_kubepods;
	struct part parent;
};

static const struct {
	const char *prefix;
	enum cgroup_runtime runtime;
} id_prefixes[] = {
	{"docker", RUNTIME_DOCKER},	    {"cri-containerd", RUNTIME_CONTAINERD},
	{"nerdctl", RUNTIME_CONTAINERD},    {"crio", RUNTIME_CRIO},
	{"libpod-payload", RUNTIME_PODMAN}, {"libpod", RUNTIME_PODMAN},
};

static const struct {
	const char *prefix, *suffix;
	enum cgroup_runtime runtime;
	bool is_escaped;
} name_shapes[] = {
	{"lxc.payload.", "", RUNTIME_LXC, false},
	{"systemd-nspawn@", ".service", RUNTIME_NSPAWN, true},
	{"machine-lxc\\x2d", ".scope", RUNTIME_LXC, true},   /* libvirt's */
	{"machine-qemu\\x2d", ".scope", RUNTIME_NONE, true}, /* a virtual machine */
	{"machine-", ".scope", RUNTIME_NSPAWN, true},
	{"runc-", ".scope", RUNTIME_RUNC, false},
};

/* ---- parts of a path ------------------------------------------------------------------------ */

static bool part_is(struct part part, const char *text)
{
	return part.len == strlen(text) && memcmp(part.text, text, part.len) == 0;
}

static bool cut_prefix(struct part *part, const char *prefix)
{
	size_t len = strlen(prefix);

	if (part->len < len || memcmp(part->text, prefix, len) != 0)
		return false;
	part->text += len;
	part->len -= len;
	return true;
}

static bool cut_suffix(struct part *part, const char *suffix)
{
	size_t len = strlen(suffix);

	if (part->len < len || memcmp(part->text + part->len - len, suffix, len) != 0)
		return false;
	part->len -= len;
	return true;
}

static bool is_hex(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!strchr("0123456789abcdef", text[i]) || !text[i])
			return false;
	}
	return true;
}

/* Looks for the last place where `needle` begins. */
static const char *find_last(struct part part, const char *needle)
{
	size_t len = strlen(needle);

	for (size_t i = part.len; i-- > 0;) {
		if (part.len - i >= len && memcmp(part.text + i, needle, len) == 0)
			return part.text + i;
	}
	return NULL;
}

/* ---- what a part names ---------------------------------------------------------------------- */

static void read_service(struct shape *shape, struct part part)
{
	static const char *const suffixes[] = {".service", ".scope", ".socket", ".mount", ".swap"};

	cut_prefix(&part, "_");
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		struct part stem = part;

		if (cut_suffix(&stem, suffixes[i]) && stem.len)
			shape->service = part;
	}
}

/* Takes kubepods-burstable-podUID.slice, or podUID anywhere below a part with "kubepods". */
static void read_pod(struct shape *shape, struct part part)
{
	bool names_kubepods = find_last(part, "kubepods") != NULL;
	const char *mark = names_kubepods ? find_last(part, "-pod") : NULL;

	if (mark && cut_suffix(&part, ".slice")) {
		part.len -= (size_t)(mark - part.text);
		part.text = mark;
		cut_prefix(&part, "-pod");
	} else if (!shape->in_kubepods || !cut_prefix(&part, "pod")) {
		part.len = 0;
	}
	shape->in_kubepods |= names_kubepods;
	if (part.len < MIN_POD_UID || part.len > MAX_POD_UID)
		return;
	for (size_t i = 0; i < part.len; i++) {
		if (!is_hex(&part.text[i], 1) && part.text[i] != '-' && part.text[i] != '_')
			return;
	}
	shape->pod_uid = part;
}

static void set_id(struct shape *shape, enum cgroup_runtime runtime, struct part id)
{
	shape->runtime = runtime;
	shape->id = id;
	shape->is_name = shape->is_escaped = false;
}

static void set_name(struct shape *shape, enum cgroup_runtime runtime, struct part name,
		     bool is_escaped)
{
	shape->runtime = runtime;
	shape->id = name;
	shape->is_name = true;
	shape->is_escaped = is_escaped;
}

/* Takes PREFIX-ID, and containerd's PREFIX:ID. */
static bool read_prefixed_id(struct shape *shape, struct part part)
{
	for (size_t i = 0; i < ARRAY_LEN(id_prefixes); i++) {
		struct part id = part;

		if (!cut_prefix(&id, id_prefixes[i].prefix) ||
		    !(cut_prefix(&id, "-") || cut_prefix(&id, ":")))
			continue;
		if (id.len >= SHORT_ID_LEN && id.len <= ID_LEN && is_hex(id.text, id.len)) {
			set_id(shape, id_prefixes[i].runtime, id);
			return true;
		}
	}
	return false;
}

static bool read_named(struct shape *shape, struct part part)
{
	for (size_t i = 0; i < ARRAY_LEN(name_shapes); i++) {
		struct part name = part;

		if (!cut_prefix(&name, name_shapes[i].prefix) ||
		    !cut_suffix(&name, name_shapes[i].suffix) || !name.len)
			continue;
		if (name_shapes[i].runtime != RUNTIME_NONE)
			set_name(shape, name_shapes[i].runtime, name, name_shapes[i].is_escaped);
		return true;
	}
	if (!part_is(shape->parent, "lxc") && !part_is(shape->parent, "lxc.payload"))
		return false;
	set_name(shape, RUNTIME_LXC, part, false);
	return true;
}

/* Takes a full id alone, or behind a prefix that nobody here knows. */
static void read_other_id(struct shape *shape, struct part part, bool is_scope)
{
	enum cgroup_runtime runtime = RUNTIME_UNKNOWN;
	struct part id = part, prefix = part;

	if (part.len < ID_LEN)
		return;
	prefix.len -= ID_LEN;
	id.text += prefix.len;
	id.len = ID_LEN;
	if (!is_hex(id.text, id.len))
		return;
	if (prefix.len && (!is_scope || !cut_suffix(&prefix, "-") || cut_suffix(&prefix, "conmon")))
		return;
	if (part.len == ID_LEN && part_is(shape->parent, "docker"))
		runtime = RUNTIME_DOCKER;
	else if (part.len == ID_LEN && part_is(shape->parent, "libpod_parent"))
		runtime = RUNTIME_PODMAN;
	set_id(shape, runtime, id);
}

static void read_part(struct shape *shape, struct part part)
{
	const char *colon = memchr(part.text, ':', part.len);
	struct part slice = part, id = part;
	bool is_scope = cut_suffix(&id, ".scope");

	/* SLICE:PREFIX:ID, a path for systemd that a runtime without it took literally */
	if (colon && memchr(colon + 1, ':', (size_t)(part.text + part.len - colon - 1))) {
		slice.len = (size_t)(colon - part.text);
		id.len -= slice.len + 1;
		id.text = colon + 1;
	}
	read_service(shape, part);
	read_pod(shape, slice);
	if (!read_prefixed_id(shape, id) && !read_named(shape, part))
		read_other_id(shape, id, is_scope);
	shape->parent = part;
}

static void read_path(struct shape *shape, const char *path)
{
	for (path += strspn(path, "/"); *path; path += strspn(path, "/")) {
		struct part part = {path, strcspn(path, "/")};

		if (!part_is(part, ".") && !part_is(part, ".."))
			read_part(shape, part);
		path += part.len;
	}
}

/* ---- the name ------------------------------------------------------------------------------- */

int cgroup_name__set(char **field, const char *text, size_t len)
{
	char *copy = strndup(text, len);

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

/* Undoes \xHH in place; an escape that is cut short or hides a control character stays. */
static void unescape(char *text)
{
	char *out = text;

	for (char *in = text; *in; out++) {
		unsigned long byte = 0;

		if (in[0] == '\\' && in[1] == 'x' && in[2] && in[3] && is_hex(in + 2, 2)) {
			char digits[] = {in[2], in[3], '\0'};

			byte = strtoul(digits, NULL, 16);
		}
		if (byte >= ' ' && byte != 0x7f && byte != '/') {
			*out = (char)byte;
			in += 4;
		} else {
			*out = *in++;
		}
	}
	*out = '\0';
}

static int set_container_fields(struct cgroup_name *name, const struct shape *shape)
{
	int err = cgroup_name__set(&name->container_id, shape->id.text, shape->id.len);

	if (err || !shape->is_name)
		return err;
	if (shape->is_escaped)
		unescape(name->container_id);
	return cgroup_name__set(&name->container, name->container_id, strlen(name->container_id));
}

/* Makes all fields, empty but the path. */
static int init_fields(struct cgroup_name *name, const char *path)
{
	char **fields[] = {&name->service, &name->container_id,	 &name->container,
			   &name->image,   &name->pod,		 &name->pod_namespace,
			   &name->pod_uid, &name->pod_container, &name->title};
	int err = cgroup_name__set(&name->path, path, strlen(path));

	for (size_t i = 0; !err && i < ARRAY_LEN(fields); i++)
		err = cgroup_name__set(fields[i], "", 0);
	return err;
}

int cgroup_name__set_title(struct cgroup_name *name)
{
	bool in_namespace = *name->pod_namespace, in_pod = *name->pod_container;
	char *title;

	if (*name->pod)
		title = format_text("%s%s%s%s%s", name->pod_namespace, in_namespace ? "/" : "",
				    name->pod, in_pod ? "/" : "", name->pod_container);
	else if (*name->container)
		title = strdup(name->container);
	else if (*name->container_id && *name->pod_uid)
		title = format_text("pod %.*s/container %.*s", SHORT_UID_LEN, name->pod_uid,
				    SHORT_ID_LEN, name->container_id);
	else if (*name->container_id)
		title = strndup(name->container_id, SHORT_ID_LEN);
	else
		title = strdup(*name->service ? name->service : name->path);
	if (!title)
		return -ENOMEM;
	free(name->title);
	name->title = title;
	return 0;
}

int cgroup_name__parse(const char *path, struct cgroup_name *ret)
{
	struct shape shape = {
		.service.text = "", .pod_uid.text = "", .id.text = "", .parent.text = ""};
	struct cgroup_name name = {0};
	int err;

	read_path(&shape, path);
	name.runtime = shape.runtime;
	err = init_fields(&name, path);
	if (!err)
		err = cgroup_name__set(&name.service, shape.service.text, shape.service.len);
	if (!err)
		err = cgroup_name__set(&name.pod_uid, shape.pod_uid.text, shape.pod_uid.len);
	if (!err)
		err = set_container_fields(&name, &shape);
	if (!err) {
		for (char *pos = name.pod_uid; (pos = strchr(pos, '_'));)
			*pos = '-';
		err = cgroup_name__set_title(&name);
	}
	if (err)
		cgroup_name__free(&name);
	else
		*ret = name;
	return err;
}

int cgroup_name__of(const char *path, const char *root, struct cgroup_name *ret)
{
	struct runc_groups runc = {0};
	struct cgroup_name name;
	int err;

	err = cgroup_name__parse(path, &name);
	if (err)
		return err;
	if (name.runtime == RUNTIME_NONE)
		err = runc_groups__read(root, &runc);
	if (!err)
		err = container_state__look_up(&name, root, &runc);
	runc_groups__free(&runc);
	if (err)
		cgroup_name__free(&name);
	else
		*ret = name;
	return err;
}

void cgroup_name__free(struct cgroup_name *name)
{
	free(name->path);
	free(name->service);
	free(name->container_id);
	free(name->container);
	free(name->image);
	free(name->pod);
	free(name->pod_namespace);
	free(name->pod_uid);
	free(name->pod_container);
	free(name->title);
	*name = (struct cgroup_name){0};
}

const char *cgroup_name__display(const struct cgroup_name *name)
{
	return name->title;
}

const char *cgroup_runtime__name(enum cgroup_runtime runtime)
{
	static const char *const names[] = {
		[RUNTIME_NONE] = "",
		[RUNTIME_DOCKER] = "docker",
		[RUNTIME_CONTAINERD] = "containerd",
		[RUNTIME_CRIO] = "cri-o",
		[RUNTIME_PODMAN] = "podman",
		[RUNTIME_LXC] = "lxc",
		[RUNTIME_NSPAWN] = "nspawn",
		[RUNTIME_RUNC] = "runc",
		[RUNTIME_UNKNOWN] = "unknown",
	};

	return (size_t)runtime < ARRAY_LEN(names) ? names[runtime] : "unknown";
}

static bool is_pod(const struct cgroup_name *name, const char *wanted)
{
	size_t len = strlen(name->pod_namespace);

	if (!*name->pod)
		return false;
	if (strcmp(name->pod, wanted) == 0)
		return true;
	return len && strncmp(wanted, name->pod_namespace, len) == 0 && wanted[len] == '/' &&
	       strcmp(wanted + len + 1, name->pod) == 0;
}

bool cgroup_name__matches(const struct cgroup_name *name, const char *wanted)
{
	const char *exact[] = {name->container, name->container_id, name->pod_container,
			       name->title, name->service};
	size_t len = strlen(wanted);

	if (!len)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(exact); i++) {
		if (strcmp(exact[i], wanted) == 0)
			return true;
	}
	if (len >= MIN_ID_PREFIX && is_hex(wanted, len) &&
	    is_hex(name->container_id, strlen(name->container_id)) &&
	    strncmp(name->container_id, wanted, len) == 0)
		return true;
	return is_pod(name, wanted);
}
