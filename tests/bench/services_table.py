# SPDX-License-Identifier: GPL-2.0-or-later
"""What the sweep costs services under load: services_table.py [OPTION...] RECORDS (as services_run.py writes them)

What is lost is the mean of the logarithms of the pairs' ratios, in percent of the period without the sweep, with its
95 % interval by Student's t over the pairs; p99 is lost where it is longer. An interval that holds 0 is marked ~: not
distinguishable from zero. Of many intervals some miss by chance: with m of them at a budget of 1, each is judged by its
own at 1 - 0.05 / m, so that all together fail in one of 40 campaigns without any loss. What disturbs the machine for
longer than a period makes neighbouring pairs alike and the interval too narrow, so it has to be quiet. "spent" is the
most that any report accounted for the last minute, "own" the tool's own CPU time in its worst minute, as the kernel has
it; both in percent of each CPU. "windows" are those that were opened in the service, with the time they took, "beside"
the periods with the sweep in which it told of any; "listed" are reports that have it as growing by resident memory.

Ends with 1 if at a budget of 1 throughput or p99 lose what is distinguishable from zero, or if throughput's interval is
too wide to tell; if a budget is overrun by more than a tenth; if a site is called growing in a service that does not
grow; if in one that does a sweep opened no window, or there was none in most periods; if a run failed; and if something
is missing of what is asked for.
"""
import argparse
import functools
import itertools
import math
import statistics
import sys

import records
from sweep_table import accounted, growing_sites, highest_minute_ms, rates_text

JUDGED_BUDGET = 1
ERROR = 0.05  # of intervals that miss, both sides together
WIDEST = 5  # percent to each side of a loss of throughput
MOST_SPENT = 1.1  # of the budget
FRAMES = 5
MOST_TOLD = 10  # stacks of one row


def t_share(angle, freedom):
    """Share of Student's t between -t and t, with t = tan(angle) * sqrt(freedom) (Abramowitz, Stegun 26.7.3-4)."""
    is_odd = freedom % 2
    term, series = math.cos(angle) if is_odd else 1, 0
    for power in range(is_odd, freedom - 1, 2):
        series += term
        term *= math.cos(angle) ** 2 * (power + 1) / (power + 2)
    inside = math.sin(angle) * series
    return (angle + inside) * 2 / math.pi if is_odd else inside


@functools.cache
def t_quantile(error, freedom):
    """The t that is exceeded, to both sides together, by so much of Student's distribution."""
    low, high = 0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        if t_share(angle, freedom) < 1 - error:
            low = angle
        else:
            high = angle
    return math.tan(low) * math.sqrt(freedom)


def stack_text(frames):
    """The functions nearest to the allocation; what follows itself is told once."""
    return " < ".join([str(name) for name, _ in itertools.groupby(frames)][:FRAMES])


class Loss:
    """What pairs lose in percent, with its interval; that of a single pair is unknown."""

    def __init__(self, pairs, name, sign):
        """`sign` is 1 where less is worse, -1 where more is."""
        self.logs = [math.log(pair["with"][name] / pair["without"][name]) for pair in pairs]
        self.sign = sign
        self.mean = self.percent(0)
        self.lower, self.upper = self.interval(ERROR)
        self.half = (self.upper - self.lower) / 2

    def percent(self, change):
        return self.sign * 100 * (1 - math.exp(statistics.fmean(self.logs) + change))

    def interval(self, error):
        if len(self.logs) < 2:
            return -math.inf, math.inf
        half = t_quantile(error, len(self.logs) - 1) * statistics.stdev(self.logs) / math.sqrt(len(self.logs))
        return sorted((self.percent(-half), self.percent(half)))

    def is_lost(self, intervals):
        return self.interval(ERROR / intervals)[0] > 0

    def holds_zero(self):
        return self.lower <= 0 <= self.upper

    def __str__(self):
        if math.isinf(self.upper):
            return "%+.1f" % self.mean
        return "%+.1f ±%.1f (%+.1f to %+.1f)%s" % (self.mean, self.half, self.lower, self.upper,
                                                  " ~" if self.holds_zero() else "")


def name_of(service, grows, minutes):
    return "%s, %s%s" % (service, "growing" if grows else "as it is", ", %g min" % minutes if minutes else "")


class Outcome:
    """All that was seen of one service in one form at one budget."""

    def __init__(self, found):
        first = found[0]
        self.service, self.grows, self.budget = first["service"], first["grows"], first["budget"]
        self.minutes = first["minutes"]
        self.failed = [record["failed"] for record in found if "failed" in record]
        self.pairs = [pair for record in found for pair in record["pairs"]]
        self.sweeps = [sweep for record in found for sweep in record["sweeps"]]
        self.rate_loss = Loss(self.pairs, "rate", 1) if self.pairs else None
        self.p99_loss = Loss(self.pairs, "p99_ms", -1) if self.pairs else None
        told = [record for record in found if "anon_bytes" in record]
        self.grown = sum(record["anon_bytes"][1] - record["anon_bytes"][0] for record in told) / max(
            sum(record["anon_seconds"] for record in told), 1)
        self.spent = max((value for value in map(accounted, self.sweeps) if value is not None), default=None)
        self.own = max(map(highest_minute_ms, self.sweeps), default=0) / 600 / first["cpus"]
        self.take_windows()
        self.take_sites()

    def name(self):
        return name_of(self.service, self.grows, self.minutes)

    def is_judged(self):
        return self.budget == JUDGED_BUDGET and bool(self.pairs)

    def take_windows(self):
        self.windows = self.traced_s = self.listed = self.idle_sweeps = 0
        self.beside = sum(pair["with"]["traced_s"] > 0 for pair in self.pairs)
        for sweep in self.sweeps:
            last = {}
            for report in sweep["reports"]:
                self.listed += bool(report["rows"])
                last.update({row["pid"]: row["code"] for row in report["rows"] if row.get("code")})
            self.windows += sum(code["windows"] for code in last.values())
            traced_s = sum(code["traced_ns"] for code in last.values()) / 1e9
            self.traced_s += traced_s
            self.idle_sweeps += not traced_s and "seconds" in sweep

    def take_sites(self):
        """`named`: stacks called growing, each with the number of reports and the last one's rate."""
        self.named = {}
        for report in (report for sweep in self.sweeps for report in sweep["reports"]):
            stacks = {}
            for site in (site for row in report["rows"] for site in growing_sites({"row": row})):
                stacks.setdefault(stack_text(site["frames"]), []).append(site)
            for stack, sites in stacks.items():
                self.named[stack] = (self.named.get(stack, (0, ""))[0] + 1, rates_text(sites))

    def failures(self, intervals):
        """What falls short, where so many intervals are judged."""
        found = ["failed: " + why for why in self.failed]
        if self.is_judged():
            found += ["%s loses %s %%" % (what, loss) for what, loss in (("throughput", self.rate_loss),
                                                                        ("p99", self.p99_loss))
                      if loss.is_lost(intervals)]
            if WIDEST < self.rate_loss.half < math.inf:
                found.append("loss of throughput is known to ±%.1f %% only" % self.rate_loss.half)
        for what, percent in (("accounted for", self.spent), ("own", self.own)):
            if percent is not None and percent > MOST_SPENT * self.budget:
                found.append("%s %.2f %%" % (what, percent))
        if self.named and not self.grows:
            found.append("called growing, and is not")
        if self.grows and self.idle_sweeps:
            found.append("no window was opened in %d of %d sweeps" % (self.idle_sweeps, len(self.sweeps)))
        if self.grows and 2 * self.beside < len(self.pairs):
            found.append("windows in %d of %d periods only" % (self.beside, len(self.pairs)))
        return ["%s, budget %g %%: %s" % (self.name(), self.budget, text) for text in found]

    def row(self):
        without = [pair["without"] for pair in self.pairs]
        return [
            self.name(),
            "%g" % self.budget,
            len(self.pairs),
            "%.3g" % statistics.median(sample["rate"] for sample in without) if without else "-",
            str(self.rate_loss or "-"),
            "%.3g" % statistics.median(sample["p99_ms"] for sample in without) if without else "-",
            str(self.p99_loss or "-"),
            "-" if self.spent is None else "%.2f" % self.spent,
            "%.2f" % self.own,
            "%d, %.1f s" % (self.windows, self.traced_s) if self.windows else "-",
            "%d of %d" % (self.beside, len(self.pairs)) if self.pairs else "-",
            "%.1f" % (self.grown * 60 / 1e6),
            self.listed,
            len(self.named),
        ]

    def lines(self):
        kind = "named" if self.grows else "false"
        told = sorted(self.named.items(), key=lambda item: -item[1][0])
        texts = ["%s in %d reports: %s: %s" % (kind, reports, stack, rates) for stack, (reports, rates) in told]
        if len(texts) > MOST_TOLD:
            texts[MOST_TOLD:] = ["%s: %d more" % (kind, len(texts) - MOST_TOLD)]
        return ["%s, budget %g %%: %s" % (self.name(), self.budget, text) for text in texts]


HEAD = ["service", "budget", "pairs", "per s", "% lost", "p99 ms", "% longer", "spent", "own", "windows", "beside",
        "MB/min", "listed", "sites"]


def print_table(rows):
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(HEAD))]
    for row in rows:
        cells = [str(cell).rjust(width) for cell, width in zip(row, widths)]
        print("  ".join([str(row[0]).ljust(widths[0])] + cells[1:]).rstrip())


def missing(outcomes, asked):
    """What of all that is asked for is not there."""
    def is_long(outcome):
        return not outcome.grows and outcome.minutes >= asked.minutes and not outcome.failed

    pairs = {(outcome.service, outcome.grows, outcome.budget): len(outcome.pairs)
             for outcome in outcomes if not outcome.minutes}
    forms = asked.forms.split()
    found = []
    for service in asked.services.split():
        for form, budget in itertools.product([form for form in forms if form != "long"], asked.budgets.split()):
            there = pairs.get((service, form == "grows", float(budget)), 0)
            if there < asked.pairs:
                found.append("%s, budget %s %%: missing: %d of %d pairs are there" % (
                    name_of(service, form == "grows", 0), budget, there, asked.pairs))
        if "long" in forms and not any(is_long(outcome) for outcome in outcomes if outcome.service == service):
            found.append("%s: missing" % name_of(service, False, asked.minutes))
    return found


def outcomes_of(found):
    groups = {}
    for record in found:
        groups.setdefault((record["service"], record["grows"], record["minutes"], record["budget"]), []).append(record)
    return [Outcome(group) for group in groups.values()]


def failures_of(outcomes):
    intervals = sum(2 for outcome in outcomes if outcome.is_judged())
    return [failure for outcome in outcomes for failure in outcome.failures(intervals)]


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--services", default="redis nginx postgres json", help="that have to be there")
    parser.add_argument("--forms", default="plain grows long", help="of each, in pairs, and for --minutes without")
    parser.add_argument("--budgets", default="1 2 5", help="of the pairs")
    parser.add_argument("--pairs", type=int, default=10, help="of each service, form and budget")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("records")
    return parser.parse_args()


def main():
    asked = arguments()
    found, remarks = records.read(asked.records, ("service", "grows", "budget", "minutes", "cpus", "pairs", "sweeps"))
    if not found:
        sys.exit("there are no runs")
    outcomes = outcomes_of(found)
    print_table([HEAD] + [outcome.row() for outcome in outcomes])
    print("\nper s, p99: median of the periods without the sweep; lost, longer: with it, half width of the 95 % "
          "interval, and the interval; ~ = not distinguishable from zero")
    print("spent, own: % of each CPU in the worst minute; beside: periods with the sweep that had windows; MB/min: "
          "what the service has really grown by")
    failures = failures_of(outcomes) + missing(outcomes, asked)
    lines = remarks + [line for outcome in outcomes for line in outcome.lines()]
    for line in lines + ["falls short: " + failure for failure in failures]:
        print(line)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
