/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "discover/cgroup_name.h"

#define H1 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define H2 "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define UID "12345678-90ab-cdef-1234-567890abcdef"
#define UID_ "12345678_90ab_cdef_1234_567890abcdef"
#define PODS "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_ ".slice"
#define USER "/user.slice/user-1000.slice/user@1000.service"

struct golden {
	const char *path, *runtime, *service, *id, *container, *pod_uid, *title;
};

static void check_golden(const struct golden *cases, size_t cnt)
{
	struct cgroup_name name;

	for (size_t i = 0; i < cnt; i++) {
		const struct golden *want = &cases[i];

		assert_int_equal(cgroup_name__parse(want->path, &name), 0);
		assert_string_equal(name.path, want->path);
		if (strcmp(name.title, want->title))
			print_error("%s\n", want->path);
		assert_string_equal(name.title, want->title);
		assert_string_equal(cgroup_runtime__name(name.runtime), want->runtime);
		assert_string_equal(name.service, want->service);
		assert_string_equal(name.container_id, want->id);
		assert_string_equal(name.container, want->container);
		assert_string_equal(name.pod_uid, want->pod_uid);
		assert_string_equal(name.image, "");
		assert_string_equal(name.pod, "");
		assert_string_equal(name.pod_namespace, "");
		assert_string_equal(name.pod_container, "");
		assert_ptr_equal(cgroup_name__display(&name), name.title);
		cgroup_name__free(&name);
	}
}

#define CHECK(cases) check_golden(cases, sizeof(cases) / sizeof((cases)[0]))

static void test_docker_and_podman(void **state)
{
	static const struct golden cases[] = {
		{"/system.slice/docker-" H1 ".scope", "docker", "docker-" H1 ".scope", H1, "", "",
		 "0123456789ab"},
		{"/docker/" H1, "docker", "", H1, "", "", "0123456789ab"},
		{"/docker/" H1 "/init", "docker", "", H1, "", "", "0123456789ab"},
		{"/docker/" H1 "/docker/" H2, "docker", "", H2, "", "", "fedcba987654"},
		{"/docker/" H1 "/system.slice/nginx.service", "docker", "nginx.service", H1, "", "",
		 "0123456789ab"},
		{USER "/app.slice/docker-" H1 ".scope", "docker", "docker-" H1 ".scope", H1, "", "",
		 "0123456789ab"},
		{"/machine.slice/libpod-" H1 ".scope/container", "podman", "libpod-" H1 ".scope",
		 H1, "", "", "0123456789ab"},
		{"/libpod_parent/libpod-" H1, "podman", "", H1, "", "", "0123456789ab"},
		{"/libpod_parent/" H2 "/libpod-" H1, "podman", "", H1, "", "", "0123456789ab"},
		{USER "/user.slice/libpod-" H1 ".scope", "podman", "libpod-" H1 ".scope", H1, "",
		 "", "0123456789ab"},
		{"/system.slice/web.service/libpod-payload-" H1, "podman", "web.service", H1, "",
		 "", "0123456789ab"},
		{"/machine.slice/libpod-conmon-" H1 ".scope", "", "libpod-conmon-" H1 ".scope", "",
		 "", "", "libpod-conmon-" H1 ".scope"},
		{"/" H1, "unknown", "", H1, "", "", "0123456789ab"},
		{"/ecs/task/" H1, "unknown", "", H1, "", "", "0123456789ab"},
		{"/system.slice/other-" H1 ".scope", "unknown", "other-" H1 ".scope", H1, "", "",
		 "0123456789ab"},
		{"/system.slice/nerdctl-" H1 ".scope", "containerd", "nerdctl-" H1 ".scope", H1, "",
		 "", "0123456789ab"},
	};

	(void)state;
	CHECK(cases);
}

static void test_kubernetes(void **state)
{
	static const struct golden cases[] = {
		{PODS "/cri-containerd-" H1 ".scope", "containerd", "cri-containerd-" H1 ".scope",
		 H1, "", UID, "pod 12345678/container 0123456789ab"},
		{PODS "/crio-" H1 ".scope/container", "cri-o", "crio-" H1 ".scope", H1, "", UID,
		 "pod 12345678/container 0123456789ab"},
		{PODS "/crio-conmon-" H1 ".scope", "", "crio-conmon-" H1 ".scope", "", "", UID,
		 "crio-conmon-" H1 ".scope"},
		{PODS "/docker-" H1 ".scope", "docker", "docker-" H1 ".scope", H1, "", UID,
		 "pod 12345678/container 0123456789ab"},
		{PODS, "", "", "", "", UID, PODS},
		{"/kubepods.slice/kubepods-pod" UID_ ".slice/crio-" H1, "cri-o", "", H1, "", UID,
		 "pod 12345678/container 0123456789ab"},
		{"/kubepods/burstable/pod" UID "/" H1, "unknown", "", H1, "", UID,
		 "pod 12345678/container 0123456789ab"},
		{"/kubepods/pod0123456789abcdef0123456789abcdef/" H1, "unknown", "", H1, "",
		 "0123456789abcdef0123456789abcdef", "pod 01234567/container 0123456789ab"},
		{"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/"
		 "kubelet-kubepods-besteffort-pod" UID_ ".slice/cri-containerd-" H1 ".scope",
		 "containerd", "cri-containerd-" H1 ".scope", H1, "", UID,
		 "pod 12345678/container 0123456789ab"},
		{"/system.slice/containerd.service/kubepods-burstable-pod" UID_
		 ".slice:cri-containerd:" H1,
		 "containerd", "containerd.service", H1, "", UID,
		 "pod 12345678/container 0123456789ab"},
		{"/podlike/pod" UID, "", "", "", "", "", "/podlike/pod" UID},
		{"/kubepods/burstable/podlike", "", "", "", "", "", "/kubepods/burstable/podlike"},
	};

	(void)state;
	CHECK(cases);
}

static void test_named_containers(void **state)
{
	static const struct golden cases[] = {
		{"/lxc.payload.web-1", "lxc", "", "web-1", "web-1", "", "web-1"},
		{"/lxc.payload.web/system.slice/ssh.service", "lxc", "ssh.service", "web", "web",
		 "", "web"},
		{"/lxc.payload/web/init.scope", "lxc", "init.scope", "web", "web", "", "web"},
		{"/lxc/101/ns", "lxc", "", "101", "101", "", "101"},
		{"/lxc.payload.a\\x2db", "lxc", "", "a\\x2db", "a\\x2db", "", "a\\x2db"},
		{"/lxc.monitor.web", "", "", "", "", "", "/lxc.monitor.web"},
		{"/lxc", "", "", "", "", "", "/lxc"},
		{"/machine.slice/systemd-nspawn@deb12.service/payload", "nspawn",
		 "systemd-nspawn@deb12.service", "deb12", "deb12", "", "deb12"},
		{"/machine.slice/machine-my\\x2dbox.scope", "nspawn", "machine-my\\x2dbox.scope",
		 "my-box", "my-box", "", "my-box"},
		{"/machine.slice/machine-lxc\\x2d7\\x2dold.scope", "lxc",
		 "machine-lxc\\x2d7\\x2dold.scope", "7-old", "7-old", "", "7-old"},
		{"/machine.slice/machine-qemu\\x2d1\\x2dvm.scope", "",
		 "machine-qemu\\x2d1\\x2dvm.scope", "", "", "", "machine-qemu\\x2d1\\x2dvm.scope"},
		{"/system.slice/runc-job_7.scope", "runc", "runc-job_7.scope", "job_7", "job_7", "",
		 "job_7"},
	};

	(void)state;
	CHECK(cases);
}

static void test_units(void **state)
{
	static const struct golden cases[] = {
		{"/system.slice/nginx.service", "", "nginx.service", "", "", "", "nginx.service"},
		{"/system.slice/nginx.service/workers/2", "", "nginx.service", "", "", "",
		 "nginx.service"},
		{USER "/app.slice/x.service", "", "x.service", "", "", "", "x.service"},
		{USER "/init.scope", "", "init.scope", "", "", "", "init.scope"},
		{"/user.slice/user-1000.slice/session-3.scope", "", "session-3.scope", "", "", "",
		 "session-3.scope"},
		{"/system.slice/system-getty.slice/getty@tty1.service", "", "getty@tty1.service",
		 "", "", "", "getty@tty1.service"},
		{"/system.slice/a\\x2db.service", "", "a\\x2db.service", "", "", "",
		 "a\\x2db.service"},
		{"/system.slice/_cpu.service", "", "cpu.service", "", "", "", "cpu.service"},
		{"/system.slice/docker.socket", "", "docker.socket", "", "", "", "docker.socket"},
		{"/system.slice", "", "", "", "", "", "/system.slice"},
		{"/system.slice/.service", "", "", "", "", "", "/system.slice/.service"},
		{"/", "", "", "", "", "", "/"},
		{"", "", "", "", "", "", ""},
	};

	(void)state;
	CHECK(cases);
}

static void test_hostile_paths(void **state)
{
	static const struct golden cases[] = {
		{"/docker/../../etc", "", "", "", "", "", "/docker/../../etc"},
		{"/../..", "", "", "", "", "", "/../.."},
		{"/docker/" H1 "/..", "docker", "", H1, "", "", "0123456789ab"},
		{"/lxc/..", "", "", "", "", "", "/lxc/.."},
		{"//docker//" H1 "//", "docker", "", H1, "", "", "0123456789ab"},
		{"docker/" H1, "docker", "", H1, "", "", "0123456789ab"},
		{"/docker-0123456789a/" H1 "0", "", "", "", "", "", "/docker-0123456789a/" H1 "0"},
		{"/docker-" H1 "0.scope", "", "docker-" H1 "0.scope", "", "", "",
		 "docker-" H1 "0.scope"},
		{"/docker-.scope", "", "docker-.scope", "", "", "", "docker-.scope"},
		{"/docker-%2e%2e%2fetc0000.scope", "", "docker-%2e%2e%2fetc0000.scope", "", "", "",
		 "docker-%2e%2e%2fetc0000.scope"},
		{"/docker-0123456789ABCDEF.scope", "", "docker-0123456789ABCDEF.scope", "", "", "",
		 "docker-0123456789ABCDEF.scope"},
		{"/machine-a\\x2.scope", "nspawn", "machine-a\\x2.scope", "a\\x2", "a\\x2", "",
		 "a\\x2"},
		{"/machine-a\\x.scope", "nspawn", "machine-a\\x.scope", "a\\x", "a\\x", "", "a\\x"},
		{"/machine-a\\x00b\\x2fc\\x0a.scope", "nspawn", "machine-a\\x00b\\x2fc\\x0a.scope",
		 "a\\x00b\\x2fc\\x0a", "a\\x00b\\x2fc\\x0a", "", "a\\x00b\\x2fc\\x0a"},
		{"/machine-\xff\xfe.scope", "nspawn", "machine-\xff\xfe.scope", "\xff\xfe",
		 "\xff\xfe", "", "\xff\xfe"},
		{"/a\xc3.service", "", "a\xc3.service", "", "", "", "a\xc3.service"},
		{"/:::", "", "", "", "", "", "/:::"},
		{"/a:b:", "", "", "", "", "", "/a:b:"},
		{"/a:b:.scope", "", "a:b:.scope", "", "", "", "a:b:.scope"},
		{"/kubepods-pod.slice", "", "", "", "", "", "/kubepods-pod.slice"},
		{"/kubepods-pod../../x.slice", "", "", "", "", "", "/kubepods-pod../../x.slice"},
		{"/lxc.payload.", "", "", "", "", "", "/lxc.payload."},
	};

	(void)state;
	CHECK(cases);
}

static void test_long_path(void **state)
{
	const size_t len = 4 << 20;
	struct cgroup_name name;
	char *path = malloc(len + 1);

	(void)state;
	assert_non_null(path);
	memset(path, 'a', len);
	path[0] = '/';
	path[len] = '\0';
	assert_int_equal(cgroup_name__parse(path, &name), 0);
	assert_string_equal(name.title, path);
	cgroup_name__free(&name);
	for (size_t i = 0; i + 1 < len; i += 2)
		memcpy(path + i, "/0", 2);
	assert_int_equal(cgroup_name__parse(path, &name), 0);
	assert_int_equal(name.runtime, RUNTIME_NONE);
	cgroup_name__free(&name);
	free(path);
}

/* Any mixture of what the parser looks for must pass, and keep its promises. */
static void test_mixtures(void **state)
{
	static const char *const words[] = {
		"/",
		"docker",
		"-",
		":",
		".scope",
		".slice",
		".service",
		"lxc",
		"lxc.payload.",
		"machine-",
		"\\x2d",
		"\\x",
		"kubepods",
		"-pod",
		"pod",
		H1,
		UID,
		"conmon-",
		"libpod-payload",
		"systemd-nspawn@",
		"runc-",
		"_",
		"libpod_parent",
		"..",
		"crio",
		"0123456789ab",
	};
	const size_t cnt = sizeof(words) / sizeof(words[0]);
	struct cgroup_name name;
	uint32_t seed = 1;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		char path[512] = "";

		for (int i = 0; i < 7; i++) {
			seed = seed * 1664525 + 1013904223;
			strcat(path, words[(seed >> 16) % cnt]);
		}
		assert_int_equal(cgroup_name__parse(path, &name), 0);
		assert_int_equal(name.runtime == RUNTIME_NONE, !*name.container_id);
		assert_null(strchr(name.container_id, '/'));
		assert_null(strchr(name.pod_uid, '/'));
		assert_non_null(name.title);
		cgroup_name__free(&name);
	}
}

static bool matches(const char *path, const char *wanted)
{
	struct cgroup_name name;
	bool is;

	assert_int_equal(cgroup_name__parse(path, &name), 0);
	is = cgroup_name__matches(&name, wanted);
	cgroup_name__free(&name);
	return is;
}

static void test_matches(void **state)
{
	static char none[] = "", pod[] = "web-0", space[] = "shop", inside[] = "nginx";
	static char title[] = "shop/web-0/nginx";
	struct cgroup_name name = {.path = none,
				   .service = none,
				   .container_id = none,
				   .container = inside,
				   .image = none,
				   .pod = pod,
				   .pod_namespace = space,
				   .pod_uid = none,
				   .pod_container = inside,
				   .title = title};

	(void)state;
	assert_true(matches("/docker/" H1, H1));
	assert_true(matches("/docker/" H1, "01234567"));
	assert_false(matches("/docker/" H1, "0123456"));
	assert_false(matches("/docker/" H1, "01234568"));
	assert_false(matches("/docker/" H1, H1 "0"));
	assert_false(matches("/docker/" H1, ""));
	assert_false(matches("/", ""));
	assert_false(matches("/", "/x"));
	assert_true(matches("/system.slice/nginx.service/a", "nginx.service"));
	assert_false(matches("/system.slice/nginx.service/a", "nginx"));
	assert_true(matches("/lxc.payload.web", "web"));
	assert_true(matches("/lxc.payload.deadbeef", "deadbeef"));
	assert_false(matches("/lxc.payload.deadbeef-not-hex", "deadbeef"));
	assert_true(cgroup_name__matches(&name, "web-0"));
	assert_true(cgroup_name__matches(&name, "shop/web-0"));
	assert_true(cgroup_name__matches(&name, "shop/web-0/nginx"));
	assert_true(cgroup_name__matches(&name, "nginx"));
	assert_false(cgroup_name__matches(&name, "shop"));
	assert_false(cgroup_name__matches(&name, "shop/"));
	assert_false(cgroup_name__matches(&name, "/web-0"));
	assert_false(cgroup_name__matches(&name, "shopweb-0"));
}

static void test_runtime_names(void **state)
{
	(void)state;
	assert_string_equal(cgroup_runtime__name(RUNTIME_CRIO), "cri-o");
	assert_string_equal(cgroup_runtime__name(RUNTIME_UNKNOWN), "unknown");
	assert_string_equal(cgroup_runtime__name((enum cgroup_runtime)99), "unknown");
	assert_string_equal(cgroup_runtime__name((enum cgroup_runtime) - 1), "unknown");
}

static void test_free_twice(void **state)
{
	struct cgroup_name name;

	(void)state;
	assert_int_equal(cgroup_name__parse("/docker/" H1, &name), 0);
	cgroup_name__free(&name);
	cgroup_name__free(&name);
	assert_null(name.title);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_docker_and_podman), cmocka_unit_test(test_kubernetes),
		cmocka_unit_test(test_named_containers),  cmocka_unit_test(test_units),
		cmocka_unit_test(test_hostile_paths),	  cmocka_unit_test(test_long_path),
		cmocka_unit_test(test_mixtures),	  cmocka_unit_test(test_matches),
		cmocka_unit_test(test_runtime_names),	  cmocka_unit_test(test_free_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
