# SPDX-License-Identifier: GPL-2.0-or-later
"""Judges the runs of the sweep's campaign: sweep_table.py RECORDS (as sweep_run.py writes them)

A leak is named when the first of its process's growing sites has the function that leaks among its frames; the seconds
are those since the sweep began. Its bounds hold when those of the last report that names it - of all growing sites of
that function together - contain the mean rate since the service began, which is steady. A growing site is false in a
service that does not leak, once what it does at its start is over, and always when it is without the function that
leaks. "listed" are services that the report has as growing by then, rightly or not: by resident memory alone.

Ends with 1 if a verdict is false, or if in more than one of 20 runs of a case a leak that is asked for is not named in
its time, or bounds do not hold.
"""
import json
import math
import statistics
import sys

import sweep_cases

MB = 1e6
SHARE = 0.95  # of the runs that have to be right


def growing_sites(service):
    code = (service["row"] or {}).get("code") or {}
    return [site for site in code.get("sites") or [] if site.get("verdict") == "growing"]


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
        self.run = record["run"]
        self.case = record["cases"][index]
        self.seconds = record["seconds"]
        self.named_s = None
        self.holds = None  # None = it is not named
        self.is_listed = False
        self.false = []
        self.notes = []
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
        if not right or sites[0] is not right[0]:
            return
        if self.named_s is None:
            self.named_s = at
        lower, _, upper = bounds_of(right)
        self.holds = lower <= true_rate(truth) <= upper
        self.bounds = "%.0f s: %s, true %.0f MB/h" % (at, rates_text(right), true_rate(truth) / MB)

    def lines(self):
        """What of it has to be looked at."""
        texts = self.notes + ["false: " + text for text in self.false[:3]]
        if len(self.false) > 3:
            texts.append("false in %d more reports" % (len(self.false) - 3))
        return ["run %d, %s, %s" % (self.run, self.case, text) for text in texts]


def minute_cpu_ms(record):
    return record["cpu_s"] / record["seconds"] * 60 * 1000


def highest_minute_ms(record):
    """The tool's CPU time in the worst minute between reports."""
    course = [(report["at"], report["cpu_s"]) for report in record["reports"] if report["cpu_s"] is not None]
    course = [(0, 0)] + course + [(record["seconds"], record["cpu_s"])]
    return max((late - early) * 1000
               for i, (begin, early) in enumerate(course)
               for end, late in course[i:] if end - begin <= 60)


def accounted(record):
    """The most of one CPU that a report said was spent, in percent, or None when none told."""
    told = [report["overhead"].get("spent_percent") for report in record["reports"]]
    return max((value for value in told if value is not None), default=None)


def enough(good, runs):
    return good >= math.ceil(SHARE * runs - 1e-9)


def case_row(case, outcomes, records):
    """One line of the table, and what of it falls short."""
    times = [outcome.named_s for outcome in outcomes if outcome.named_s is not None]
    holds = [outcome.holds for outcome in outcomes if outcome.holds is not None]
    false = sum(bool(outcome.false) for outcome in outcomes)
    within = sweep_cases.named_within(case)
    failures = []
    if false:
        failures.append("%s: false in %d of %d runs" % (case, false, len(outcomes)))
    if within and min(outcome.seconds for outcome in outcomes) >= within:
        in_time = sum(time <= within for time in times)
        if not enough(in_time, len(outcomes)):
            failures.append("%s: named within %d s in %d of %d runs" % (case, within, in_time, len(outcomes)))
    if not enough(sum(holds), len(holds)):
        failures.append("%s: bounds hold in %d of %d runs" % (case, sum(holds), len(holds)))
    row = [
        sweep_cases.title(case),
        len(outcomes),
        sum(time <= 60 for time in times),
        sum(time <= 300 for time in times),
        "%.0f" % statistics.median(times) if times else "-",
        "%.0f" % max(times) if times else "-",
        false,
        "%d of %d" % (sum(holds), len(holds)) if holds else "-",
        sum(outcome.is_listed for outcome in outcomes),
        "%.0f" % statistics.median(minute_cpu_ms(record) for record in records),
    ]
    return row, failures


HEAD = ["service", "runs", "in 60 s", "in 300 s", "median s", "last s", "false", "bounds", "listed", "CPU ms/min"]


def print_row(row):
    print("%-24s" % row[0] + "".join("%11s" % cell for cell in row[1:]))


def print_tool(records):
    highest = max(highest_minute_ms(record) for record in records)
    spent = [value for value in map(accounted, records) if value is not None]
    told = "at most %.2f %% of one CPU" % max(spent) if spent else "not told"
    print("\nCPU: the tool's own, median of the runs; in the worst minute of all %.0f ms, of a host of %d CPUs; "
          "accounted: %s" % (highest, records[0]["cpus"], told))
    print("in: runs that named the leak; false: runs with a site wrongly called growing; listed: runs in which the "
          "process was")


def main():
    with open(sys.argv[1]) as file:
        records = [json.loads(line) for line in file]
    if not records:
        sys.exit("there are no runs")
    outcomes, of_case = {}, {}
    for record in records:
        for index, case in enumerate(record["cases"]):
            outcomes.setdefault(case, []).append(Outcome(record, index))
            of_case.setdefault(case, []).append(record)
    failures = []
    print_row(HEAD)
    for case in sweep_cases.CASES:
        if case in outcomes:
            row, failed = case_row(case, outcomes[case], of_case[case])
            print_row(row)
            failures += failed
    print_tool(records)
    for case in outcomes:
        for outcome in outcomes[case]:
            print("\n".join(outcome.lines()), end="\n" if outcome.lines() else "")
    print("\n".join("falls short: " + failure for failure in failures), end="\n" if failures else "")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
