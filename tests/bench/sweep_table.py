# SPDX-License-Identifier: GPL-2.0-or-later
"""Judges the runs of the sweep's campaign: sweep_table.py [OPTION...] RECORDS (as sweep_run.py writes them)

A leak is named when the first of its process's growing sites has the function that leaks among its frames, one of
mappings when the first of the stacks that touched new memory has; the seconds are those since the sweep began. Bounds
hold when those of the last report that names it - of all growing sites of that function together - contain the mean
rate since the service began, which is steady. A growing site is false in a service that does not leak, once what it
does at its start is over, and always when it is without the function that leaks. "listed" are services that the report
has as growing by then, rightly or not: by resident memory alone.

Judged are runs that lasted long enough, and those that failed ("lost"), each of which counts as one in which the leak
was not named; verdicts that are false count in any run. Ends with 1 if a verdict is false, if in more than one of 20
runs of a case a leak is not named in its time, or bounds do not hold, or a run is lost, and if there are fewer runs of
a case than asked for.
"""
import argparse
import math
import statistics
import sys

import records
import sweep_cases

MB = 1e6
SHARE = 0.95  # of the runs that have to be right


def growing_sites(service):
    code = (service["row"] or {}).get("code") or {}
    return [site for site in code.get("sites") or [] if site.get("verdict") == "growing"]


def touches(service):
    return ((service["row"] or {}).get("code") or {}).get("touches") or []


def bounds_of(sites):
    """Lowest, told and highest rate of all sites together, bytes per hour."""
    rates = [site.get("rate") or {} for site in sites]

    def total(name, missing):
        values = [rate.get(name) for rate in rates]
        return sum(missing if value is None else value for value in values)

    return total("lower", 0), total("bytes_per_hour", math.nan), total("upper", math.inf)


def rates_text(sites):
    lower, told, upper = bounds_of(sites)
    return "%.0f MB/h (%.0f to %.0f)" % (told / MB, lower / MB, upper / MB)


def true_rate(truth):
    return truth["leaked_bytes"] / truth["seconds"] * 3600 if truth["seconds"] else 0


class Outcome:
    """What one run said of one service."""

    def __init__(self, record, index):
        self.record = record
        self.case = record["cases"][index]
        self.is_lost = "failed" in record
        self.named_s = None
        self.holds = None  # None = no bounds were told
        self.is_listed = False
        self.false = []
        self.notes = ["lost: " + record["failed"]] if self.is_lost else []
        for report in record["reports"]:
            self.take(report["at"], report["services"][index])
        if self.holds is False:
            self.notes.append("bounds miss: " + self.bounds)

    def take(self, at, service):
        truth, sites = service["truth"], growing_sites(service)
        if not truth["settled"]:
            return
        self.is_listed |= service["row"] is not None
        right = [site for site in sites if truth["leak"] and truth["leak"] in site["frames"]]
        for site in sites:
            if site not in right:
                frames = " < ".join(str(frame) for frame in site["frames"][:4])
                self.false.append("%.0f s: %s: %s" % (at, frames, rates_text([site])))
        named_by = touches(service) if self.case in sweep_cases.TOUCHED else sites
        if not truth["leak"] or not named_by or truth["leak"] not in named_by[0]["frames"]:
            return
        if self.named_s is None:
            self.named_s = at
        if right:
            lower, _, upper = bounds_of(right)
            self.holds = lower <= true_rate(truth) <= upper
            self.bounds = "%.0f s: %s, true %.0f MB/h" % (at, rates_text(right), true_rate(truth) / MB)

    def lasted(self, seconds):
        """Whether it had reports until then."""
        reports = self.record["reports"]
        return not self.is_lost and bool(reports) and reports[-1]["at"] >= seconds

    def is_named(self, within):
        return self.named_s is not None and self.named_s <= within

    def lines(self):
        """What of it has to be looked at."""
        texts = self.notes + ["false: " + text for text in self.false[:3]]
        if len(self.false) > 3:
            texts.append("false in %d more reports" % (len(self.false) - 3))
        return ["run %d, %s, %s" % (self.record["run"], self.case, text) for text in texts]


def minute_cpu_ms(record):
    return record["cpu_s"] / record["seconds"] * 60 * 1000


def highest_minute_ms(record):
    """The tool's CPU time in the worst minute between reports."""
    course = [(report["at"], report["cpu_s"]) for report in record["reports"] if report["cpu_s"] is not None]
    course = [(0, 0)] + course
    if "cpu_s" in record:  # it has come to its end
        course.append((record["seconds"], record["cpu_s"]))
    return max((late - early) * 1000
               for i, (begin, early) in enumerate(course)
               for end, late in course[i:] if end - begin <= 60)


def accounted(record):
    """The most of one CPU that a report said was spent, in percent, or None when none told."""
    told = [report["overhead"].get("spent_percent") for report in record["reports"]]
    return max((value for value in told if value is not None), default=None)


def enough(good, runs):
    return good >= math.ceil(SHARE * runs - 1e-9)


class Case:
    """All that was seen of one service."""

    def __init__(self, case, outcomes, asked):
        self.case, self.outcomes, self.asked_runs = case, outcomes, asked.runs
        self.within = sweep_cases.named_within(case)
        lasts = asked.seconds if self.within in (None, math.inf) else self.within
        self.whole = [outcome for outcome in outcomes if outcome.lasted(lasts)]
        self.lost = [outcome for outcome in outcomes if outcome.is_lost]
        self.runs = len(self.whole) + len(self.lost)
        self.holds = [outcome.holds for outcome in self.whole + self.lost if outcome.holds is not None]
        self.false = sum(bool(outcome.false) for outcome in outcomes)

    def failures(self):
        found = []
        if self.false:
            found.append("false in %d of %d runs" % (self.false, len(self.outcomes)))
        if self.runs < self.asked_runs:
            found.append("missing: %d of %d runs are there" % (self.runs, self.asked_runs))
        if self.within is None:
            good, what = len(self.whole), "not lost"
        else:
            good = sum(outcome.is_named(self.within) for outcome in self.whole)
            what = "named" + (" within %d s" % self.within if self.within < math.inf else "")
        if not enough(good, self.runs):
            found.append("%s in %d of %d runs" % (what, good, self.runs))
        if not enough(sum(self.holds), len(self.holds)):
            found.append("bounds hold in %d of %d runs" % (sum(self.holds), len(self.holds)))
        return ["%s: %s" % (self.case, text) for text in found]

    def row(self):
        times = [outcome.named_s for outcome in self.whole if outcome.named_s is not None]
        cpu_ms = [minute_cpu_ms(outcome.record) for outcome in self.whole]
        return [
            sweep_cases.title(self.case),
            self.runs,
            len(self.lost),
            sum(time <= 60 for time in times),
            sum(time <= 300 for time in times),
            "%.0f" % statistics.median(times) if times else "-",
            "%.0f" % max(times) if times else "-",
            self.false,
            "%d of %d" % (sum(self.holds), len(self.holds)) if self.holds else "-",
            sum(outcome.is_listed for outcome in self.outcomes),
            "%.0f" % statistics.median(cpu_ms) if cpu_ms else "-",
        ]


HEAD = ["service", "runs", "lost", "in 60 s", "in 300 s", "median s", "last s", "false", "bounds", "listed",
        "CPU ms/min"]


def print_row(row):
    print("%-24s" % row[0] + "".join("%11s" % cell for cell in row[1:]))


def print_tool(found):
    highest = max(map(highest_minute_ms, found))
    spent = [value for value in map(accounted, found) if value is not None]
    told = "at most %.2f %% of one CPU" % max(spent) if spent else "not told"
    print("\nCPU: the tool's own, median of the runs; in the worst minute of all %.0f ms, of a host of %d CPUs; "
          "accounted: %s" % (highest, found[0]["cpus"], told))
    print("runs: those that lasted long enough, or failed (lost); in: runs that named the leak; false: runs with a "
          "site wrongly called growing; listed: runs in which the process was")


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=20, help="that are asked for of each case")
    parser.add_argument("--seconds", type=float, default=300, help="that a run has to last whose case has no deadline")
    parser.add_argument("--cases", default=" ".join(sweep_cases.CASES), help="that have to be there")
    parser.add_argument("records")
    return parser.parse_args()


def main():
    asked = arguments()
    found, remarks = records.read(asked.records, ("run", "cases", "cpus", "reports"))
    if not found:
        sys.exit("there are no runs")
    outcomes = {case: [] for case in asked.cases.split()}
    for record in found:
        for index, case in enumerate(record["cases"]):
            outcomes.setdefault(case, []).append(Outcome(record, index))
    cases = [Case(case, outcomes[case], asked) for case in sweep_cases.CASES if case in outcomes]
    print_row(HEAD)
    for case in cases:
        print_row(case.row())
    print_tool(found)
    lines = remarks + [line for case in cases for outcome in case.outcomes for line in outcome.lines()]
    failures = [failure for case in cases for failure in case.failures()]
    for line in lines + ["falls short: " + failure for failure in failures]:
        print(line)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
