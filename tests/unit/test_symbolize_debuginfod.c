// SPDX-License-Identifier: GPL-2.0-or-later
/* Debug files from a server: one on this host that the test itself is. */
#include "unit/symbolize_lines_fixture.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#include "symbolize/debuginfod.h"

struct server {
	int socket;
	pthread_t thread;
	char *body; /* what everyone gets, NULL = 404 */
	size_t size;
	unsigned int delay_ms;
	unsigned int served;
};

static void *serve(void *arg)
{
	struct server *server = arg;
	char request[4096], head[128];
	ssize_t got;
	int peer;

	while ((peer = accept(server->socket, NULL, NULL)) >= 0) {
		got = read(peer, request, sizeof(request) - 1);
		request[got > 0 ? got : 0] = '\0';
		usleep(server->delay_ms * 1000);
		if (server->body && strstr(request, "/debuginfo ")) {
			snprintf(head, sizeof(head),
				 "HTTP/1.0 200 OK\r\nContent-Length: %zu\r\n\r\n", server->size);
			server->served++;
		} else {
			snprintf(head, sizeof(head),
				 "HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n");
		}
		if (write(peer, head, strlen(head)) > 0 && strstr(head, "200"))
			for (size_t done = 0; done < server->size; done += (size_t)got) {
				got = send(peer, server->body + done, server->size - done,
					   MSG_NOSIGNAL);
				if (got <= 0)
					break;
			}
		close(peer);
	}
	return NULL;
}

static void start_server(struct server *server, const char *file, unsigned int delay_ms)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	char *text, *path;
	FILE *in;

	memset(server, 0, sizeof(*server));
	server->delay_ms = delay_ms;
	if (file) {
		path = in_dir(file);
		in = fopen(path, "re");
		assert_non_null(in);
		server->body = malloc(16 << 20);
		assert_non_null(server->body);
		server->size = fread(server->body, 1, 16 << 20, in);
		fclose(in);
		free(path);
	}
	server->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server->socket, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(server->socket, 8), 0);
	assert_int_equal(getsockname(server->socket, (struct sockaddr *)&address, &len), 0);
	text = fmt("http://127.0.0.1:%d", ntohs(address.sin_port));
	setenv("DEBUGINFOD_URLS", text, 1);
	free(text);
	text = in_dir("cache");
	shell("rm -rf cache");
	setenv("DEBUGINFOD_CACHE_PATH", text, 1);
	free(text);
	assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void stop_server(struct server *server)
{
	shutdown(server->socket, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	close(server->socket);
	free(server->body);
	unsetenv("DEBUGINFOD_URLS");
	unsetenv("DEBUGINFOD_CACHE_PATH");
}

static bool installed(void)
{
	void *library = dlopen("libdebuginfod.so.1", RTLD_NOW | RTLD_LOCAL);

	if (library)
		dlclose(library);
	return library;
}

static void build(void)
{
	write_file("app.c", "#include <stdlib.h>\n"
			    "__attribute__((noinline)) static int hidden(int x)\n"
			    "{\n"
			    "\treturn rand() + x;\n" /* 4 */
			    "}\n"
			    "int main(int argc, char **argv)\n"
			    "{ (void)argv; return hidden(argc) + 2; }\n");
	shell("rm -rf app app.full app.debug other*");
	assert_int_equal(shell("gcc -O2 -g -o app.full app.c && strip -o app app.full && "
			       "objcopy --only-keep-debug app.full app.debug"),
			 0);
	assert_int_equal(shell("sed 's/hidden/other/g' app.c > other.c && "
			       "gcc -O2 -g -o other other.c && "
			       "objcopy --only-keep-debug other other.debug"),
			 0);
}

/* A stripped program, and a server that answers every request with `file`. */
struct hosted {
	struct server server;
	struct scene scene;
};

static void open_hosted(struct hosted *hosted, const char *file, unsigned int delay_ms)
{
	if (!installed())
		skip();
	build();
	start_server(&hosted->server, file, delay_ms);
	open_scene(&hosted->scene, "app");
}

static void free_hosted(struct hosted *hosted)
{
	free_scene(&hosted->scene);
	stop_server(&hosted->server);
}

static const struct symbol *ask(struct scene *scene)
{
	return symbol_at_call(scene, "app.full", "hidden", "rand");
}

static void assert_named(const struct symbol *symbol)
{
	char *path = in_dir("app.c");

	assert_non_null(symbol->function);
	assert_string_equal(symbol->function, "hidden");
	assert_string_equal(symbol->file, path);
	assert_int_equal(symbol->line, 4);
	free(path);
}

static void a_file_in_time(void **state)
{
	struct hosted hosted;

	(void)state;
	open_hosted(&hosted, "app.debug", 0);
	assert_named(ask(&hosted.scene));
	assert_named(ask(&hosted.scene));
	assert_int_equal(hosted.server.served, 1);
	free_hosted(&hosted);
}

/* The first report does not wait for it; a later one has the names. */
static void a_file_that_comes_late(void **state)
{
	const struct symbol *symbol;
	struct hosted hosted;
	double began;

	(void)state;
	open_hosted(&hosted, "app.debug", 4000);
	began = now_seconds();
	symbol = ask(&hosted.scene);
	print_message("the first report waited %.2f s\n", now_seconds() - began);
	assert_true(now_seconds() - began < 3.5);
	assert_null(symbol->function);
	assert_int_equal(symbol->line_reason, LINE_NO_DEBUG_INFO);
	began = now_seconds();
	symbol = ask(&hosted.scene);
	assert_true(now_seconds() - began < 0.5);
	for (int i = 0; i < 50 && !symbol->function; i++) {
		usleep(200000);
		symbol = ask(&hosted.scene);
	}
	assert_named(symbol);
	free_hosted(&hosted);
}

static void an_end_while_it_runs(void **state)
{
	struct hosted hosted;
	double began;

	(void)state;
	open_hosted(&hosted, "app.debug", 4000);
	assert_null(ask(&hosted.scene)->function);
	began = now_seconds();
	free_scene(&hosted.scene);
	assert_true(now_seconds() - began < 1);
	stop_server(&hosted.server);
}

static void what_servers_do_not_have_or_confuse(void **state)
{
	static const char *const files[] = {NULL, "other.debug", "app.c"};
	const struct symbol *symbol;
	struct hosted hosted;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		open_hosted(&hosted, files[i], 0);
		symbol = ask(&hosted.scene);
		assert_null(symbol->function);
		assert_int_equal(symbol->line_reason, LINE_NO_DEBUG_INFO);
		free_hosted(&hosted);
	}
}

/* Nobody asks for it, no server is asked. */
static void only_by_wish(void **state)
{
	struct server server;
	struct scene scene;

	(void)state;
	build();
	start_server(&server, "app.debug", 0);
	unsetenv("DEBUGINFOD_URLS");
	assert_false(debuginfod__wanted());
	open_scene(&scene, "app");
	assert_null(ask(&scene)->function);
	assert_int_equal(server.served, 0);
	setenv("DEBUGINFOD_URLS", " ", 1);
	assert_false(debuginfod__wanted());
	free_scene(&scene);
	stop_server(&server);
}

/* The same where the library is missing: every request comes to nothing at once. */
static void requests(void **state)
{
	struct debuginfod *debuginfod = debuginfod__new(5000000000ULL);
	uint8_t build_id[40] = {1, 2, 3};
	double began = now_seconds();
	uint32_t tag;
	int fd;

	(void)state;
	setenv("DEBUGINFOD_URLS", "http://127.0.0.1:1", 1);
	assert_int_equal(debuginfod__ask(debuginfod, build_id, 1, 0), -EINVAL);
	assert_int_equal(debuginfod__ask(debuginfod, build_id, 33, 0), -EINVAL);
	assert_false(debuginfod__next(debuginfod, &tag, &fd));
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(debuginfod__ask(debuginfod, build_id, 20, i), 0);
	assert_false(debuginfod__next(debuginfod, &tag, &fd));
	assert_true(now_seconds() - began < 6);
	debuginfod__free(debuginfod);
	debuginfod__free(NULL);
	unsetenv("DEBUGINFOD_URLS");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_in_time),
		cmocka_unit_test(a_file_that_comes_late),
		cmocka_unit_test(an_end_while_it_runs),
		cmocka_unit_test(what_servers_do_not_have_or_confuse),
		cmocka_unit_test(only_by_wish),
		cmocka_unit_test(requests),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
