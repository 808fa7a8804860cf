/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Programs that were not written for this: the tool's numbers equal those of a count made inside
 * the process. What was seen, and why numbers of different runs differ, is in
 * tests/REAL_PROGRAMS.md.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/harness.h"
#include "lib/inside.h"

/* A server that outlives the tool which started it, to be killed however the test ends. */
static pid_t server_pid;

static int kill_server(void **state)
{
	if (server_pid > 0)
		kill(server_pid, SIGKILL);
	server_pid = 0;
	return harness__teardown(state);
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* ---- git ----------------------------------------------------------------------------------- */

#define COMMITS 200

/* A history as `git fast-import` reads it. */
static char *make_history(void)
{
	char *text = NULL;
	size_t len = 0;
	FILE *stream = open_memstream(&text, &len);

	assert_non_null(stream);
	for (int i = 1; i <= COMMITS; i++) {
		char content[64];

		snprintf(content, sizeof(content), "line %d\nof file %d\n", i, i % 7);
		fprintf(stream,
			"commit refs/heads/main\ncommitter A U Thor <a@example.org> %d +0000\n",
			1600000000 + i);
		fprintf(stream, "data 9\nnumber%3d\nM 100644 inline dir%d/file%d\ndata %zu\n%s\n",
			i % 1000, i % 3, i % 7, strlen(content), content);
	}
	fputs("done\n", stream);
	assert_int_equal(fclose(stream), 0);
	return text;
}

static void make_repository(const char *git, const char *repo, const char *const *env)
{
	const struct child_opts opts = {.env = env};
	char *history = make_history();
	size_t len = strlen(history);
	struct child *import;

	program__run(ARGS(git, "init", "-q", "--bare", "--initial-branch=main", repo), env);
	import = child__start(ARGS(git, "-C", repo, "fast-import", "--quiet", "--done"), &opts);
	for (size_t done = 0; done < len;) {
		ssize_t got = write(import->in_fd, history + done, len - done);

		assert_true(got > 0);
		done += (size_t)got;
	}
	assert_int_equal(child__await_exit(import, TIMEOUT_MS), 0);
	free(history);
}

static void test_git_log(void **state)
{
	char *git = need_program("git", "git"), *repo = format("%s/repo", scratch_dir());
	char *home = format("HOME=%s", repo);
	const char *const *env = ARGS(home, "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C");
	const char *const *log = ARGS(git, "-C", repo, "log", "--stat");

	(void)state;
	make_repository(git, repo, env);
	check_counted("git log", log, env, 1);
	check_beside_valgrind("git log", log, env, NULL);
	check_beside_heaptrack("git log", log, env);
	free(home);
	free(repo);
	free(git);
}

/* ---- gcc ----------------------------------------------------------------------------------- */

static const char source[] = "#include <stdio.h>\n"
			     "#include <stdlib.h>\n"
			     "static int compare(const void *a, const void *b) { return *(const "
			     "int *)a - *(const int *)b; }\n"
			     "int main(int argc, char **argv)\n"
			     "{\n"
			     "	int numbers[64], cnt = argc < 64 ? argc : 64;\n"
			     "	for (int i = 0; i < cnt; i++)\n"
			     "		numbers[i] = atoi(argv[i]) * 31;\n"
			     "	qsort(numbers, cnt, sizeof(numbers[0]), compare);\n"
			     "	for (int i = 0; i < cnt; i++)\n"
			     "		printf(\"%d\\n\", numbers[i]);\n"
			     "	return 0;\n"
			     "}\n";

/*
 * gcc, cc1, as, collect2 and ld. The compiler's garbage collector has a table of 4096 pointers for
 * every 16 MiB of address range that its pages happen to lie in.
 */
static void test_gcc(void **state)
{
	const struct freedom freedom = {
		.name = "cc1", .bytes = 4096 * sizeof(void *), .max_cnt = 4};
	char *gcc = need_program("gcc", "gcc"), *dir = strdup(scratch_dir());
	char *input = format("%s/program.c", dir), *output = format("%s/program", dir);
	const char *const *env = ARGS("LC_ALL=C", "TMPDIR=/tmp");
	const char *const *command = ARGS(gcc, "-O2", "-o", output, input);

	(void)state;
	write_file(input, source);
	check_counted("gcc", command, env, 5);
	check_beside_valgrind("gcc", command, env, &freedom);
	free(output);
	free(input);
	free(dir);
	free(gcc);
}

/* ---- interpreters -------------------------------------------------------------------------- */

static void test_python(void **state)
{
	char *python = need_program("python3", "python3-minimal");
	const char *const *env = ARGS("PYTHONHASHSEED=0", "PYTHONDONTWRITEBYTECODE=1", "LC_ALL=C");
	const char *const *command =
		ARGS(python, "-I", "-S", "-c",
		     "print(len({str(i): [i] * (i % 50) for i in range(3000)}))");

	(void)state;
	check_counted("python3", command, env, 1);
	check_beside_valgrind("python3", command, env, NULL);
	free(python);
}

static void test_perl(void **state)
{
	char *perl = need_program("perl", "perl-base");
	const char *const *env = ARGS("PERL_HASH_SEED=0", "PERL_PERTURB_KEYS=0", "LC_ALL=C");
	const char *const *command =
		ARGS(perl, "-e", "$h{$_ % 97} .= chr(65 + $_ % 26) x 9 for 0 .. 5000; print %h");

	(void)state;
	check_counted("perl", command, env, 1);
	check_beside_valgrind("perl", command, env, NULL);
	free(perl);
}

/* A shell forks children that free what they have inherited, and others that exec. */
static void test_shell_pipeline(void **state)
{
	char *bash = need_program("bash", "bash");

	(void)state;
	check_counted("bash",
		      ARGS(bash, "-c",
			   "for i in 1 2 3; do (x=$(echo $i); echo $x | cat); done | sort -r"),
		      ARGS("LC_ALL=C"), 10);
	free(bash);
}

/* ---- servers ------------------------------------------------------------------------------- */

static int connect_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_true(strlen(path) < sizeof(address.sun_path));
	strcpy(address.sun_path, path);
	if (!connect(fd, (const struct sockaddr *)&address, sizeof(address)))
		return fd;
	close(fd);
	return -1;
}

static void await_server(const char *socket_path, const struct child *tool)
{
	for (int waited_ms = 0; waited_ms < TIMEOUT_MS; waited_ms += 10) {
		int fd = connect_unix(socket_path);

		if (fd >= 0) {
			close(fd);
			return;
		}
		sleep_ms(10);
	}
	fail_msg("nobody listens on %s: %s", socket_path, child__stderr(tool));
}

static void await_end(pid_t pid)
{
	for (int waited_ms = 0; !kill(pid, 0); waited_ms += 10) {
		if (waited_ms > TIMEOUT_MS)
			fail_msg("process %d does not end", (int)pid);
		sleep_ms(10);
	}
}

/* ---- nginx --------------------------------------------------------------------------------- */

struct nginx {
	char *path, *prefix, *config, *socket, *pid_file;
};

static void nginx__free(struct nginx *nginx)
{
	free(nginx->path);
	free(nginx->prefix);
	free(nginx->config);
	free(nginx->socket);
	free(nginx->pid_file);
}

/* A server of its own in a folder of its own. */
static struct nginx nginx__new(int workers)
{
	struct nginx nginx = {.path = need_program("nginx", "nginx-light"),
			      .prefix = format("%s/", scratch_dir())};
	char *page = format("%spage.html", nginx.prefix), *text;

	nginx.config = format("%snginx.conf", nginx.prefix);
	nginx.socket = format("%ssocket", nginx.prefix);
	nginx.pid_file = format("%spid", nginx.prefix);
	text = format(
		"daemon off; user root; worker_processes %d; pid %s; error_log %serrors warn;\n"
		"events { worker_connections 64; }\n"
		"http { access_log %saccess; client_body_temp_path %st1; proxy_temp_path %st2; "
		"fastcgi_temp_path %st3;\n"
		"uwsgi_temp_path %st4; scgi_temp_path %st5;\n"
		"server { listen unix:%s; root %s; location /zipped { alias %spage.html; gzip on; "
		"gzip_min_length 1;\n"
		"gzip_types *; } } }\n",
		workers, nginx.pid_file, nginx.prefix, nginx.prefix, nginx.prefix, nginx.prefix,
		nginx.prefix, nginx.prefix, nginx.prefix, nginx.socket, nginx.prefix, nginx.prefix);
	write_file(nginx.config, text);
	free(text);
	text = format("<p>%0*d</p>\n", 50000, 7);
	write_file(page, text);
	free(text);
	free(page);
	return nginx;
}

static void request(const struct nginx *nginx, const char *what)
{
	char *text = format(
		"GET %s HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n",
		what);
	int fd = connect_unix(nginx->socket);
	char buf[1 << 14];
	ssize_t got;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	while ((got = read(fd, buf, sizeof(buf))) > 0)
		;
	assert_int_equal(got, 0);
	close(fd);
	free(text);
}

#define ROUNDS 50

/* Starts nothing; waits until the server is up, asks it for pages one after another, leaves it
 * idle. */
static pid_t nginx__serve(const struct nginx *nginx, const struct child *tool)
{
	int pid = 0;
	FILE *file;

	await_server(nginx->socket, tool);
	for (int i = 0; i < ROUNDS; i++) {
		request(nginx, "/page.html");
		request(nginx, "/zipped");
		request(nginx, "/nowhere");
	}
	file = fopen(nginx->pid_file, "re");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%d", &pid), 1);
	fclose(file);
	server_pid = pid;
	sleep_ms(300);
	return pid;
}

/* Lets it end as its manual says: the workers finish, then the master. */
static void nginx__quit(const struct nginx *nginx)
{
	assert_int_equal(kill(server_pid, SIGQUIT), 0);
	await_end(server_pid);
	server_pid = 0;
	assert_int_equal(access(nginx->socket, F_OK), -1);
}

/* Master and workers at rest: the workers hold what they have inherited. */
static void test_nginx_running(void **state)
{
	struct nginx nginx = nginx__new(2);
	struct counted counted = counted__begin();
	char *out = format("%sreport.json", nginx.prefix);
	struct child *tool = traced__start(ARGS(nginx.path, "-p", nginx.prefix, "-c", nginx.config),
					   ARGS(counted.env[0], counted.env[1]), out);
	struct report report;

	(void)state;
	nginx__serve(&nginx, tool);
	tool__stop(tool);
	report = report__read_file(out);
	assert_int_equal(counted__check(&counted, &report, "nginx at rest"), 3);
	nginx__quit(&nginx);
	free(out);
	counted__free(&counted);
	nginx__free(&nginx);
}

/* Starts, serves, ends; `env` may be NULL. */
static struct report nginx__trace(const struct nginx *nginx, const char *const *env,
				  pid_t *ret_master)
{
	char *out = format("%sreport.json", nginx->prefix);
	struct child *tool = traced__start(
		ARGS(nginx->path, "-p", nginx->prefix, "-c", nginx->config), env, out);
	struct report report;

	*ret_master = nginx__serve(nginx, tool);
	kill(server_pid, SIGQUIT);
	report = traced__end(tool, out);
	server_pid = 0;
	free(out);
	return report;
}

/* Returns the PID of the process that is not `pid`, of two. */
static int other_pid(const struct report *report, int pid)
{
	struct json_object *procs = NULL, *value = NULL;
	int other = 0;

	json_object_object_get_ex(report->root, "processes", &procs);
	assert_int_equal(json_object_array_length(procs), 2);
	for (size_t i = 0; i < 2; i++) {
		json_object_object_get_ex(json_object_array_get_idx(procs, i), "pid", &value);
		other = json_object_get_int(value) == pid ? other : json_object_get_int(value);
	}
	return other;
}

/* valgrind gives a forked child its parent's numbers to begin with; libcount.so knows how many
 * those were. */
static void check_worker(const struct valgrind_count *theirs, const struct counted *counted,
			 int worker)
{
	struct tally ours = counted__of(counted, worker);
	int64_t before_fork = counted__before_fork(counted, worker);

	print_count("nginx worker", "nginx", "valgrind", &theirs->tally);
	print_message("  %-14s of those before the fork: %lld allocs\n", "nginx worker",
		      (long long)before_fork);
	assert_int_equal(theirs->tally.alloc_count, ours.alloc_count + before_fork);
	assert_int_equal(theirs->tally.live_count, ours.live_count);
}

/* Under valgrind the master does what it did under the tool alone, the worker what it did in the
 * counted run. */
static void check_nginx_beside_valgrind(const struct nginx *nginx, const struct counted *counted,
					int worker)
{
	char **padded = valgrind__env(NULL);
	const char *logs = scratch_dir();
	struct child *valgrind = valgrind__start(
		ARGS(nginx->path, "-p", nginx->prefix, "-c", nginx->config), NULL, logs);
	pid_t master = nginx__serve(nginx, valgrind);
	struct valgrind_run theirs;
	struct report report;
	struct tally ours;

	kill(master, SIGQUIT);
	assert_int_equal(child__await_exit(valgrind, TIMEOUT_MS), 0);
	server_pid = 0;
	theirs = valgrind__read(logs);
	assert_int_equal(theirs.cnt, 2);
	report = nginx__trace(nginx, (const char *const *)padded, &master);
	ours = report__sum(&report, master, "malloc", NULL);
	for (size_t i = 0; i < theirs.cnt; i++) {
		if (theirs.items[i].pid != valgrind->pid) {
			check_worker(&theirs.items[i], counted, worker);
			continue;
		}
		print_count("nginx master", "nginx", "valgrind", &theirs.items[i].tally);
		print_count("nginx master", "nginx", "leaksweep", &ours);
		assert_tally(&report, "nginx's master beside valgrind", ours,
			     theirs.items[i].tally);
	}
	env__free(padded);
}

static void test_nginx_to_its_end(void **state)
{
	struct nginx nginx = nginx__new(1);
	struct counted counted = counted__begin();
	pid_t master;
	struct report report = nginx__trace(&nginx, ARGS(counted.env[0], counted.env[1]), &master);

	(void)state;
	assert_int_equal(counted__check(&counted, &report, "nginx"), 2);
	check_nginx_beside_valgrind(&nginx, &counted, other_pid(&report, master));
	counted__free(&counted);
	nginx__free(&nginx);
}

/* ---- redis --------------------------------------------------------------------------------- */

struct redis {
	char *server, *cli, *benchmark, *dir, *socket;
};

static struct redis redis__new(void)
{
	struct redis redis = {
		.server = need_program("redis-server", "redis-server"),
		.cli = need_program("redis-cli", "redis-tools"),
		.benchmark = need_program("redis-benchmark", "redis-tools"),
		.dir = strdup(scratch_dir()),
	};

	redis.socket = format("%s/socket", redis.dir);
	return redis;
}

static void redis__free(struct redis *redis)
{
	free(redis->server);
	free(redis->cli);
	free(redis->benchmark);
	free(redis->dir);
	free(redis->socket);
}

/* Runs redis-cli; `last` may be NULL. */
static void redis__ask(const struct redis *redis, const char *first, const char *second)
{
	program__run(ARGS(redis->cli, "-s", redis->socket, first, second), NULL);
}

/* A forked child writes the file and ends. */
static void redis__save_in_background(const struct redis *redis)
{
	char *file = format("%s/dump.rdb", redis->dir);

	redis__ask(redis, "bgsave", NULL);
	for (int waited_ms = 0; access(file, F_OK); waited_ms += 10) {
		assert_true(waited_ms < TIMEOUT_MS);
		sleep_ms(10);
	}
	sleep_ms(200); /* until the server has reaped it */
	free(file);
}

static const char *const benchmarks[] = {
	"-q",  "-n", "2000",
	"-c",  "10", "-r",
	"500", "-t", "set,get,incr,lpush,lpop,sadd,hset,spop,zadd,zpopmin,mset",
	NULL};

static void redis__benchmark(const struct redis *redis)
{
	const char **all =
		join_lists(ARGS(redis->benchmark, "-s", redis->socket), (char *const *)benchmarks);

	program__run(all, NULL);
	free(all);
}

#define REDIS_ARGS(redis)                                                                          \
	ARGS((redis)->server, "--port", "0", "--unixsocket", (redis)->socket, "--save", "",        \
	     "--appendonly", "no", "--dir", (redis)->dir)

/* jemalloc, background threads that free (flushall async), a forked child. */
static void test_redis_server(void **state)
{
	struct redis redis = redis__new();
	struct counted counted = counted__begin();
	char *out = format("%s/report.json", redis.dir);
	struct child *tool =
		traced__start(REDIS_ARGS(&redis), ARGS(counted.env[0], counted.env[1]), out);
	struct report report;

	(void)state;
	await_server(redis.socket, tool);
	server_pid = counted__await(&counted, "redis-server");
	redis__benchmark(&redis);
	redis__save_in_background(&redis);
	redis__ask(&redis, "flushall", "async");
	redis__benchmark(&redis);
	redis__ask(&redis, "shutdown", "nosave");
	report = traced__end(tool, out);
	server_pid = 0;
	assert_int_equal(counted__check(&counted, &report, "redis-server"), 2);
	free(out);
	counted__free(&counted);
	redis__free(&redis);
}

/* The load itself, from two threads. */
static void test_redis_benchmark(void **state)
{
	struct redis redis = redis__new();
	struct child *server = child__start(REDIS_ARGS(&redis), NULL);
	const char **all = join_lists(ARGS(redis.benchmark, "-s", redis.socket, "--threads", "2"),
				      (char *const *)benchmarks);

	(void)state;
	await_server(redis.socket, server);
	check_counted("redis-benchmark", all, NULL, 1);
	free(all);
	redis__free(&redis);
}

int main(void)
{
	const struct CMUnitTest all[] = {
		E2E_TEST(test_git_log),
		E2E_TEST(test_gcc),
		E2E_TEST(test_python),
		E2E_TEST(test_perl),
		E2E_TEST(test_shell_pipeline),
		cmocka_unit_test_teardown(test_nginx_running, kill_server),
		cmocka_unit_test_teardown(test_nginx_to_its_end, kill_server),
		cmocka_unit_test_teardown(test_redis_server, kill_server),
		E2E_TEST(test_redis_benchmark),
	};

	return harness__main("e2e real programs", all, sizeof(all) / sizeof(all[0]));
}
