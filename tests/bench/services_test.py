# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether services_table.py judges rightly, on numbers made up; run before anything is measured."""
import contextlib
import io
import json
import math
import random
import sys
import tempfile
import types
import unittest
from unittest import mock

import services_run
import services_table
from services_kinds import log_sample, redis_sample, tail_ms
from sweep_tool import Failed, Sweep


def pair(without, with_sweep, p99_without=1.0, p99_with=1.0, traced_s=0.5):
    return {"without": {"rate": without, "p99_ms": p99_without},
            "with": {"rate": with_sweep, "p99_ms": p99_with, "traced_s": traced_s}}


def site(verdict, function):
    return {"verdict": verdict, "frames": [function, "main"],
            "rate": {"bytes_per_hour": 3e6, "lower": 2e6, "upper": 4e6} if verdict == "growing" else None}


def row(pid, windows, sites=()):
    return {"pid": pid, "code": {"windows": windows, "traced_ns": windows * 10**8, "sites": list(sites),
                                "touches": []}}


def report(at, cpu_s=0.0, spent=None, rows=()):
    return {"at": at, "cpu_s": cpu_s, "rows": list(rows),
            "overhead": {"budget_percent": None if spent is None else 1.0, "spent_percent": spent}}


def record(pairs=(), reports=(), grows=False, budget=1.0, seconds=100, cpu_s=0.0, minutes=0, service="redis"):
    return {"commit": "abc", "load": 0.1, "cpus": 2,
            "service": service, "grows": grows, "budget": budget, "seconds": 20, "minutes": minutes,
            "anon_bytes": [10**7, 3 * 10**7], "anon_seconds": 120, "pairs": list(pairs),
            "sweeps": [{"seconds": seconds, "cpu_s": cpu_s, "reports": list(reports)}]}


def failures(*records):
    return services_table.failures_of(services_table.outcomes_of(records))


def loss(pairs, name="rate", sign=1):
    return services_table.Loss(pairs, name, sign)


QUICK = ("--services", "redis", "--budgets", "1")
NOISE = [pair(100, 100 + change, 1, 1 + change / 50) for change in (3, -2, 1, -4, 2, 0, -1, 3, -3, 1)]


class Interval(unittest.TestCase):
    def test_quantiles_are_those_of_students_t(self):
        for error, freedom, value in ((0.05, 1, 12.706), (0.05, 2, 4.303), (0.05, 9, 2.262), (0.05, 30, 2.042),
                                      (0.05, 120, 1.9799), (0.01, 9, 3.250), (0.001, 9, 4.781), (0.001, 4, 8.610)):
            self.assertAlmostEqual(services_table.t_quantile(error, freedom), value, delta=0.001)

    def test_bounds_are_those_of_the_logarithms(self):
        found = loss([pair(100, 100 * math.exp(-each / 100)) for each in (1, 2, 3, 4, 5)])
        half = 2.7764 * 2.5**0.5 / 5**0.5
        self.assertAlmostEqual(found.mean, 100 * (1 - math.exp(-0.03)), places=4)
        self.assertAlmostEqual(found.lower, 100 * (1 - math.exp(-(3 - half) / 100)), places=4)
        self.assertAlmostEqual(found.upper, 100 * (1 - math.exp(-(3 + half) / 100)), places=4)
        self.assertAlmostEqual(found.half, half * math.exp(-0.03), delta=0.001)
        self.assertTrue(found.is_lost(1))

    def test_what_is_worse_is_above_zero(self):
        self.assertAlmostEqual(loss([pair(100, 90, 10, 11)]).mean, 10)
        self.assertAlmostEqual(loss([pair(100, 90, 10, 11)], "p99_ms", -1).mean, 10)

    def test_one_pair_tells_nothing(self):
        found = loss([pair(100, 50)])
        self.assertFalse(found.is_lost(1))
        self.assertEqual(str(found), "+50.0")
        self.assertEqual(failures(record([pair(100, 50)])), [])

    def test_twice_and_half_are_no_loss(self):
        self.assertAlmostEqual(loss([pair(100, 50), pair(100, 200)] * 5).mean, 0)

    def test_holds_the_truth_in_19_of_20(self):
        chance = random.Random(6)
        missed = 0
        for _ in range(4000):
            found = loss([pair(chance.gauss(100, 5), chance.gauss(100, 5)) for _ in range(10)])
            missed += not found.lower <= 0 <= found.upper
        self.assertTrue(0.04 <= missed / 4000 <= 0.06, missed)

    def test_a_campaign_without_loss_fails_in_one_of_40(self):
        chance = random.Random(8)
        failed = 0
        for _ in range(800):
            campaign = [loss([pair(1, math.exp(chance.gauss(0, 0.02))) for _ in range(10)]) for _ in range(16)]
            failed += any(each.is_lost(16) for each in campaign)
        self.assertTrue(0.01 <= failed / 800 <= 0.045, failed)

    def test_finds_a_small_loss_amid_noise_common_to_a_pair(self):
        chance = random.Random(7)
        found = 0
        for _ in range(200):
            pairs = []
            for _ in range(10):
                speed = chance.gauss(100, 15)
                pairs.append(pair(speed * chance.gauss(1, 0.01), speed * 0.97 * chance.gauss(1, 0.01)))
            found += loss(pairs).is_lost(16)
        self.assertGreater(found, 190)


class Verdict(unittest.TestCase):
    def test_noise_is_no_loss(self):
        self.assertEqual(failures(record(NOISE)), [])
        self.assertIn("~", str(services_table.outcomes_of([record(NOISE)])[0].rate_loss))

    def test_loss_counts_at_budget_1_only(self):
        slower = [pair(100, 95 + change / 10) for change in range(10)]
        self.assertRegex(failures(record(slower))[0], "throughput loses")
        self.assertEqual(failures(record(slower, budget=2.0)), [])
        many = [record(NOISE, service=str(number)) for number in range(200)]
        self.assertEqual(failures(record([pair(100, 98 + change % 5) for change in range(10)]), *many), [])
        later = [pair(100, 100, 1, 1.2 + change / 100) for change in range(10)]
        self.assertRegex(failures(record(later))[0], "p99 loses")

    def test_faster_is_no_loss(self):
        self.assertEqual(failures(record([pair(100, 105 + change / 10) for change in range(10)])), [])

    def test_wide_interval_tells_nothing(self):
        wide = [pair(100, 100 + change) for change in (15, -15, 10, -10, 12, -12, 8, -8, 9, -9)]
        self.assertRegex(failures(record(wide))[0], "throughput is known to ±8.* only")
        self.assertEqual(failures(record(wide, budget=2.0)), [])
        self.assertRegex(str(loss(wide)), r"±8\.\d \(-\d\.\d to \+\d\.\d\) ~")

    def test_failed_run_falls_short_and_its_pairs_count(self):
        failed = record(NOISE[:3], [report(30, cpu_s=2.0)]) | {"failed": "leaksweep ended with status -11: "}
        del failed["anon_bytes"], failed["anon_seconds"]
        del failed["sweeps"][0]["seconds"], failed["sweeps"][0]["cpu_s"]
        outcome = services_table.outcomes_of([failed, record(NOISE[3:])])[0]
        self.assertEqual(len(outcome.pairs), 10)
        self.assertAlmostEqual(outcome.own, 2 / 120 * 100)
        self.assertRegex(outcome.failures(1)[0], "failed: leaksweep ended with status -11")
        nothing = record(service="json") | {"failed": "wrk is missing", "sweeps": []}
        self.assertRegex(failures(nothing)[0], "json, as it is, budget 1 %: failed: wrk is missing")
        self.assertEqual(services_table.outcomes_of([nothing])[0].row()[4], "-")

    def test_budget(self):
        self.assertEqual(failures(record(NOISE, [report(30, spent=1.09), report(60, spent=0.5)])), [])
        overrun = record(NOISE, [report(30, spent=1.11), report(60, spent=0.5)])
        self.assertRegex(failures(overrun)[0], "accounted for 1.11")
        self.assertEqual(failures(record(NOISE, [report(60)])), [])

    def test_own_time_in_the_worst_minute(self):
        # 1.3 s of a minute of two CPUs is 1.08 % of each, in 100 s it would be less than 1 %.
        reports = [report(40, 0.0), report(99, 1.3)]
        outcome = services_table.outcomes_of([record(NOISE, reports, cpu_s=1.3)])[0]
        self.assertAlmostEqual(outcome.own, 1.3 / 120 * 100)
        self.assertEqual(outcome.failures(2), [])
        self.assertRegex(failures(record(NOISE, [report(40, 0.0), report(99, 1.4)], cpu_s=1.4))[0], "own 1.17")

    def test_false_verdict(self):
        grown = [report(50, rows=[row(7, 3, [site("growing", "sdsnewlen"), site("churn", "zmalloc")])])]
        self.assertRegex(failures(record(NOISE, grown))[0], "called growing, and is not")
        self.assertRegex(failures(record(reports=grown, minutes=10))[0], "10 min.*called growing, and is not")
        outcome = services_table.outcomes_of([record(NOISE, grown, grows=True)])[0]
        self.assertEqual(outcome.failures(2), [])
        self.assertIn("named in 1 reports: sdsnewlen < main: 3 MB/h (2 to 4)", outcome.lines()[0])

    def test_a_stack_is_told_once_a_report(self):
        twice = [row(7, 3, [site("growing", "f")]), row(8, 3, [site("growing", "f")])]
        outcome = services_table.outcomes_of([record(NOISE, [report(5, rows=twice)], grows=True)])[0]
        self.assertEqual(outcome.named, {"f < main": (1, "6 MB/h (4 to 8)")})
        self.assertEqual(services_table.stack_text(list("aabbbacde")), "a < b < a < c < d")

    def test_windows_are_those_of_each_process_last_report(self):
        reports = [report(5, rows=[row(7, 2)]), report(10, rows=[row(7, 5), row(8, 1)]), report(15, rows=[row(8, 4)])]
        outcome = services_table.outcomes_of([record(NOISE, reports, grows=True)] * 2)[0]
        self.assertEqual(outcome.windows, 18)
        self.assertAlmostEqual(outcome.traced_s, 1.8)
        self.assertEqual(outcome.listed, 6)
        self.assertEqual(len(outcome.pairs), 20)

    def test_growing_service_without_windows(self):
        self.assertRegex(failures(record(NOISE, [report(30)], grows=True))[0], "no window")
        nobody = [report(30, rows=[{"pid": 7, "code": None}])]
        self.assertRegex(failures(record(NOISE, nobody, grows=True))[0], "no window")
        half = record(NOISE, [report(30, rows=[row(7, 3)])], grows=True)
        half["sweeps"] += record(reports=[report(30, rows=[row(8, 0)])])["sweeps"]
        self.assertRegex(failures(half)[0], "no window was opened in 1 of 2 sweeps")
        half["sweeps"].pop()
        self.assertEqual(failures(half), [])

    def test_growing_service_with_most_periods_between_windows(self):
        pairs = [pair(100, 100 + change, traced_s=change % 3 % 2) for change in range(-5, 5)]
        self.assertRegex(failures(record(pairs, [report(30, rows=[row(7, 3)])], grows=True))[0],
                         "windows in [34] of 10 periods only")

    def test_growth_that_was_really_there(self):
        self.assertEqual(services_table.outcomes_of([record(NOISE)])[0].row()[11], "10.0")

    def ends(self, *records, torn="", asked=QUICK):
        with tempfile.NamedTemporaryFile("w") as file, mock.patch.object(sys, "argv", ["table", *asked, file.name]):
            file.write("".join(json.dumps(each) + "\n" for each in records) + torn)
            file.flush()
            out = io.StringIO()
            with contextlib.redirect_stdout(out), self.assertRaises(SystemExit) as end:
                services_table.main()
        return end.exception.code, out.getvalue()

    def test_exit_status(self):
        good = record(NOISE, [report(30, spent=0.9, rows=[row(7, 3)])], grows=True)
        status, text = self.ends(good, record(NOISE), record(minutes=10))
        self.assertEqual(status, 0, text)
        self.assertIn("commit abc; load when a run began: median 0.1", text)
        slow = record([pair(100, 90), pair(100, 91)] * 5, service="nginx")
        status, text = self.ends(good, record(NOISE), record(minutes=10), slow)
        self.assertEqual(status, 1)
        self.assertIn("falls short: nginx, as it is, budget 1 %: throughput loses +9.5", text)
        self.assertEqual(self.ends()[0], "there are no runs")

    def test_torn_lines_are_skipped_and_told(self):
        good = record(NOISE, [report(30, rows=[row(7, 3)])], grows=True)
        whole = [good, record(NOISE), record(minutes=10) | {"commit": "abd"}]
        for torn in ('{"service": "redis", "gro', '{"service": "redis"}\n', "17\n", "\xff\n"):
            status, text = self.ends(*whole, torn=torn)
            self.assertEqual(status, 0, text)
            self.assertIn("skipped, no whole record: line 4", text)
        self.assertIn("2 COMMITS DIFFER: abc, abd", text)

    def test_what_is_missing(self):
        good = record(NOISE, [report(30, rows=[row(7, 3)])], grows=True)
        status, text = self.ends(good, record(NOISE[:9]))
        self.assertEqual(status, 1)
        self.assertIn("falls short: redis, as it is, budget 1 %: missing: 9 of 10 pairs", text)
        self.assertIn("falls short: redis, as it is, 10 min: missing", text)
        failed = record(minutes=10) | {"failed": "it hung"}
        for other in (failed, record(minutes=5)):
            self.assertIn("falls short: redis, as it is, 10 min: missing", self.ends(good, record(NOISE), other)[1])
        text = self.ends(good, asked=())[1]
        self.assertEqual(text.count("missing: 0 of 10 pairs"), 4 * 2 * 3 - 1)
        self.assertEqual(text.count("10 min: missing"), 4)


class Loads(unittest.TestCase):
    def test_redis_benchmark(self):
        part = """%s\n====== SET ======
  10000 requests completed in 0.03 seconds
Latency by percentile distribution:
0.000%% <= 0.063 milliseconds (cumulative count 8)
99.219%% <= 0.663 milliseconds (cumulative count 9928)
100.000%% <= 0.887 milliseconds (cumulative count 10000)
100.000%% <= 0.887 milliseconds (cumulative count 10000)

Cumulative distribution of latencies:
98.720%% <= 0.503 milliseconds (cumulative count 9872)
99.040%% <= 0.607 milliseconds (cumulative count 9904)
100.000%% <= 0.903 milliseconds (cumulative count 10000)

Summary:
  throughput summary: %s requests per second
"""
        requests, seconds, took_ms = redis_sample(part % ("SET: rps=0.0\r", "100000.00") + part % ("", "50000.00"))
        self.assertEqual((requests, round(seconds, 9)), (20000, 0.3))
        self.assertEqual({ms: count for ms, count in took_ms.items() if count},
                         {0.063: 16, 0.503: 19728, 0.607: 64, 0.663: 48, 0.887: 144})
        self.assertEqual(tail_ms(took_ms), 0.607)
        self.assertEqual(tail_ms({2.0: 99, 3.0: 1}), 2.0)
        self.assertEqual(tail_ms({}), 0)

    def test_pgbench_log(self):
        lines = [b"0 %d %d 0 1000 %d" % (i, 1000 * i, 5000 * i) for i in range(200)]
        self.assertEqual(log_sample(lines, 1000, 1000.5), {"rate": 200, "p99_ms": 98})
        self.assertEqual(log_sample(lines, 2000, 2001), {"rate": 0, "p99_ms": 0})


class Watched:
    """A watch without a sweep, that tells what is done."""

    def __init__(self, done, fails_at=None):
        self.done, self.fails_at, self.periods = done, fails_at, 0
        self.reports = ["so far"]

    def __call__(self, *_):
        self.done.append("start")
        return self

    def check(self):
        self.periods += 1
        if self.periods == self.fails_at:
            raise Failed("it has died")

    def traced_s(self):
        return len(self.done) / 10

    def end(self):
        self.done.append("end")
        return {"seconds": 1}

    def kill(self):
        self.done.append("kill")


class Order(unittest.TestCase):
    def course(self, watch, **args):
        service = types.SimpleNamespace(pids=list, load=lambda seconds: watch.done.append(seconds) or {
            "rate": len(watch.done), "p99_ms": 1})
        given = types.SimpleNamespace(**{"pairs": 3, "seconds": 20, "lead": 9, "warm": 7, "minutes": 0} | args)
        record = {"pairs": [], "sweeps": []}
        with mock.patch.object(services_run, "Watch", watch):
            try:
                services_run.Course(given, service, [], record).run()
            except Failed as why:
                record["failed"] = str(why)
        return record

    def test_pairs_alternate_and_two_share_a_sweep(self):
        watch = Watched([])
        record = self.course(watch)
        self.assertEqual(watch.done, [7, "start", 9, "end", 8, 20, "start", 9, 20, 20, "end", 8, 20, 20, "start", 9, 20,
                                      "end", 8])
        self.assertEqual(len(record["pairs"]), 3)
        self.assertEqual(len(record["sweeps"]), 2)
        self.assertLess(record["pairs"][0]["without"]["rate"], record["pairs"][0]["with"]["rate"])
        self.assertGreater(record["pairs"][1]["without"]["rate"], record["pairs"][1]["with"]["rate"])
        self.assertAlmostEqual(record["pairs"][0]["with"]["traced_s"], 0.1)

    def test_a_failure_leaves_what_is_finished(self):
        watch = Watched([], fails_at=3)
        record = self.course(watch)
        self.assertEqual(record["failed"], "it has died")
        self.assertEqual(len(record["pairs"]), 2)
        self.assertEqual(record["sweeps"], [{"seconds": 1}, {"reports": ["so far"]}])
        self.assertEqual(watch.done[-1], "kill")

    def test_a_long_run_has_no_lead(self):
        watch = Watched([])
        record = self.course(watch, lead=0, minutes=1e-9)
        self.assertEqual(watch.done, [7, "start", "end"])
        self.assertEqual((record["pairs"], record["sweeps"]), ([], [{"seconds": 1}]))


class Tool(unittest.TestCase):
    """With a shell in its place."""

    def watch(self, script):
        return services_run.Watch(["sh", "-c", script], types.SimpleNamespace(pids=lambda: [7], load=lambda _: None))

    def test_reports_and_what_they_tell_of_windows(self):
        report = {"growing": [row(7, 3, [site("growing", "f")]), row(8, 5)]}
        for each in report["growing"]:
            for told in each["code"]["sites"]:
                told["frames"] = [{"function": "f", "line": 3}, {"module": "/lib/x.so"}]
        watch = self.watch("echo '%s'" % json.dumps(report))
        watch.reader.join()
        watch.sweep.finish()
        self.assertEqual([each["pid"] for each in watch.reports[0]["rows"]], [7])
        self.assertEqual(watch.reports[0]["rows"][0]["code"]["sites"][0]["frames"], ["f", "(x.so)"])
        self.assertAlmostEqual(watch.traced_s(), 0.3)

    def test_early_end_is_noticed_with_its_reason(self):
        watch = self.watch("echo reason >&2; exit 3")
        watch.sweep.process.wait()
        with self.assertRaisesRegex(Failed, "ended with status 3: reason"):
            watch.check()
        with self.assertRaisesRegex(Failed, "ended with status 3"):
            watch.end()
        watch.kill()

    def test_a_sweep_that_ends_by_itself_has_not_lasted(self):
        watch = self.watch("true")
        watch.sweep.process.wait()
        with self.assertRaisesRegex(Failed, "ended with status 0"):
            watch.check()

    def test_a_report_that_is_none_fails(self):
        watch = self.watch("echo '[]'; sleep 60")
        watch.reader.join()
        with self.assertRaises(AttributeError):
            watch.check()
        watch.kill()

    def test_status_of_a_signal(self):
        sweep = Sweep(["sh", "-c", "kill -SEGV $$"], 5)
        sweep.read_reports(None)
        with self.assertRaisesRegex(Failed, "ended with status -11"):
            sweep.finish()


if __name__ == "__main__":
    unittest.main(warnings="ignore")
