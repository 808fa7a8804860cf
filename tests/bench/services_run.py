# SPDX-License-Identifier: GPL-2.0-or-later
"""One service under load, with and without the sweep: services_run.py --service NAME [OPTION...]

Starts the service (services_kinds.py), lets it get warm, and has it work for --pairs pairs of periods of --seconds:
without `leaksweep sweep --budget B`, and with it; the next pair is the other way round, so that one sweep is there for
both periods with it. Each sweep has --lead seconds of load before what is measured; one more, which leaves the tool's
files behind, comes first and is not judged. With --minutes there are no pairs: one sweep watches the service for so
long. Appends one line of JSON to --out, also when the run fails, with the pairs and sweeps until then:

  "commit", "load", "cpus" (records.py), "service", "grows", "budget", "seconds", "minutes" (0 = pairs), "failed" (why,
  if it did), "anon_bytes" (of the service, at both ends) and "anon_seconds" between them,
  "pairs": [{"without", "with": {"rate" (requests a second), "p99_ms", and with it "traced_s" (of windows told then)}}],
  "sweeps": [{"seconds", "cpu_s" (of the tool, unless it failed), "reports": [{"at" (seconds since the tool's start),
      "cpu_s", "overhead", "rows" (of the service's processes, what is judged of them)}]}]
"""
import argparse
import os
import shutil
import signal
import sys
import tempfile
import threading
import time

import records
from services_kinds import KINDS, STOP_S, Place
from sweep_tool import END_S, Failed, Sweep, close_cgroup, judged, open_cgroup

SETTLE_S = 8  # of load after a sweep's end, as before a period with it: idle CPUs may be faster for a while
REPORT_S = 30  # in which there has to be one
WATCH_STEP_S = 30


def anon_bytes(pids):
    total = 0
    for pid in pids:
        try:
            with open("/proc/%d/status" % pid) as file:
                total += sum(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon:"))
        except OSError:
            pass  # it has just ended
    return total


class Watch:
    """A sweep beside the service, read by a thread of its own."""

    def __init__(self, command, service):
        self.service = service
        self.pids = set()
        self.traced_ns = {}
        self.reports = []
        self.failure = None
        self.has_report = threading.Event()
        self.sweep = Sweep(command)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        try:
            self.sweep.read_reports(self.note)
        except Exception as why:  # whatever it is, end() has to know
            self.failure = why
        finally:
            self.has_report.set()

    def note(self, report):
        self.pids.update(self.service.pids())
        rows = [judged(row) for row in report.get("growing") or [] if row.get("pid") in self.pids]
        self.traced_ns.update((row["pid"], row["code"]["traced_ns"]) for row in rows if row["code"])
        self.reports.append(self.sweep.course(report) | {"rows": rows})
        self.has_report.set()

    def traced_s(self):
        """How long the service had probes in it, as far as it has been told."""
        return sum(list(self.traced_ns.values())) / 1e9

    def check(self):
        """Fails if the sweep has not lasted."""
        if self.failure:
            raise self.failure
        if self.sweep.process.poll() is not None:
            self.reader.join()
            self.sweep.finish()

    def end(self):
        """Ends the sweep; returns what it has said and taken. The load goes on until then."""
        self.check()
        # A signal that comes while a report is written, and the pipe is full, kills: it has to come between two.
        self.has_report.clear()
        end = time.monotonic() + REPORT_S
        while not self.has_report.is_set() and time.monotonic() < end:
            self.service.load(1)
        if not self.has_report.is_set():
            raise Failed("the sweep does not report")
        self.sweep.stop()
        self.reader.join()
        if self.failure:
            raise self.failure
        return {"reports": self.reports} | self.sweep.finish()

    def kill(self):
        self.sweep.kill()
        self.reader.join(END_S + STOP_S)


class Course:
    """The periods of one run, into its record."""

    def __init__(self, args, service, command, record):
        self.args, self.service, self.command, self.record = args, service, command, record
        self.watch = None

    def have_sweep(self, wanted):
        if wanted and not self.watch:
            self.watch = Watch(self.command, self.service)
            self.rest(self.args.lead)
        elif self.watch and not wanted:
            self.record["sweeps"].append(self.watch.end())
            self.watch = None
            self.rest(min(self.args.lead, SETTLE_S))

    def rest(self, seconds):
        if seconds:
            self.service.load(seconds)

    def load_beside(self, seconds):
        before = self.watch.traced_s()
        sample = self.service.load(seconds)
        self.watch.check()
        return sample | {"traced_s": round(self.watch.traced_s() - before, 3)}

    def run_pairs(self):
        self.have_sweep(True)
        self.have_sweep(False)
        self.record["sweeps"].clear()
        for number in range(self.args.pairs):
            pair = {}
            for is_with in (True, False) if number % 2 else (False, True):
                self.have_sweep(is_with)
                if is_with:
                    pair["with"] = self.load_beside(self.args.seconds)
                else:
                    pair["without"] = self.service.load(self.args.seconds)
            self.record["pairs"].append(pair)

    def run_long(self):
        self.have_sweep(True)
        end = time.monotonic() + self.args.minutes * 60
        while time.monotonic() < end:
            self.load_beside(min(WATCH_STEP_S, max(end - time.monotonic(), 1)))

    def run(self):
        self.service.load(self.args.warm)
        anon, began = anon_bytes(self.service.pids()), time.monotonic()
        try:
            if self.args.minutes:
                self.run_long()
            else:
                self.run_pairs()
            self.have_sweep(False)
        finally:
            if self.watch:
                self.watch.kill()
                self.record["sweeps"].append({"reports": self.watch.reports})
        self.record |= {
            "anon_bytes": [anon, anon_bytes(self.service.pids())],
            "anon_seconds": round(time.monotonic() - began, 3),
        }


def run(args, folder, record):
    options = args.options.split()
    group = None
    if args.apart:
        group, path = open_cgroup("leaksweep-bench-%d" % os.getpid())
        options += ["--cgroup", path]
    command = [args.tool, "sweep", "--config", "none", "-f", "json", "--interval", args.interval, "--budget",
               args.budget] + options
    place = Place(folder, args.service_cpu, args.load_cpu, group)
    try:
        Course(args, KINDS[args.service](place, args.grows), command, record).run()
    except Exception as why:  # whatever it is, the record has to tell
        record["failed"] = str(why) or repr(why)
    finally:
        place.end()
        if group:
            close_cgroup(group)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--service", required=True, choices=KINDS)
    parser.add_argument("--grows", action="store_true")
    parser.add_argument("--budget", default="1")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--lead", type=int, default=20)
    parser.add_argument("--warm", type=int, default=20)
    parser.add_argument("--interval", default="5s")
    parser.add_argument("--service-cpu", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--load-cpu", type=int, default=min(os.sched_getaffinity(0)))
    parser.add_argument("--options", default="", help="more options for the sweep")
    parser.add_argument("--apart", action="store_true")
    return parser.parse_args()


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    record = records.origin() | {
        "service": args.service,
        "grows": args.grows,
        "budget": float(args.budget),
        "seconds": args.seconds,
        "minutes": args.minutes,
        "pairs": [],
        "sweeps": [],
    }
    folder = tempfile.mkdtemp(prefix="leaksweep-bench-")
    os.chmod(folder, 0o711)  # some of it is another user's
    try:
        run(args, folder, record)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    records.append(args.out, record)
    if "failed" in record:
        print("%s: %s" % (args.service, record["failed"]), file=sys.stderr)


if __name__ == "__main__":
    main()
