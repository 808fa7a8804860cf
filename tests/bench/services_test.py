# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether services_table.py judges rightly, on numbers made up; run before anything is measured."""
import contextlib
import io
import json
import random
import sys
import tempfile
import types
import unittest
from unittest import mock

import services_run
import services_table
from services_kinds import csv_sample, log_sample


def pair(without, with_sweep, p99_without=1.0, p99_with=1.0):
    return {"without": {"rate": without, "p99_ms": p99_without}, "with": {"rate": with_sweep, "p99_ms": p99_with}}


def site(verdict, function):
    return {"verdict": verdict, "frames": [function, "main"],
            "rate": {"bytes_per_hour": 3e6, "lower": 2e6, "upper": 4e6} if verdict == "growing" else None}


def row(pid, windows, sites=()):
    return {"pid": pid, "code": {"windows": windows, "traced_ns": windows * 10**8, "sites": list(sites)}}


def report(at, cpu_s=0.0, spent=None, rows=()):
    return {"at": at, "cpu_s": cpu_s, "rows": list(rows),
            "overhead": {"budget_percent": None if spent is None else 1.0, "spent_percent": spent}}


def record(pairs=(), reports=(), grows=False, budget=1.0, seconds=100, cpu_s=0.0, minutes=0, service="redis"):
    return {"service": service, "grows": grows, "budget": budget, "cpus": 2, "seconds": 20, "minutes": minutes,
            "anon_bytes": [10**7, 3 * 10**7], "anon_seconds": 120, "pairs": list(pairs),
            "sweeps": [{"seconds": seconds, "cpu_s": cpu_s, "reports": list(reports)}]}


def failures(*records):
    return [failure for outcome in services_table.outcomes_of(records) for failure in outcome.failures()]


NOISE = [pair(100, 100 + change, 1, 1 + change / 50) for change in (3, -2, 1, -4, 2, 0, -1, 3, -3, 1)]


class Interval(unittest.TestCase):
    def test_quantiles_are_those_of_students_t(self):
        for freedom, value in ((1, 12.706), (9, 2.262), (30, 2.042), (31, 2.0395), (60, 2.0003), (120, 1.9799)):
            self.assertAlmostEqual(services_table.t_975(freedom), value, delta=0.001)

    def test_bounds(self):
        loss = services_table.Loss([1, 2, 3, 4, 5])
        self.assertAlmostEqual(loss.mean, 3)
        self.assertAlmostEqual(loss.lower, 3 - 2.776 * 2.5**0.5 / 5**0.5, places=6)
        self.assertAlmostEqual(loss.upper, 3 + 2.776 * 2.5**0.5 / 5**0.5, places=6)
        self.assertTrue(loss.is_lost())

    def test_what_is_worse_is_above_zero(self):
        pairs = [pair(100, 90, 10, 11)]
        self.assertAlmostEqual(services_table.loss_of(pairs, "rate", 1).mean, 10)
        self.assertAlmostEqual(services_table.loss_of(pairs, "p99_ms", -1).mean, 10)

    def test_one_pair_tells_nothing(self):
        loss = services_table.Loss([50])
        self.assertFalse(loss.is_lost())
        self.assertEqual(str(loss), "+50.0")
        self.assertEqual(failures(record([pair(100, 50)])), [])

    def test_holds_the_truth_in_19_of_20(self):
        chance = random.Random(6)
        missed = 0
        for _ in range(4000):
            pairs = [pair(chance.gauss(100, 5), chance.gauss(100, 5)) for _ in range(10)]
            loss = services_table.loss_of(pairs, "rate", 1)
            # What the quotient of two such is on average: 1 + (5 %)^2.
            missed += not loss.lower <= -0.25 <= loss.upper
        self.assertTrue(0.04 <= missed / 4000 <= 0.06, missed)

    def test_finds_a_small_loss_amid_noise_common_to_a_pair(self):
        chance = random.Random(7)
        found = 0
        for _ in range(200):
            pairs = []
            for _ in range(10):
                speed = chance.gauss(100, 15)
                pairs.append(pair(speed * chance.gauss(1, 0.01), speed * 0.97 * chance.gauss(1, 0.01)))
            found += services_table.loss_of(pairs, "rate", 1).is_lost()
        self.assertGreater(found, 198)


class Verdict(unittest.TestCase):
    def test_noise_is_no_loss(self):
        self.assertEqual(failures(record(NOISE)), [])
        self.assertIn("~", str(services_table.outcomes_of([record(NOISE)])[0].rate_loss))

    def test_loss_counts_at_budget_1_only(self):
        slower = [pair(100, 95 + change / 10) for change in range(10)]
        self.assertRegex(failures(record(slower))[0], "throughput loses")
        self.assertEqual(failures(record(slower, budget=2.0)), [])
        later = [pair(100, 100, 1, 1.2 + change / 100) for change in range(10)]
        self.assertRegex(failures(record(later))[0], "p99 loses")

    def test_faster_is_no_loss(self):
        self.assertEqual(failures(record([pair(100, 105 + change / 10) for change in range(10)])), [])

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
        self.assertEqual(outcome.failures(), [])
        self.assertRegex(failures(record(NOISE, [report(40, 0.0), report(99, 1.4)], cpu_s=1.4))[0], "own 1.17")

    def test_false_verdict(self):
        grown = [report(50, rows=[row(7, 3, [site("growing", "sdsnewlen"), site("churn", "zmalloc")])])]
        self.assertRegex(failures(record(NOISE, grown))[0], "called growing, and is not")
        self.assertRegex(failures(record(reports=grown, minutes=10))[0], "10 min.*called growing, and is not")
        outcome = services_table.outcomes_of([record(NOISE, grown, grows=True)])[0]
        self.assertEqual(outcome.failures(), [])
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

    def test_growth_that_was_really_there(self):
        self.assertEqual(services_table.outcomes_of([record(NOISE)])[0].row()[10], "10.0")

    def ends(self, *records):
        with tempfile.NamedTemporaryFile("w") as file, mock.patch.object(sys, "argv", ["table", file.name]):
            file.write("".join(json.dumps(each) + "\n" for each in records))
            file.flush()
            out = io.StringIO()
            with contextlib.redirect_stdout(out), self.assertRaises(SystemExit) as end:
                services_table.main()
        return end.exception.code, out.getvalue()

    def test_exit_status(self):
        good = record(NOISE, [report(30, spent=0.9, rows=[row(7, 3)])], grows=True)
        status, text = self.ends(good, record(minutes=10))
        self.assertEqual(status, 0, text)
        status, text = self.ends(good, record([pair(100, 90), pair(100, 91)] * 5, service="nginx"))
        self.assertEqual(status, 1)
        self.assertIn("falls short: nginx, as it is: throughput loses +9.5", text)
        self.assertEqual(self.ends()[0], "there are no runs")


class Loads(unittest.TestCase):
    def test_redis_benchmark(self):
        text = ('"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms",'
                '"max_latency_ms"\n"SET","100000.00","0.7","0.1","0.4","2.9","4.5","4.8"\n'
                '"INCR","50000.00","0.4","0.08","0.2","1.9","3.5","4.8"\n')
        self.assertEqual(csv_sample(text, 50000), (100000, 1.5, [4.5, 3.5]))

    def test_pgbench_log(self):
        lines = [b"0 %d %d 0 1000 %d" % (i, 1000 * i, 5000 * i) for i in range(200)]
        self.assertEqual(log_sample(lines, 1000, 1000.5), {"rate": 200, "p99_ms": 98})
        self.assertEqual(log_sample(lines, 2000, 2001), {"rate": 0, "p99_ms": 0})


class Order(unittest.TestCase):
    def test_pairs_alternate_and_two_share_a_sweep(self):
        done = []

        class Watch:
            def __init__(self, *_):
                done.append("start")

            def end(self):
                done.append("end")
                return {}

            def kill(self):
                pass

        service = types.SimpleNamespace(load=lambda seconds: done.append(seconds) or {"rate": len(done), "p99_ms": 1},
                                        pids=list)
        args = types.SimpleNamespace(pairs=3, seconds=20, lead=9, warm=7, minutes=0)
        with mock.patch.object(services_run, "Watch", Watch):
            course = services_run.Course(args, service, []).run()
        self.assertEqual(done, [7, 20, "start", 9, 20, 20, "end", 9, 20, 20, "start", 9, 20, "end", 9])
        self.assertEqual(len(course["pairs"]), 3)
        self.assertEqual(len(course["sweeps"]), 2)
        self.assertLess(course["pairs"][0]["without"]["rate"], course["pairs"][0]["with"]["rate"])
        self.assertGreater(course["pairs"][1]["without"]["rate"], course["pairs"][1]["with"]["rate"])


if __name__ == "__main__":
    unittest.main()
