# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether sweep_table.py judges rightly, on runs made up; run before anything is measured."""
import contextlib
import io
import json
import os
import sys
import tempfile
import types
import unittest
from unittest import mock

import records
import sweep_cases
import sweep_run
import sweep_table
import sweep_tool

LEAKS = {"leak10": "leak_block", "leak1": "leak_block", "leakcache": "leak_block", "mmap": "map_region",
         "dict": "remember"}
RATE = 600e6  # bytes per hour: 10 MB/min


def site(function, lower=RATE * 0.8, upper=RATE * 1.2, verdict="growing"):
    return {"verdict": verdict, "frames": [function, "main"],
            "rate": {"bytes_per_hour": RATE, "lower": lower, "upper": upper} if verdict == "growing" else None}


def row(sites=(), touched=None):
    return {"pid": 7, "code": {"windows": 1, "traced_ns": 1, "sites": list(sites),
                               "touches": [{"frames": [touched, "main"]}] if touched else []}}


def report(case, at, told=None, settled=True):
    """What a report says of a service; `told` is its row."""
    leak = LEAKS.get(case)
    truth = {"leak": leak, "settled": settled, "seconds": at, "leaked_bytes": RATE / 3600 * at if leak else 0}
    return {"at": at, "cpu_s": at / 1000, "overhead": {"spent_percent": 0.5},
            "services": [{"case": case, "truth": truth, "row": told}]}


def run(case, *reports, seconds=300.2, **more):
    """One whose last report, at its end, tells nothing."""
    return {"commit": "abc", "load": 0.1, "cpus": 2, "run": 1, "cases": [case], "seconds": seconds, "cpu_s": 0.3,
            "reports": [*reports, report(case, seconds - 0.1)]} | more


def good_run(case, at=58.9):
    """One in which the leak is named, if there is one."""
    leak = LEAKS.get(case)
    if case in sweep_cases.TOUCHED:
        return run(case, report(case, at, row(touched=leak)))
    return run(case, report(case, at, row([site(leak)]) if leak else None))


def lost_run(case):
    lost = run(case, failed="leaksweep ended with status -11: ")
    del lost["seconds"], lost["cpu_s"]
    return lost


def judge(lines, *options):
    """Exit status and text of the table."""
    with tempfile.NamedTemporaryFile("w") as file, mock.patch.object(sys, "argv", ["table", *options, file.name]):
        file.write("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
        file.flush()
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            try:
                sweep_table.main()
            except SystemExit as end:
                return end.code, out.getvalue()
    raise AssertionError("no verdict")


def judge_case(case, lines):
    return judge(lines, "--cases", case)


class Verdict(unittest.TestCase):
    def passes(self, case, lines):
        status, text = judge_case(case, lines)
        self.assertEqual(status, 0, text)
        return text

    def fails(self, case, lines, why):
        status, text = judge_case(case, lines)
        self.assertEqual(status, 1, text)
        self.assertIn("falls short: %s: %s" % (case, why), text)
        return text

    def test_19_of_20_are_enough_for_each_case(self):
        for case in sweep_cases.CASES:
            runs = [good_run(case) for _ in range(19)]
            self.passes(case, runs + [good_run(case)])
            if case in LEAKS:
                self.passes(case, runs + [run(case)])
                self.fails(case, runs[1:] + [run(case)] * 2, "named")

    def test_named_too_late(self):
        for case, within, late in (("leak10", 60, 60.04), ("leak1", 300, 300.1)):
            runs = [good_run(case, within - 1)] * 19
            self.passes(case, runs + [good_run(case, late)])
            self.fails(case, runs[1:] + [good_run(case, late)] * 2, "named within %d s in 18 of 20 runs" % within)
        self.passes("dict", [good_run("dict", 300.1)] * 20)

    def test_short_runs_are_not_judged(self):
        short = run("leak1", report("leak1", 89), seconds=90.2)
        self.passes("leak1", [good_run("leak1")] * 20 + [short] * 5)
        self.fails("leak1", [good_run("leak1")] * 19 + [short], "missing: 19 of 20 runs are there")
        self.fails("cache", [run("cache", seconds=90.2)] * 20, "missing: 0 of 20 runs are there")
        quick = ("--cases", "cache", "--runs", "1", "--seconds", "90")
        self.assertEqual(judge([run("cache", seconds=90.2)], *quick)[0], 0)
        self.fails("cache", [run("cache") | {"reports": []}] * 20, "missing: 0 of 20 runs are there")
        # The one with the earlier deadline may end then.
        self.passes("leak10", [run("leak10", report("leak10", 58.9, row([site("leak_block")])), seconds=60.2)] * 20)

    def test_lost_runs_are_missed_ones(self):
        for case, what in (("leak10", "named within 60 s"), ("mmap", "named"), ("cache", "not lost")):
            text = self.passes(case, [good_run(case)] * 19 + [lost_run(case)])
            self.assertIn("run 1, %s, lost: leaksweep ended with status -11" % case, text)
            self.fails(case, [good_run(case)] * 18 + [lost_run(case)] * 2, what + " in 18 of 20 runs")
        self.fails("leak1", [lost_run("leak1")], "named within 300 s in 0 of 1 runs")
        self.assertEqual(judge_case("leak1", [lost_run("leak1")] * 20)[0], 1)

    def test_false_verdict_counts_in_any_run(self):
        wrong = report("cache", 50, row([site("cache_block")]))
        for bad in (run("cache", wrong), run("cache", wrong, seconds=60), lost_run("cache") | {"reports": [wrong]}):
            text = self.fails("cache", [good_run("cache")] * 20 + [bad], "false in 1 of 21 runs")
            self.assertIn("run 1, cache, false: 50 s: cache_block < main: 600 MB/h", text)
        early = report("cache", 15, row([site("cache_block")]), settled=False)
        other = report("cache", 15, row([site("cache_block", verdict="bounded")]))
        self.passes("cache", [run("cache", early, other)] * 20)

    def test_leak_beside_a_cache(self):
        both = run("leakcache", report("leakcache", 50, row([site("leak_block"), site("cache_block")])))
        self.fails("leakcache", [good_run("leakcache")] * 20 + [both], "false in 1 of 21 runs")
        first = run("leakcache", report("leakcache", 50, row([site("cache_block"), site("leak_block")])))
        self.fails("leakcache", [first] * 20, "named in 0 of 20 runs")

    def test_mappings_are_named_by_first_touches(self):
        other = run("mmap", report("mmap", 50, row(touched="churn_block")))
        self.fails("mmap", [other] * 20, "named in 0 of 20 runs")
        self.fails("dict", [run("dict", report("dict", 50, row(touched="remember")))] * 20, "named in 0 of 20 runs")
        text = self.passes("mmap", [good_run("mmap")] * 20)
        self.assertRegex(text, "mappings, 10 MB/min +20 +0 +20 +20 +59 +59 +0 +- ")

    def test_bounds(self):
        miss = run("leak10", report("leak10", 58, row([site("leak_block", upper=RATE * 0.9)])))
        text = self.passes("leak10", [good_run("leak10")] * 19 + [miss])
        self.assertIn("bounds miss: 58 s: 600 MB/h (480 to 540), true 600 MB/h", text)
        self.fails("leak10", [good_run("leak10")] * 18 + [miss] * 2, "bounds hold in 18 of 20 runs")
        # Those of the last report count, short runs do not.
        later = report("leak10", 63, row([site("leak_block")]))
        self.passes("leak10", [good_run("leak10")] * 18 + [run("leak10", miss["reports"][0], later)] * 2)
        short = run("leak10", report("leak10", 58, row([site("leak_block")])), seconds=59)
        self.fails("leak10", [good_run("leak10")] * 18 + [miss] * 2 + [short] * 40, "bounds hold in 18 of 20 runs")

    def test_missing_cases(self):
        status, text = judge([good_run("leak10")] * 20)
        self.assertEqual(status, 1)
        for case in sweep_cases.CASES:
            self.assertEqual("falls short: %s: missing: 0 of 20 runs" % case in text, case != "leak10")
        self.assertEqual(judge([good_run(case) for case in sweep_cases.CASES] * 20)[0], 0)
        self.assertEqual(judge([])[0], "there are no runs")

    def test_services_under_one_sweep(self):
        both = good_run("leak10") | {"cases": ["leak10", "cache"]}
        for each in both["reports"]:
            each["services"] += report("cache", each["at"])["services"]
        self.assertEqual(judge([both] * 20, "--cases", "leak10 cache")[0], 0)


class File(unittest.TestCase):
    def test_torn_lines(self):
        runs = [good_run("leak10")] * 20
        for torn in ('{"run": 1, "cases": ["le\n', '{"run": 1}\n', "[1]\n", '{"run": 1, "cases"'):
            lines = runs[:5] + [torn] + (runs[5:] if torn.endswith("\n") else [])
            status, text = judge_case("leak10", lines)
            self.assertEqual(status, 0 if torn.endswith("\n") else 1, text)
            self.assertIn("skipped, no whole record: line 6\n", text)

    def test_what_comes_after_a_torn_line_is_whole(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "runs")
            records.append(path, {"run": 1})
            with open(path, "a") as file:
                file.write('{"run": 2, "ca')
            records.append(path, {"run": 3})
            records.append(path, {"run": 4})
            found, remarks = records.read(path, ("run",))
            self.assertEqual(found, [{"run": 1}, {"run": 3}, {"run": 4}])
            self.assertEqual(remarks[0], "skipped, no whole record: line 2")

    def test_commits(self):
        self.assertIn("\ncommit abc; load when a run began: median 0.1, at most 0.1\n", judge([good_run("leak10")])[1])
        text = judge([good_run("leak10"), good_run("leak10") | {"commit": "abc-dirty", "load": 3}])[1]
        self.assertIn("\n2 COMMITS DIFFER: abc, abc-dirty; load when a run began: median 1.6, at most 3.0\n", text)
        origin = records.origin()
        self.assertGreaterEqual(origin["load"], 0)
        self.assertTrue(origin["commit"])


class Rows(unittest.TestCase):
    def test_only_what_is_judged_is_kept(self):
        frames = [{"function": "leak_block", "module": "/x/service", "line": 7}, {"module": "/lib/libc.so.6"}, {}]
        whole = {"pid": 7, "comm": "service", "growth": {}, "code": {
            "look": "windows", "windows": 3, "traced_ns": 5, "ledger": None,
            "sites": [{"verdict": "growing", "rate": {"lower": 1}, "evidence": {}, "frames": frames}],
            "touches": [{"kind": "user", "frames": frames[:1]}, {"kind": "user", "frames": []}]}}
        self.assertEqual(sweep_tool.judged(whole), {"pid": 7, "code": {
            "windows": 3, "traced_ns": 5,
            "sites": [{"verdict": "growing", "rate": {"lower": 1},
                       "frames": ["leak_block", "(libc.so.6)", "(unknown)"]}],
            "touches": [{"frames": ["leak_block"]}]}})
        self.assertEqual(sweep_tool.judged({"pid": None, "code": None}), {"pid": None, "code": None})


SERVICE = """
import signal, time
signal.signal(signal.SIGUSR1, lambda *_: print('{"leak": null, "settled": true, "seconds": 1}', flush=True))
print("READY", flush=True)
time.sleep(60)
"""


class Tool(unittest.TestCase):
    """With a script in its place, beside a service that does nothing."""

    def record(self, script):
        with tempfile.TemporaryDirectory() as folder:
            tool = os.path.join(folder, "tool")
            with open(tool, "w") as file:
                file.write("#!/bin/sh\n" + script)
            os.chmod(tool, 0o755 if script else 0)
            args = types.SimpleNamespace(apart=False, run=1, tool=tool, interval="1s", seconds=1, budget="1",
                                         options="", leakers=None, python=None)
            with mock.patch.object(sweep_cases, "command", lambda *_: [sys.executable, "-c", SERVICE]):
                group = sweep_run.Group(args, 0, ["cache"])
            group.watch()
        return json.loads(json.dumps(group.record))

    def test_whole_run(self):
        record = self.record("""echo '{"growing": [], "overhead": {"spent_percent": 0.5}}'""")
        self.assertNotIn("failed", record)
        self.assertEqual(record["reports"][0]["services"][0]["row"], None)
        self.assertEqual(record["reports"][0]["services"][0]["truth"]["settled"], True)
        self.assertEqual(judge([record], "--cases", "cache", "--runs", "1", "--seconds", "0")[0], 0)

    def test_failed_ones_are_kept(self):
        for script, why in (("echo reason >&2; exit 1", "status 1: reason"), ("kill -SEGV $$", "status -11"),
                            ("echo '[]'", "no attribute"), ("", "Permission denied"),
                            ("""echo '{"growing": [{"code": {"look": 1}}]}'""", "windows")):
            record = self.record(script)
            self.assertIn(why, record["failed"])
            status, text = judge([record], "--cases", "cache", "--runs", "1", "--seconds", "0")
            self.assertEqual(status, 1)
            self.assertIn("falls short: cache: not lost in 0 of 1 runs", text)


if __name__ == "__main__":
    unittest.main(warnings="ignore")
