# SPDX-License-Identifier: GPL-2.0-or-later
"""What the sweep costs services under load: services_table.py RECORDS (as services_run.py writes them)

What is lost is the mean of the pairs' differences, in percent of the period without the sweep, with its 95 % interval
by Student's t over the pairs; p99 is lost where it is longer. An interval that holds 0 is marked ~: not distinguishable
from zero. What disturbs the machine for longer than a period makes neighbouring pairs alike and the interval too
narrow, so it has to be quiet. "spent" is the most that any report accounted for the last minute, "own" the tool's own
CPU time in its worst minute, as the kernel has it; both in percent of each CPU. "windows" are those that were opened in
the service, with the time they took; "listed" are reports that have it as growing by resident memory.

Ends with 1 if at a budget of 1 throughput or p99 lose what is distinguishable from zero, if a budget is overrun by more
than a tenth, if a site is called growing in a service that does not grow, or if no window was opened in one that does.
"""
import itertools
import json
import math
import statistics
import sys

from sweep_table import accounted, growing_sites, highest_minute_ms, rates_text

JUDGED_BUDGET = 1
MOST_SPENT = 1.1  # of the budget
FRAMES = 5
MOST_TOLD = 10  # stacks of one row
# Student's t, 0.975, by degrees of freedom from 1 on
T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
         2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)


def t_975(freedom):
    if freedom <= len(T_975):
        return T_975[freedom - 1]
    z = statistics.NormalDist().inv_cdf(0.975)  # and the first terms of its expansion
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def stack_text(frames):
    """The functions nearest to the allocation; what follows itself is told once."""
    return " < ".join([str(name) for name, _ in itertools.groupby(frames)][:FRAMES])


class Loss:
    """Mean of the pairs' losses in percent, with its interval; that of a single pair is unknown."""

    def __init__(self, losses):
        self.mean = statistics.fmean(losses)
        half = math.inf
        if len(losses) > 1:
            half = t_975(len(losses) - 1) * statistics.stdev(losses) / math.sqrt(len(losses))
        self.lower, self.upper = self.mean - half, self.mean + half

    def is_lost(self):
        return self.lower > 0

    def holds_zero(self):
        return self.lower <= 0 <= self.upper

    def __str__(self):
        if math.isinf(self.upper):
            return "%+.1f" % self.mean
        return "%+.1f (%+.1f to %+.1f)%s" % (self.mean, self.lower, self.upper, " ~" if self.holds_zero() else "")


def loss_of(pairs, name, sign):
    """`sign` is 1 where less is worse, -1 where more is."""
    return Loss([sign * 100 * (pair["without"][name] - pair["with"][name]) / pair["without"][name] for pair in pairs])


class Outcome:
    """All that was seen of one service in one form at one budget."""

    def __init__(self, records):
        first = records[0]
        self.service, self.grows, self.budget = first["service"], first["grows"], first["budget"]
        self.minutes = first["minutes"]
        self.pairs = [pair for record in records for pair in record["pairs"]]
        self.sweeps = [sweep for record in records for sweep in record["sweeps"]]
        self.rate_loss = loss_of(self.pairs, "rate", 1) if self.pairs else None
        self.p99_loss = loss_of(self.pairs, "p99_ms", -1) if self.pairs else None
        self.grown = sum(record["anon_bytes"][1] - record["anon_bytes"][0] for record in records) / sum(
            record["anon_seconds"] for record in records)
        self.spent = max((value for value in map(accounted, self.sweeps) if value is not None), default=None)
        self.own = max(highest_minute_ms(sweep) for sweep in self.sweeps) / 600 / first["cpus"]
        self.take_windows()
        self.take_sites()

    def name(self):
        return "%s, %s%s" % (self.service, "growing" if self.grows else "as it is",
                             ", %g min" % self.minutes if self.minutes else "")

    def take_windows(self):
        self.windows = self.traced_s = self.listed = 0
        for sweep in self.sweeps:
            last = {}
            for report in sweep["reports"]:
                self.listed += bool(report["rows"])
                last.update({row["pid"]: row["code"] for row in report["rows"] if row.get("code")})
            self.windows += sum(code["windows"] for code in last.values())
            self.traced_s += sum(code["traced_ns"] for code in last.values()) / 1e9

    def take_sites(self):
        """`named`: stacks called growing, each with the number of reports and the last one's rate."""
        self.named = {}
        for report in (report for sweep in self.sweeps for report in sweep["reports"]):
            stacks = {}
            for site in (site for row in report["rows"] for site in growing_sites({"row": row})):
                stacks.setdefault(stack_text(site["frames"]), []).append(site)
            for stack, sites in stacks.items():
                self.named[stack] = (self.named.get(stack, (0, ""))[0] + 1, rates_text(sites))

    def failures(self):
        found = []
        if self.budget == JUDGED_BUDGET and self.pairs:
            found += ["%s: %s loses %s %%" % (self.name(), what, loss)
                      for what, loss in (("throughput", self.rate_loss), ("p99", self.p99_loss)) if loss.is_lost()]
        for what, percent in (("accounted for", self.spent), ("own", self.own)):
            if percent is not None and percent > MOST_SPENT * self.budget:
                found.append("%s: budget %g %%, %s %.2f %%" % (self.name(), self.budget, what, percent))
        if self.named and not self.grows:
            found.append("%s, budget %g %%: called growing, and is not" % (self.name(), self.budget))
        if self.grows and not self.windows:
            found.append("%s, budget %g %%: no window was opened in it" % (self.name(), self.budget))
        return found

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


HEAD = ["service", "budget", "pairs", "per s", "% lost", "p99 ms", "% longer", "spent", "own", "windows", "MB/min",
        "listed", "sites"]


def print_table(rows):
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(HEAD))]
    for row in rows:
        cells = [str(cell).rjust(width) for cell, width in zip(row, widths)]
        print("  ".join([str(row[0]).ljust(widths[0])] + cells[1:]).rstrip())


def print_remarks(outcomes):
    judged = sum(2 for outcome in outcomes if outcome.budget == JUDGED_BUDGET and outcome.pairs)
    print("\nper s, p99: median of the periods without the sweep; lost, longer: with it, 95 % interval by pairs, "
          "~ = not distinguishable from zero")
    print("spent, own: %% of each CPU in the worst minute; MB/min: what the service has really grown by; "
          "of %d intervals at budget %g one in 40 is above 0 by chance" % (judged, JUDGED_BUDGET))


def outcomes_of(records):
    groups = {}
    for record in records:
        groups.setdefault((record["service"], record["grows"], record["minutes"], record["budget"]), []).append(record)
    return [Outcome(group) for group in groups.values()]


def main():
    with open(sys.argv[1]) as file:
        outcomes = outcomes_of([json.loads(line) for line in file])
    if not outcomes:
        sys.exit("there are no runs")
    print_table([HEAD] + [outcome.row() for outcome in outcomes])
    print_remarks(outcomes)
    failures = [failure for outcome in outcomes for failure in outcome.failures()]
    for line in [line for outcome in outcomes for line in outcome.lines()] + ["falls short: " + f for f in failures]:
        print(line)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
