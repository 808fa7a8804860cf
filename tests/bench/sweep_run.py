# SPDX-License-Identifier: GPL-2.0-or-later
"""One run of the sweep's campaign: sweep_run.py [OPTION...] GROUP...

A GROUP is cases (sweep_cases.py) with commas between. Its services run beside each other, under a sweep of their own
that watches the whole host, or with --apart only them, in a control group. All groups run at the same time. At each
report of its sweep every service of a group is asked for the truth. Appends one line of JSON for each group to --out,
also for one that failed:

  "commit", "load", "cpus" (records.py), "run", "cases", "seconds", "cpu_s" (of the tool, at its end) or "failed" (why),
  "reports": [{"at" (seconds since the tool's start), "cpu_s", "overhead", "services": [{"case", "truth", "anon_bytes",
      "row" (of the report, what is judged of it; null = it has none)}]}]
"""
import argparse
import json
import os
import select
import signal
import subprocess
import sys
import threading

import records
import sweep_cases
from sweep_tool import Failed, Sweep, close_cgroup, judged, open_cgroup

ANSWER_S = 20


def anon_bytes(pid):
    with open("/proc/%d/smaps_rollup" % pid) as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Anonymous:"))


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


class Group:
    def __init__(self, args, number, cases):
        self.args = args
        self.record = records.origin() | {"run": args.run, "cases": cases, "reports": []}
        self.folder = self.tool = None
        options = (["--budget", args.budget] if args.budget else []) + args.options.split()
        if args.apart:
            self.folder, path = open_cgroup("leaksweep-bench-%d-%d" % (os.getpid(), number))
            options += ["--cgroup", path]
        self.command = [args.tool, "sweep", "--config", "none", "-f", "json", "--interval", args.interval,
                        "--duration", "%ds" % args.seconds] + options
        self.services = [Service(case, sweep_cases.command(case, args.leakers, args.python), self.folder)
                         for case in cases]

    def watch(self):
        """Runs the sweep, to its end."""
        try:
            for service in self.services:
                if not service.line().startswith("READY"):
                    raise Failed("the service %s does not start" % service.case)
            self.tool = Sweep(self.command, self.args.seconds)
            self.tool.read_reports(self.note)
            self.record |= self.tool.finish()
        except Exception as why:  # whatever it is, the record has to tell
            self.record["failed"] = str(why) or repr(why)
        finally:
            self.end()

    def note(self, report):
        rows = {row.get("pid"): judged(row) for row in report.get("growing") or []}
        self.record["reports"].append(self.tool.course(report) | {
            "services": [{
                "case": service.case,
                "truth": service.truth(),
                "anon_bytes": anon_bytes(service.process.pid),
                "row": rows.get(service.process.pid),
            } for service in self.services],
        })

    def end(self):
        if self.tool:
            self.tool.kill()
        for service in self.services:
            service.end()
        if self.folder:
            close_cgroup(self.folder)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool", required=True)
    parser.add_argument("--leakers", required=True, help="folder of the programs in C")
    parser.add_argument("--python", required=True, help="interpreter of the services in Python")
    parser.add_argument("--out", required=True)
    parser.add_argument("--run", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--interval", default="4900ms", help="a report has to come just before a deadline")
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
    for group in groups:
        records.append(args.out, group.record)
        if "failed" in group.record:
            print("%s: %s" % (",".join(group.record["cases"]), group.record["failed"]), file=sys.stderr)


if __name__ == "__main__":
    main()
