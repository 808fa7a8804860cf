# SPDX-License-Identifier: GPL-2.0-or-later
"""One run of the sweep's campaign: sweep_run.py [OPTION...] GROUP...

A GROUP is cases (sweep_cases.py) with commas between. Its services run beside each other, under a sweep of their own
that watches the whole host, or with --apart only them, in a control group. All groups run at the same time. At each
report of its sweep every service of a group is asked for the truth. Appends one line of JSON for each group to --out:

  "run", "cases", "cpus", "status" (of the tool, as wait(2) gives it), "seconds", "cpu_s" (of the tool, at its end),
  "reports": [{"at" (seconds since the tool's start), "cpu_s", "overhead", "services": [{"case", "truth", "anon_bytes",
      "row" (of the report, frames as names; null = it has none)}]}]
"""
import argparse
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time

import sweep_cases

ANSWER_S = 20
END_S = 60  # that the tool may take to end


class Failed(Exception):
    """The run is worth nothing; says why."""


def own_cpu_s(pid):
    """CPU time of a process and of what it has waited for, or None when it is gone."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def anon_bytes(pid):
    with open("/proc/%d/smaps_rollup" % pid) as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Anonymous:"))


def open_cgroup(name):
    """Makes a control group; returns its folder and its path as /proc/PID/cgroup has it."""
    with open("/proc/self/mounts") as file:
        mounts = [line.split() for line in file]
    roots = [mount[1] for mount in mounts if mount[2] == "cgroup2"]
    roots += [mount[1] for mount in mounts if mount[2] == "cgroup" and "memory" in mount[3].split(",")]
    if not roots:
        raise Failed("no hierarchy of control groups is mounted")
    folder = os.path.join(roots[0], name)
    os.makedirs(folder, exist_ok=True)
    return folder, "/" + name


class Service:
    def __init__(self, case, command, folder):
        def enter():
            with open(os.path.join(folder, "cgroup.procs"), "w") as file:
                file.write("0")

        self.case = case
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        preexec_fn=enter if folder else None)

    def line(self):
        out = self.process.stdout
        if not select.select([out], [], [], ANSWER_S)[0]:
            raise Failed("the service %s does not answer" % self.case)
        line = out.readline()
        if not line:
            raise Failed("the service %s has ended" % self.case)
        return line.decode()

    def truth(self):
        self.process.send_signal(signal.SIGUSR1)
        return json.loads(self.line())

    def end(self):
        self.process.terminate()
        self.process.wait()


def names_only(row):
    """A row with its sites' frames as names: all that is judged."""
    for site in (row.get("code") or {}).get("sites") or []:
        site["frames"] = [frame.get("function") for frame in site.get("frames") or []]
    return row


class Group:
    def __init__(self, args, number, cases):
        self.args = args
        self.cases = cases
        self.reports = []
        self.folder = self.tool = self.failure = None
        options = args.options.split()
        if args.apart:
            self.folder, path = open_cgroup("leaksweep-bench-%d-%d" % (os.getpid(), number))
            options += ["--cgroup", path]
        self.command = [args.tool, "sweep", "-f", "json", "--interval", args.interval, "--duration",
                        "%ds" % args.seconds] + (["--budget", args.budget] if args.budget else []) + options
        self.services = [Service(case, sweep_cases.command(case, args.leakers, args.python), self.folder)
                         for case in cases]

    def watch(self):
        """Runs the sweep, to its end."""
        try:
            for service in self.services:
                if not service.line().startswith("READY"):
                    raise Failed("the service %s does not start" % service.case)
            self.started = time.monotonic()
            self.tool = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.read_reports()
            self.finish()
        except Failed as why:
            self.failure = str(why)
        finally:
            self.end()

    def read_reports(self):
        decoder = json.JSONDecoder()
        out = self.tool.stdout
        # An unread pipe of errors would stop the tool.
        fcntl.fcntl(self.tool.stderr, fcntl.F_SETFL, os.O_NONBLOCK)
        self.errors = b""
        text = ""
        while True:
            left = self.started + self.args.seconds + END_S - time.monotonic()
            if left <= 0:
                raise Failed("the sweep does not end")
            if not select.select([out], [], [], min(left, 1))[0]:
                self.errors = (self.errors + (self.tool.stderr.read() or b""))[-4096:]
                continue
            chunk = os.read(out.fileno(), 1 << 20)
            if not chunk:
                return
            text = (text + chunk.decode(errors="replace")).lstrip()
            while text:
                try:
                    report, end = decoder.raw_decode(text)
                except ValueError:
                    break  # the rest of it is still to come
                self.note(report)
                text = text[end:].lstrip()

    def note(self, report):
        at = time.monotonic() - self.started
        rows = {row.get("pid"): names_only(row) for row in report.get("growing") or []}
        self.reports.append({
            "at": round(at, 3),
            "cpu_s": own_cpu_s(self.tool.pid),
            "overhead": report.get("overhead") or {},
            "services": [{
                "case": service.case,
                "truth": service.truth(),
                "anon_bytes": anon_bytes(service.process.pid),
                "row": rows.get(service.process.pid),
            } for service in self.services],
        })

    def finish(self):
        _, status, usage = os.wait4(self.tool.pid, 0)
        self.tool.returncode = status
        self.record = {
            "run": self.args.run,
            "cases": self.cases,
            "cpus": os.cpu_count(),
            "status": status,
            "seconds": round(time.monotonic() - self.started, 3),
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "reports": self.reports,
        }
        if status:
            self.errors += self.tool.stderr.read() or b""
            last = self.errors.decode(errors="replace").strip().rsplit("\n", 1)[-1]
            raise Failed("leaksweep ended with status %#x: %s" % (status, last))

    def end(self):
        if self.tool and self.tool.returncode is None:
            self.tool.kill()
            self.tool.wait()
        for service in self.services:
            service.end()
        if self.folder:
            os.rmdir(self.folder)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool", required=True)
    parser.add_argument("--leakers", required=True, help="folder of the programs in C")
    parser.add_argument("--python", required=True, help="interpreter of the services in Python")
    parser.add_argument("--out", required=True)
    parser.add_argument("--run", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--interval", default="5s")
    parser.add_argument("--budget", default="1")
    parser.add_argument("--options", default="", help="more options for the sweep")
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("group", nargs="+")
    args = parser.parse_args()
    unknown = set(",".join(args.group).split(",")) - set(sweep_cases.CASES)
    if unknown:
        parser.error("no such case: " + " ".join(sorted(unknown)))

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    groups = []
    try:
        for number, group in enumerate(args.group):
            groups.append(Group(args, number, group.split(",")))
        threads = [threading.Thread(target=group.watch) for group in groups]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        for group in groups:
            group.end()
        raise
    failures = [group.failure for group in groups if group.failure]
    with open(args.out, "a") as file:
        for group in groups:
            if not group.failure:
                file.write(json.dumps(group.record) + "\n")
    if failures:
        sys.exit("; ".join(failures))


main()
