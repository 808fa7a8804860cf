// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libdebuginfod writes to the user's cache and to no other place, so the child keeps the user's
 * identity. It hands over open descriptors (SCM_RIGHTS, unix(7)): no path of the cache has to be
 * trusted. Its interface is that of <elfutils/debuginfod.h> since elfutils 0.178; loaded at run
 * time, because hosts mostly lack it.
 */
#include "symbolize/debuginfod.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/array.h"
#include "util/clock.h"
#include "util/parallel.h"

#define LIBRARY "libdebuginfod.so.1"
#define MAX_ID 32
#define CHILD_SOCKET 3
#define TOTAL_LIMIT_SEC 120   /* of one child */
#define MAX_SIZE "2147483648" /* bytes of one file, unless the user says something else */

struct request {
	uint8_t build_id[MAX_ID];
	int len;
	uint32_t tag;
};

struct debuginfod {
	ARRAY(struct request) requests; /* not given to a child yet */
	pid_t pid;			/* 0 = no child */
	int socket;			/* to it */
	uint64_t wait_ns;		/* left */
	bool missing;			/* no library */
};

/* ---- between the two ------------------------------------------------------------------------ */

/* A tag and room for a descriptor. Points into itself: not to be copied. */
struct fd_message {
	struct msghdr head;
	struct iovec data;
	uint32_t tag;
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
};

static void fd_message__init(struct fd_message *message)
{
	*message = (struct fd_message){0};
	message->data.iov_base = &message->tag;
	message->data.iov_len = sizeof(message->tag);
	message->head.msg_iov = &message->data;
	message->head.msg_iovlen = 1;
	message->head.msg_control = &message->control;
	message->head.msg_controllen = sizeof(message->control.room);
}

/* ---- in the child --------------------------------------------------------------------------- */

struct client_ops {
	void *(*begin)(void);
	void (*end)(void *client);
	int (*find)(void *client, const unsigned char *build_id, int len, char **ret_path);
};

struct fetch {
	const struct request *request;
	const struct client_ops *ops;
};

static void send_fd(uint32_t tag, int fd)
{
	struct fd_message message;

	fd_message__init(&message);
	message.tag = tag;
	message.control.head.cmsg_level = SOL_SOCKET;
	message.control.head.cmsg_type = SCM_RIGHTS;
	message.control.head.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&message.control.head), &fd, sizeof(fd));
	while (sendmsg(CHILD_SOCKET, &message.head, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

static void fetch_one(void *item)
{
	struct fetch *fetch = item;
	void *client = fetch->ops->begin();
	char *path = NULL;
	int fd;

	if (!client)
		return;
	fd = fetch->ops->find(client, fetch->request->build_id, fetch->request->len, &path);
	if (fd >= 0) {
		send_fd(fetch->request->tag, fd);
		close(fd);
	}
	free(path);
	fetch->ops->end(client);
}

static bool load_library(struct client_ops *ret_ops)
{
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return false;
	*(void **)&ret_ops->begin = dlsym(library, "debuginfod_begin");
	*(void **)&ret_ops->end = dlsym(library, "debuginfod_end");
	*(void **)&ret_ops->find = dlsym(library, "debuginfod_find_debuginfo");
	return ret_ops->begin && ret_ops->end && ret_ops->find;
}

/* Signals, descriptors and output are as for a program of its own. */
static bool detach(int socket, pid_t parent)
{
	const struct rlimit no_core = {0};
	sigset_t none;
	int null;

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	null = open("/dev/null", O_RDWR);
	if (null < 0)
		return false;
	/* The socket may be one of the numbers that are taken now. */
	socket = fcntl(socket, F_DUPFD, CHILD_SOCKET + 1);
	null = fcntl(null, F_DUPFD, CHILD_SOCKET + 1);
	if (socket < 0 || null < 0)
		return false;
	for (int fd = 0; fd < CHILD_SOCKET; fd++)
		dup2(null, fd);
	if (dup2(socket, CHILD_SOCKET) < 0 || close_range(CHILD_SOCKET + 1, ~0U, 0))
		return false;
	setrlimit(RLIMIT_CORE, &no_core);
	alarm(TOTAL_LIMIT_SEC);
	return !prctl(PR_SET_PDEATHSIG, SIGKILL) && getppid() == parent;
}

static void __attribute__((noreturn))
run_child(const struct debuginfod *debuginfod, int socket, pid_t parent)
{
	size_t cnt = debuginfod->requests.cnt;
	struct fetch *fetches = calloc(cnt, sizeof(*fetches));
	void **items = calloc(cnt, sizeof(*items));
	struct client_ops ops;

	if (!fetches || !items || !detach(socket, parent) || !load_library(&ops))
		_exit(1);
	setenv("DEBUGINFOD_MAXSIZE", MAX_SIZE, 0);
	for (size_t i = 0; i < cnt; i++) {
		fetches[i].request = &debuginfod->requests.items[i];
		fetches[i].ops = &ops;
		items[i] = &fetches[i];
	}
	parallel__join(parallel__start(fetch_one, items, cnt));
	_exit(0);
}

/* ---- in the parent -------------------------------------------------------------------------- */

bool debuginfod__wanted(void)
{
	const char *urls = getenv("DEBUGINFOD_URLS");

	return urls && urls[strspn(urls, " ")];
}

struct debuginfod *debuginfod__new(uint64_t wait_ns)
{
	struct debuginfod *debuginfod = calloc(1, sizeof(*debuginfod));

	if (debuginfod) {
		debuginfod->socket = -1;
		debuginfod->wait_ns = wait_ns;
	}
	return debuginfod;
}

static void end_child(struct debuginfod *debuginfod, bool kill_it)
{
	int status = 0;

	if (!debuginfod->pid)
		return;
	if (kill_it)
		kill(debuginfod->pid, SIGKILL);
	close(debuginfod->socket);
	while (waitpid(debuginfod->pid, &status, 0) < 0 && errno == EINTR)
		;
	debuginfod->missing |= WIFEXITED(status) && WEXITSTATUS(status);
	debuginfod->pid = 0;
	debuginfod->socket = -1;
}

void debuginfod__free(struct debuginfod *debuginfod)
{
	if (!debuginfod)
		return;
	end_child(debuginfod, true);
	array_free(&debuginfod->requests);
	free(debuginfod);
}

int debuginfod__ask(struct debuginfod *debuginfod, const uint8_t *build_id, size_t len,
		    uint32_t tag)
{
	struct request request = {.len = (int)len, .tag = tag};

	if (len < 2 || len > MAX_ID)
		return -EINVAL;
	memcpy(request.build_id, build_id, len);
	return array_push(&debuginfod->requests, request);
}

static bool start_child(struct debuginfod *debuginfod)
{
	pid_t parent = getpid();
	sigset_t all, old;
	int sockets[2];

	if (debuginfod->missing || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		return false;
	/* No handler of the parent's may run in the child. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	debuginfod->pid = fork();
	if (!debuginfod->pid)
		run_child(debuginfod, sockets[1], parent);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	close(sockets[1]);
	if (debuginfod->pid < 0) {
		debuginfod->pid = 0;
		close(sockets[0]);
		return false;
	}
	debuginfod->socket = sockets[0];
	debuginfod->requests.cnt = 0;
	return true;
}

/* Returns 1 (a file), 0 (a message without one) or a negative errno; -ESHUTDOWN = the child is
 * done. */
static int receive(int socket, uint32_t *ret_tag, int *ret_fd)
{
	struct fd_message message;
	struct cmsghdr *head;
	ssize_t got;

	fd_message__init(&message);
	got = recvmsg(socket, &message.head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got < 0)
		return -errno;
	if (!got)
		return -ESHUTDOWN;
	head = CMSG_FIRSTHDR(&message.head);
	if (got != sizeof(message.tag) || !head || head->cmsg_level != SOL_SOCKET ||
	    head->cmsg_type != SCM_RIGHTS || head->cmsg_len != CMSG_LEN(sizeof(int)))
		return 0;
	memcpy(ret_fd, CMSG_DATA(head), sizeof(int));
	*ret_tag = message.tag;
	return 1;
}

/* Waits for a message as long as there is time left. Returns whether to look again. */
static bool wait_a_moment(struct debuginfod *debuginfod)
{
	struct pollfd fd = {.fd = debuginfod->socket, .events = POLLIN};
	uint64_t began = clock_ns(CLOCK_MONOTONIC), took;
	int ready;

	if (debuginfod->wait_ns < NS_PER_MS)
		return false;
	ready = poll(&fd, 1, (int)(debuginfod->wait_ns / NS_PER_MS));
	took = clock_ns(CLOCK_MONOTONIC) - began;
	debuginfod->wait_ns -= took < debuginfod->wait_ns ? took : debuginfod->wait_ns;
	return ready > 0 || (ready < 0 && errno == EINTR);
}

bool debuginfod__next(struct debuginfod *debuginfod, uint32_t *ret_tag, int *ret_fd)
{
	int err;

	for (;;) {
		if (!debuginfod->pid && (!debuginfod->requests.cnt || !start_child(debuginfod)))
			return false;
		err = receive(debuginfod->socket, ret_tag, ret_fd);
		if (err > 0)
			return true;
		if (err == -EAGAIN) {
			if (!wait_a_moment(debuginfod))
				return false;
		} else if (err && err != -EINTR) {
			end_child(debuginfod, err != -ESHUTDOWN);
		}
	}
}
