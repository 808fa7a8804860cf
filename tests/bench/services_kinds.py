# SPDX-License-Identifier: GPL-2.0-or-later
"""Services not written here, each with a load: redis-server, nginx, PostgreSQL, Python's http.server with json.

Each is started in a folder of its own, on a Unix socket or on a port of 127.0.0.1, with memory that does not grow once
it is warm; or, with `grows`, with some MB a minute that it really keeps: keys, uploads that never end, prepared
statements, documents. load(SECONDS) has it work for that long and returns {"rate": requests a second, "p99_ms"}.
"""
import collections
import ctypes
import glob
import json
import math
import os
import pwd
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

from sweep_tool import Failed

HERE = os.path.dirname(os.path.abspath(__file__))
PR_SET_PDEATHSIG = 1
READY_S = 60
STOP_S = 30
LATE_S = 120  # that a command may take longer than it should
GROWN_BYTES_PER_S = 20e6 / 60  # as near as it can be had


def program(name):
    """Path of a program; Debian keeps PostgreSQL's out of PATH, or behind a script."""
    found = glob.glob("/usr/lib/postgresql/*/bin/" + name)
    if found:
        return max(found, key=lambda path: int(path.split("/")[4].split(".")[0]))
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


class Place:
    """Where a service and its load run: a folder, a CPU for each, maybe a control group for the service."""

    def __init__(self, folder, service_cpu, load_cpu, group=None):
        self.folder = folder
        self.cpus = {"service": service_cpu, "load": load_cpu}
        self.group_fd = os.open(os.path.join(group, "cgroup.procs"), os.O_WRONLY) if group else None
        self.processes = []

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def start(self, role, command, **how):
        """Starts a "service" or a "load". It does not outlive this process."""
        libc = ctypes.CDLL(None)

        def prepare():
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            os.sched_setaffinity(0, {self.cpus[role]})
            if role == "service" and self.group_fd is not None:
                os.write(self.group_fd, b"0")  # as a user that may not open it, too

        with open(self.path(os.path.basename(command[0]) + ".log"), "ab") as log:
            process = subprocess.Popen(command, **{"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log,
                                                   "cwd": self.folder, "preexec_fn": prepare} | how)
        self.processes.append(process)
        return process

    def output(self, role, command, seconds=0, **how):
        """Runs a command of so many seconds to its end; returns what it has printed."""
        process = self.start(role, command, stdout=subprocess.PIPE, **how)
        try:
            out = process.communicate(timeout=seconds + LATE_S)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            raise Failed("%s does not end" % command[0])
        self.processes.remove(process)
        if process.returncode:
            raise Failed("%s ended with status %d: %s" % (command[0], process.returncode, self.last_line(command[0])))
        return out

    def last_line(self, name):
        with open(self.path(os.path.basename(name) + ".log"), errors="replace") as log:
            return (log.read().strip().rsplit("\n", 1) or [""])[-1]

    def end(self):
        """Ends the last one first: loads before what they load."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(getattr(process, "end_signal", signal.SIGTERM))
                try:
                    process.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        if self.group_fd is not None:
            os.close(self.group_fd)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connected(address, timeout=READY_S):
    """A connection to "PATH" or (HOST, PORT), once somebody listens there."""
    end = time.monotonic() + timeout
    while True:
        stream = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        try:
            stream.connect(address)
            return stream
        except OSError as why:
            stream.close()
            if time.monotonic() >= end:
                raise Failed("nobody listens at %s: %s" % (address, why))
            time.sleep(0.1)


class Service:
    """What they have in common: `process`, and a thread that makes it grow where the load does not."""

    programs = ()

    def __init__(self, place, grows):
        self.place, self.grows = place, grows
        self.failure = None
        missing = [name for name in self.programs if not program(name)]
        if missing:
            raise Failed("%s is missing: tests/lib/install-deps.sh bench installs it" % ", ".join(missing))
        self.start()
        if grows:
            threading.Thread(target=self.keep_growing, daemon=True).start()

    def pids(self):
        """The service's processes, children included."""
        found, rest = [], [self.process.pid]
        while rest:
            pid = rest.pop()
            found.append(pid)
            for path in glob.glob("/proc/%d/task/*/children" % pid):
                try:
                    with open(path) as file:
                        rest += map(int, file.read().split())
                except OSError:
                    pass  # it has just ended
        return found

    def keep_growing(self):
        try:
            self.grow()
        except (OSError, Failed) as why:
            self.failure = "%s does not grow any more: %s" % (type(self).__name__, why)

    def grow(self):
        """Has the service keep GROWN_BYTES_PER_S. For those whose load does it there is nothing to do."""

    def load(self, seconds):
        sample = self.work(seconds)
        if self.process.poll() is not None:
            raise Failed("the service has ended: " + self.place.last_line(self.process.args[0]))
        if self.failure:
            raise Failed(self.failure)
        if not (sample["rate"] > 0 and sample["p99_ms"] > 0):
            raise Failed("the service has answered nothing")
        return sample


def redis_sample(text):
    """Of one run of redis-benchmark: the number of requests, seconds, and how many took up to so many ms."""
    total, seconds, took_ms = 0, 0, collections.Counter()
    for part in text.split("======\n")[1:]:
        # Two lists, by shares and by steps of time, of how many had been answered by then.
        points = re.findall(r"<= ([0-9.]+) milliseconds \(cumulative count ([0-9]+)\)", part)
        answered = 0
        for ms, count in sorted((float(ms), int(count)) for ms, count in points):
            took_ms[ms] += count - answered
            answered = count
        total += answered
        seconds += answered / float(re.search(r"throughput summary: ([0-9.]+)", part).group(1))
    return total, seconds, took_ms


def tail_ms(took_ms):
    """The 99th percentile of times with their numbers."""
    left = math.ceil(0.99 * sum(took_ms.values()))
    for ms in sorted(took_ms):
        left -= took_ms[ms]
        if left <= 0:
            return ms
    return 0


class Redis(Service):
    """Keys below KEYS; a list that is filled and emptied by turns. p99 is that of all requests of a period."""

    programs = ("redis-server", "redis-benchmark")
    KEYS = 20000
    REQUESTS = 10000  # of each command in one run
    VALUE = b"x" * 1000

    def start(self):
        self.socket = self.place.path("redis.sock")
        self.process = self.place.start("service", [
            program("redis-server"), "--port", "0", "--unixsocket", self.socket, "--save", "", "--appendonly", "no",
            "--dir", self.place.folder])
        connected(self.socket).close()

    def work(self, seconds):
        begin = time.monotonic()
        command = [program("redis-benchmark"), "-s", self.socket, "-P", "8", "-c", "20", "-d", "64", "-r",
                   str(self.KEYS), "-n", str(self.REQUESTS), "-t", "set,incr,lpush,lpop"]
        requests, took, took_ms = 0, 0, collections.Counter()
        while not took_ms or time.monotonic() - begin < seconds:
            more, longer, times = redis_sample(self.place.output("load", command))
            requests, took = requests + more, took + longer
            took_ms.update(times)
        return {"rate": requests / took, "p99_ms": tail_ms(took_ms)}

    def grow(self):
        stream = connected(self.socket)
        number = 0
        while True:
            key = b"grown:%d" % number
            stream.sendall(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (
                len(key), key, len(self.VALUE), self.VALUE))
            if not stream.recv(4096).startswith(b"+OK"):
                raise Failed("a key was not taken")
            number += 1
            time.sleep(len(self.VALUE) / GROWN_BYTES_PER_S)


class Http(Service):
    """A service at a port of 127.0.0.1, loaded by wrk."""

    CONNECTIONS = 8

    def work(self, seconds):
        command = [program("wrk"), "-t", "1", "-c", str(self.CONNECTIONS), "-d", "%ds" % math.ceil(seconds),
                   "--timeout", "10s", "-s", os.path.join(HERE, "services.lua"), "http://127.0.0.1:%d/" % self.port,
                   "--"]
        out = self.place.output("load", command + self.request(), seconds)
        requests, took_us, p99_us, errors = map(int, out.split()[-4:])
        if errors:
            raise Failed("%d of %d requests failed" % (errors, requests))
        return {"rate": requests / took_us * 1e6, "p99_ms": p99_us / 1000}

    def request(self):
        """Arguments of services.lua."""
        return []


NGINX_CONFIG = """
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile 20000;
pid %(folder)s/nginx.pid;
error_log %(folder)s/nginx-error.log;
events { worker_connections 16384; }
http {
	access_log off;
	client_body_temp_path %(folder)s/body;
	proxy_temp_path %(folder)s/proxy;
	fastcgi_temp_path %(folder)s/fastcgi;
	uwsgi_temp_path %(folder)s/uwsgi;
	scgi_temp_path %(folder)s/scgi;
	keepalive_requests 1000000000;
	client_body_buffer_size 128k;
	client_body_timeout 1d;
	gzip on;
	server {
		listen 127.0.0.1:%(port)d;
		root %(folder)s;
		location /upload { proxy_pass http://127.0.0.1:1; }
	}
}
"""


class Nginx(Http):
    """A page of 16 KB, compressed anew each time; what grows are uploads whose last byte never comes."""

    programs = ("nginx", "wrk")
    UPLOAD_BYTES = 64 * 1024
    MOST_UPLOADS = 15000

    def start(self):
        self.port = free_port()
        with open(self.place.path("index.html"), "w") as file:
            file.write("".join("<p>line %d of a page, %d</p>\n" % (i, i * i * i) for i in range(480)))
        with open(self.place.path("nginx.conf"), "w") as file:
            file.write(NGINX_CONFIG % {"folder": self.place.folder, "port": self.port})
        self.process = self.place.start("service", [
            program("nginx"), "-e", self.place.path("nginx-error.log"), "-c", self.place.path("nginx.conf")])
        connected(("127.0.0.1", self.port)).close()

    def grow(self):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        head = b"POST /upload HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n" % self.UPLOAD_BYTES
        uploads = []
        while len(uploads) < self.MOST_UPLOADS:
            uploads.append(connected(("127.0.0.1", self.port)))
            uploads[-1].sendall(head + b"x" * (self.UPLOAD_BYTES - 1))
            time.sleep(self.UPLOAD_BYTES / GROWN_BYTES_PER_S)
        raise Failed("%d uploads are enough" % len(uploads))


def document():
    """What the JSON service is sent: 4 KB."""
    return {"order": 4711, "items": [{
        "name": "item %d" % i,
        "price": i * 1.25,
        "count": i % 7,
        "tags": ["a", "b", str(i)],
        "in_stock": i % 3 == 0,
    } for i in range(48)]}


class Json(Http):
    """Standard library's ThreadingHTTPServer: parses a document, adds to it and dumps it (services_json.py)."""

    programs = ("wrk",)
    CONNECTIONS = 4
    KEPT_PER_S = 12  # documents, each some 25 KB as objects

    def start(self):
        with open(self.place.path("document.json"), "w") as file:
            json.dump(document(), file)
        python = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
        self.process = self.place.start("service", [
            python, "-I", os.path.join(HERE, "services_json.py"), str(self.KEPT_PER_S if self.grows else 0)],
            stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline() or 0)
        if not self.port:
            raise Failed("services_json.py does not start: " + self.place.last_line(python))

    def request(self):
        return [self.place.path("document.json")]


def log_sample(lines, begin, end):
    """Rate and p99 of the transactions that pgbench --log has between two times of the real-time clock."""
    times = []
    for line in lines:
        fields = line.split()
        if len(fields) >= 6 and begin <= int(fields[4]) + int(fields[5]) / 1e6 < end:
            times.append(int(fields[2]) / 1000)
    times.sort()
    return {"rate": len(times) / (end - begin), "p99_ms": times[math.ceil(0.99 * len(times)) - 1] if times else 0}


class Postgres(Service):
    """pgbench's own transactions in sessions that last; with `grows` one in 100 prepares a statement that stays."""

    programs = ("initdb", "postgres", "pgbench")
    SCALE = 4
    SESSIONS = 2
    LOG_LAG_S = 1  # pgbench writes its log by blocks
    GROW = ("\\set n random(1, 1000000000000000000)\n"
            "PREPARE grown:n AS SELECT abalance FROM pgbench_accounts WHERE aid = $1;\n")

    def start(self):
        # It does not run as root.
        user = pwd.getpwnam("postgres")
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        data = self.place.path("data")
        os.mkdir(data)
        os.chown(data, user.pw_uid, user.pw_gid)
        self.place.output("service", [program("initdb"), "-D", data, "-U", "bench", "-A", "trust", "--no-locale", "-N"],
                          **as_user, cwd=data)
        self.process = self.place.start("service", [program("postgres"), "-D", data, "-k", data, "-h", "", "-F"],
                                        **as_user, cwd=data)
        self.process.end_signal = signal.SIGINT  # SIGTERM waits for the sessions
        connected(os.path.join(data, ".s.PGSQL.5432")).close()
        self.start_load(data)

    def start_load(self, data):
        pgbench = [program("pgbench"), "-h", data, "-U", "bench", "postgres"]
        end = time.monotonic() + READY_S
        while True:  # it listens before it lets anybody in
            try:
                self.place.output("load", pgbench + ["-i", "-q", "-s", str(self.SCALE)])
                break
            except Failed:
                if time.monotonic() >= end:
                    raise
                time.sleep(0.2)
        with open(self.place.path("grow.sql"), "w") as file:
            file.write(self.GROW)
        scripts = ["-b", "tpcb-like@99"]
        if self.grows:
            scripts += ["-f", self.place.path("grow.sql") + "@1"]
        self.sessions = self.place.start("load", pgbench + [
            "-n", "-c", str(self.SESSIONS), "-j", "1", "-T", "1000000", "-l", "--log-prefix",
            self.place.path("transactions")] + scripts)
        self.log = open(self.wait_for_log(), "rb")

    def wait_for_log(self):
        path = self.place.path("transactions.%d" % self.sessions.pid)
        end = time.monotonic() + READY_S
        while not os.path.exists(path):
            if self.sessions.poll() is not None or time.monotonic() >= end:
                raise Failed("pgbench does not begin: " + self.place.last_line("pgbench"))
            time.sleep(0.1)
        return path

    def work(self, seconds):
        begin = time.time()
        time.sleep(seconds)
        end = time.time()
        time.sleep(self.LOG_LAG_S)
        if self.sessions.poll() is not None:
            raise Failed("pgbench has ended: " + self.place.last_line("pgbench"))
        text = self.log.read()
        whole = text.rfind(b"\n") + 1
        self.log.seek(whole - len(text), os.SEEK_CUR)
        return log_sample(text[:whole].splitlines(), begin, end)


KINDS = {"redis": Redis, "nginx": Nginx, "postgres": Postgres, "json": Json}
