/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each test has a root directory of its own with the state that the runtimes would have there. */
#include "unit/state_files.h"

#include "discover/cgroup_name.h"
#include "discover/container_state.h"
#include "discover/container_state_json.h"

#define H1 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define H2 "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define UID "12345678-90ab-cdef-1234-567890abcdef"
#define UID_ "12345678_90ab_cdef_1234_567890abcdef"
#define POD "/kubepods.slice/kubepods-pod" UID_ ".slice"
#define BARE_POD "/kubepods/burstable/pod" UID
#define DOCKER "/var/lib/docker/containers/" H1 "/config.v2.json"
#define TASKS "/io.containerd.runtime.v2.task/"
#define CRIO "/run/containers/storage/overlay-containers/" H1 "/userdata/config.json"
#define PODMAN "/var/lib/containers/storage/overlay-containers/"

static struct cgroup_name name_of(const char *path)
{
	struct cgroup_name name;

	assert_int_equal(cgroup_name__of(path, work_dir, &name), 0);
	assert_string_equal(name.path, path);
	return name;
}

static void assert_title(const char *path, const char *title)
{
	struct cgroup_name name = name_of(path);

	assert_string_equal(cgroup_name__display(&name), title);
	cgroup_name__free(&name);
}

static void assert_pod(const struct cgroup_name *name, const char *image)
{
	assert_string_equal(name->pod, "web-0");
	assert_string_equal(name->pod_namespace, "shop");
	assert_string_equal(name->pod_uid, UID);
	assert_string_equal(name->pod_container, "nginx");
	assert_string_equal(name->image, image);
	assert_string_equal(name->title, "shop/web-0/nginx");
}

/* ---- each runtime's state ------------------------------------------------------------------- */

static void test_docker(void **state)
{
	struct cgroup_name name;

	(void)state;
	write_text(DOCKER, "{\"ID\":\"" H1 "\",\"Name\":\"/shop_db\",\"Image\":\"sha256:00\","
			   "\"Config\":{\"Image\":\"postgres:16\",\"Labels\":{}}}");
	name = name_of("/system.slice/docker-" H1 ".scope");
	assert_string_equal(name.container, "shop_db");
	assert_string_equal(name.image, "postgres:16");
	assert_string_equal(name.title, "shop_db");
	assert_true(cgroup_name__matches(&name, "shop_db"));
	cgroup_name__free(&name);
	name = name_of("/parent/" H1 "/below");
	assert_int_equal(name.runtime, RUNTIME_DOCKER);
	assert_string_equal(name.title, "shop_db");
	cgroup_name__free(&name);
	assert_title("/docker/" H2, "fedcba987654");
}

static void test_docker_in_kubernetes(void **state)
{
	struct cgroup_name name;

	(void)state;
	write_text(DOCKER, "{\"Name\":\"/k8s_nginx_web-0_shop\",\"Config\":{\"Image\":\"nginx@1\","
			   "\"Labels\":{\"io.kubernetes.container.name\":\"nginx\","
			   "\"io.kubernetes.pod.name\":\"web-0\","
			   "\"io.kubernetes.pod.namespace\":\"shop\","
			   "\"io.kubernetes.pod.uid\":\"other\"}}}");
	name = name_of(POD "/docker-" H1 ".scope");
	assert_pod(&name, "nginx@1");
	assert_string_equal(name.container, "k8s_nginx_web-0_shop");
	assert_true(cgroup_name__matches(&name, "shop/web-0"));
	assert_true(cgroup_name__matches(&name, "nginx"));
	cgroup_name__free(&name);
}

#define CRI_ANNOTATIONS                                                                            \
	"{\"ociVersion\":\"1.1.0\",\"annotations\":{"                                              \
	"\"io.kubernetes.cri.container-type\":\"container\","                                      \
	"\"io.kubernetes.cri.container-name\":\"nginx\","                                          \
	"\"io.kubernetes.cri.sandbox-name\":\"web-0\","                                            \
	"\"io.kubernetes.cri.sandbox-namespace\":\"shop\","                                        \
	"\"io.kubernetes.cri.sandbox-uid\":\"" UID "\","                                           \
	"\"io.kubernetes.cri.image-name\":\"docker.io/nginx:1\"}}"

static void test_containerd(void **state)
{
	struct cgroup_name name;

	(void)state;
	write_text("/run/containerd" TASKS "default/" H2 "/config.json",
		   "{\"annotations\":{\"nerdctl/name\":\"cache\"}}");
	write_text("/run/containerd" TASKS "k8s.io/" H1 "/config.json", CRI_ANNOTATIONS);
	name = name_of(POD "/cri-containerd-" H1 ".scope");
	assert_pod(&name, "docker.io/nginx:1");
	assert_string_equal(name.container, "nginx");
	cgroup_name__free(&name);
	name = name_of(BARE_POD "/" H1);
	assert_pod(&name, "docker.io/nginx:1");
	assert_int_equal(name.runtime, RUNTIME_CONTAINERD);
	cgroup_name__free(&name);
	assert_title("/default/" H2, "cache");
	assert_title("/system.slice/nerdctl-" H2 ".scope", "cache");
}

static void test_containerd_of_k3s(void **state)
{
	struct cgroup_name name;

	(void)state;
	write_text("/run/k3s/containerd" TASKS "k8s.io/" H1 "/config.json", CRI_ANNOTATIONS);
	name = name_of(BARE_POD "/" H1);
	assert_pod(&name, "docker.io/nginx:1");
	cgroup_name__free(&name);
}

static void test_containerd_pause(void **state)
{
	(void)state;
	write_text("/run/containerd" TASKS "k8s.io/" H1 "/config.json",
		   "{\"annotations\":{\"io.kubernetes.cri.sandbox-name\":\"web-0\","
		   "\"io.kubernetes.cri.sandbox-namespace\":\"shop\"}}");
	assert_title(BARE_POD "/" H1, "shop/web-0");
}

static void test_docker_without_config(void **state)
{
	struct cgroup_name name;

	(void)state;
	write_text("/run/containerd" TASKS "moby/" H1 "/config.json", "{\"annotations\":{}}");
	name = name_of("/parent/" H1);
	assert_int_equal(name.runtime, RUNTIME_DOCKER);
	assert_string_equal(name.title, "0123456789ab");
	cgroup_name__free(&name);
}

static void test_crio(void **state)
{
	struct cgroup_name name;

	(void)state;
	write_text(CRIO, "{\"annotations\":{\"io.container.manager\":\"cri-o\","
			 "\"io.kubernetes.container.name\":\"nginx\","
			 "\"io.kubernetes.cri-o.KubeName\":\"web-0\","
			 "\"io.kubernetes.cri-o.Namespace\":\"shop\","
			 "\"io.kubernetes.cri-o.Image\":\"0011\","
			 "\"io.kubernetes.cri-o.ImageName\":\"quay.io/nginx:1\"}}");
	name = name_of(POD "/crio-" H1 ".scope");
	assert_pod(&name, "quay.io/nginx:1");
	cgroup_name__free(&name);
	name = name_of(BARE_POD "/" H1);
	assert_int_equal(name.runtime, RUNTIME_CRIO);
	cgroup_name__free(&name);
}

static void test_podman(void **state)
{
	struct cgroup_name name;

	(void)state;
	write_text(CRIO, "{\"annotations\":{\"io.container.manager\":\"libpod\"}}");
	write_text(PODMAN "containers.json",
		   "[{\"id\":\"" H2 "\",\"names\":[\"other\"]},{\"id\":\"" H1 "\","
		   "\"names\":[\"shop-db\"],\"image\":\"aabb\","
		   "\"metadata\":\"{\\\"image-name\\\":\\\"docker.io/postgres:16\\\","
		   "\\\"name\\\":\\\"ignored\\\"}\"}]");
	name = name_of("/machine.slice/libpod-" H1 ".scope/container");
	assert_string_equal(name.container, "shop-db");
	assert_string_equal(name.image, "docker.io/postgres:16");
	assert_string_equal(name.title, "shop-db");
	cgroup_name__free(&name);
	name = name_of("/parent/" H1);
	assert_int_equal(name.runtime, RUNTIME_PODMAN);
	cgroup_name__free(&name);
	assert_title("/libpod_parent/libpod-" H2, "other");
}

static void test_podman_volatile(void **state)
{
	struct cgroup_name name;

	(void)state;
	write_text(PODMAN "containers.json", "[]");
	write_text(PODMAN "volatile-containers.json",
		   "[{\"id\":\"" H1 "\",\"image\":\"aabb\",\"metadata\":\"{\\\"name\\\":\\\"x\\\""
		   "}\"},{\"id\":\"" H2 "\",\"names\":[7],\"metadata\":\"{broken\"}]");
	name = name_of("/libpod_parent/libpod-" H1);
	assert_string_equal(name.container, "x");
	assert_string_equal(name.image, "aabb");
	cgroup_name__free(&name);
	assert_title("/libpod_parent/libpod-" H2, "fedcba987654");
}

static void test_runc(void **state)
{
	struct cgroup_name name;

	(void)state;
	write_text("/run/runc/job/state.json",
		   "{\"id\":\"job\",\"cgroup_paths\":{\"\":\"/sys/fs/cgroup/unified/batch/job\","
		   "\"memory\":\"/sys/fs/cgroup/memory/old/job\",\"cpu\":\"/sys/fs/cgroup/x\"}}");
	write_text("/run/runc/inner/state.json",
		   "{\"cgroup_paths\":{\"\":\"/sys/fs/cgroup/batch/job/inner\"}}");
	write_text("/run/runc/top/state.json",
		   "{\"cgroup_paths\":{\"\":\"/sys/fs/cgroup\",\"memory\":\"/sys/fs/cgroup/memory/"
		   "\"}}");
	write_text("/run/runc/strange/state.json", "{\"cgroup_paths\":{\"\":\"/etc/passwd\"}}");
	write_text("/run/runc/state.json", "{\"cgroup_paths\":{\"\":\"/sys/fs/cgroup/dot\"}}");
	write_text("/run/runc/bad id/state.json",
		   "{\"cgroup_paths\":{\"\":\"/sys/fs/cgroup/bad\"}}");
	name = name_of("/batch/job/sub");
	assert_int_equal(name.runtime, RUNTIME_RUNC);
	assert_string_equal(name.container_id, "job");
	assert_string_equal(name.container, "job");
	assert_string_equal(name.title, "job");
	cgroup_name__free(&name);
	assert_title("/old/job", "job");
	assert_title("/batch/job/inner/x", "inner");
	assert_title("/batch/jobs", "/batch/jobs");
	assert_title("/bad", "/bad");
	assert_title("/dot", "/dot");
	assert_title("/", "/");
	assert_title("/x", "/x");
	assert_title("/passwd", "/passwd");
}

/* ---- hostile state -------------------------------------------------------------------------- */

static void test_broken_json(void **state)
{
	static const char *const texts[] = {
		"",
		"{",
		"nul",
		"null",
		"7",
		"\"Name\"",
		"[]",
		"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
		"{\"Name\":7,\"Config\":[]}",
		"{\"Name\":[\"/x\"],\"Config\":{\"Image\":{},\"Labels\":\"x\"}}",
		"{\"Name\":null,\"Config\":null}",
		"{\"Name\":\"\",\"Config\":{\"Labels\":{\"io.kubernetes.pod.name\":false}}}",
		"{\"Name\":\"/\"}",
		"{\"Name\":\"/a\\u0000b\"}",
		"{\"Name\":\"/a\\u001b[31m\"}",
		"{\"Name\":\"/a\\nb\"}",
		"{\"Name\":\"/\xff\xfe\"}",
		"{\"Name\":\"/cut",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		write_text(DOCKER, texts[i]);
		write_text(CRIO, texts[i]);
		write_text(PODMAN "containers.json", texts[i]);
		write_text("/run/runc/x/state.json", texts[i]);
		write_text("/run/containerd" TASKS "k8s.io/" H1 "/config.json", texts[i]);
		assert_title("/docker/" H1, "0123456789ab");
		assert_title("/libpod_parent/libpod-" H1, "0123456789ab");
		assert_title(POD "/crio-" H1 ".scope", "pod 12345678/container 0123456789ab");
		assert_title("/x/" H1, "0123456789ab");
		assert_title("/x", "/x");
	}
	write_bytes(DOCKER, "{\"Name\":\"/a\0b\"}", 15);
	assert_title("/docker/" H1, "0123456789ab");
}

static void test_big_text(void **state)
{
	char *text = malloc(MAX_STATE_TEXT + 32);
	int len;

	(void)state;
	assert_non_null(text);
	len = sprintf(text, "{\"Name\":\"/");
	memset(text + len, 'n', MAX_STATE_TEXT - 1);
	strcpy(text + len + MAX_STATE_TEXT - 1, "\"}");
	write_text(DOCKER, text);
	text[len + MAX_STATE_TEXT - 1] = '\0';
	assert_title("/docker/" H1, text + len);
	strcpy(text + len + MAX_STATE_TEXT - 1, "n\"}");
	write_text(DOCKER, text);
	assert_title("/docker/" H1, "0123456789ab");
	free(text);
}

static void test_big_files(void **state)
{
	const size_t size = MAX_STATE_BYTES;
	struct json_object *object = NULL;
	char *text = malloc(size + 1);
	int fd;

	(void)state;
	fd = make_file(DOCKER);
	assert_int_equal(pwrite(fd, "{\"Name\":\"/big\"}", 15, 0), 15);
	assert_int_equal(ftruncate(fd, 100 << 20), 0);
	close(fd);
	assert_title("/docker/" H1, "0123456789ab");
	assert_int_equal(state_json__load(full_path(DOCKER), &object), -EFBIG);

	assert_non_null(text);
	memset(text, ' ', size);
	memcpy(text, "{\"Name\":\"/big\"}", 15);
	write_bytes(DOCKER, text, size);
	assert_title("/docker/" H1, "big");

	/* Small on disk, huge in memory */
	for (size_t i = 0; i < size; i += 4)
		memcpy(text + i, i ? "{}, " : "[[],", 4);
	assert_int_equal(state_json__parse(text, size, &object), -EBADMSG);
	for (size_t i = 1; i < size; i++)
		text[i] = i % 2 ? '1' : ',';
	assert_int_equal(state_json__parse(text, size, &object), -EBADMSG);
	assert_int_equal(state_json__parse(text, size + 1, &object), -EFBIG);
	assert_null(object);
	free(text);
}

static void test_strange_files(void **state)
{
	char *path = full_path(DOCKER), *other;
	struct json_object *object = NULL;

	(void)state;
	write_text(DOCKER, "{\"Name\":\"/real\"}");
	write_text("/elsewhere", "{\"Name\":\"/stolen\"}");
	assert_title("/docker/" H1, "real");
	assert_int_equal(unlink(path), 0);
	other = full_path("/elsewhere");
	assert_int_equal(symlink(other, path), 0);
	assert_title("/docker/" H1, "0123456789ab");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_title("/docker/" H1, "0123456789ab");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_title("/docker/" H1, "0123456789ab");
	assert_int_equal(state_json__load(strdup("/dev/zero"), &object), -ENXIO);
	assert_int_equal(state_json__load(NULL, &object), -ENOMEM);
	assert_null(object);
	free(other);
	free(path);
}

/* ---- finding groups ------------------------------------------------------------------------- */

static void make_group(const char *path)
{
	char *file;

	assert_true(asprintf(&file, "/cgroup%s/cgroup.procs", path) > 0);
	close(make_file(file));
	free(file);
}

static void assert_found(const char *wanted, const char *first, const char *second)
{
	char *mount = full_path("/cgroup");
	struct name_cache *names = name_cache__new(work_dir);
	struct cgroup_paths paths = {0};

	assert_non_null(names);
	assert_int_equal(containers__find_below(names, mount, wanted, &paths), 0);
	assert_int_equal(paths.list.cnt, second ? 2 : first ? 1 : 0);
	if (first)
		assert_string_equal(paths.list.items[0], first);
	if (second)
		assert_true(strcmp(paths.list.items[0], second) == 0 ||
			    strcmp(paths.list.items[1], second) == 0);
	cgroup_paths__free(&paths);
	name_cache__free(names);
	free(mount);
}

static void test_find(void **state)
{
	(void)state;
	write_text("/run/containerd" TASKS "k8s.io/" H1 "/config.json", CRI_ANNOTATIONS);
	write_text("/run/containerd" TASKS "k8s.io/" H2 "/config.json",
		   "{\"annotations\":{\"io.kubernetes.cri.container-name\":\"side\","
		   "\"io.kubernetes.cri.sandbox-name\":\"web-0\"}}");
	write_text("/run/runc/job/state.json", "{\"cgroup_paths\":{\"\":\"/sys/fs/cgroup/job\"}}");
	make_group(BARE_POD "/" H1 "/app/worker");
	make_group(BARE_POD "/" H2);
	make_group("/job/step");
	make_group("/lxc.payload.c1/system.slice/nginx.service");
	make_group("/system.slice/nginx.service");
	assert_found("nginx", BARE_POD "/" H1, NULL);
	assert_found("shop/web-0", BARE_POD "/" H1, NULL);
	assert_found("01234567", BARE_POD "/" H1, NULL);
	assert_found("side", BARE_POD "/" H2, NULL);
	assert_found("job", "/job", NULL);
	assert_found("c1", "/lxc.payload.c1", NULL);
	assert_found("nginx.service", "/system.slice/nginx.service",
		     "/lxc.payload.c1/system.slice/nginx.service");
	assert_found("nobody", NULL, NULL);
	assert_found("", NULL, NULL);
}

static void test_find_pod(void **state)
{
	struct name_cache *names = name_cache__new(work_dir);
	struct cgroup_paths paths = {0};
	char *mount = full_path("/cgroup");

	(void)state;
	write_text("/run/containerd" TASKS "k8s.io/" H1 "/config.json", CRI_ANNOTATIONS);
	write_text("/run/containerd" TASKS "k8s.io/" H2 "/config.json", CRI_ANNOTATIONS);
	make_group(BARE_POD "/" H1);
	make_group(BARE_POD "/" H2);
	assert_int_equal(containers__find_below(names, mount, "web-0", &paths), 0);
	assert_int_equal(paths.list.cnt, 2);
	cgroup_paths__free(&paths);
	name_cache__free(names);
	free(mount);
}

static void test_find_is_bounded(void **state)
{
	struct name_cache *names = name_cache__new(work_dir);
	struct cgroup_paths paths = {0};
	char *mount = full_path("/cgroup"), path[256] = "", *loop = full_path("/cgroup/a/loop");

	(void)state;
	for (int i = 0; i < 40; i++)
		strcat(path, "/a");
	strcat(path, "/deep.service");
	make_group(path);
	make_group("/b/near.service");
	assert_int_equal(symlink(mount, loop), 0);
	assert_int_equal(containers__find_below(names, mount, "deep.service", &paths), -E2BIG);
	assert_int_equal(paths.list.cnt, 0);
	assert_int_equal(containers__find_below(names, mount, "near.service", &paths), 0);
	assert_int_equal(paths.list.cnt, 1);
	assert_string_equal(paths.list.items[0], "/b/near.service");
	cgroup_paths__free(&paths);
	assert_int_equal(containers__find_below(names, "/nowhere", "x", &paths), 0);
	assert_int_equal(paths.list.cnt, 0);
	name_cache__free(names);
	free(loop);
	free(mount);
}

/* On the host that runs the tests, whatever is mounted there. */
static void test_find_here(void **state)
{
	struct name_cache *names = name_cache__new(work_dir);
	size_t cnt = 7;
	char **paths;
	int err;

	(void)state;
	assert_non_null(names);
	err = containers__find(names, "no-such-container-here", &paths, &cnt);
	name_cache__free(names);
	assert_true(err == 0 || err == -ENOENT || err == -E2BIG);
	if (err) {
		assert_int_equal(cnt, 7);
		return;
	}
	assert_int_equal(cnt, 0);
	free(paths);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_work_dir, remove_work_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_docker),
		IN_DIR(test_docker_in_kubernetes),
		IN_DIR(test_containerd),
		IN_DIR(test_containerd_of_k3s),
		IN_DIR(test_containerd_pause),
		IN_DIR(test_docker_without_config),
		IN_DIR(test_crio),
		IN_DIR(test_podman),
		IN_DIR(test_podman_volatile),
		IN_DIR(test_runc),
		IN_DIR(test_broken_json),
		IN_DIR(test_big_text),
		IN_DIR(test_big_files),
		IN_DIR(test_strange_files),
		IN_DIR(test_find),
		IN_DIR(test_find_pod),
		IN_DIR(test_find_is_bounded),
		IN_DIR(test_find_here),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
