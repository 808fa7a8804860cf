#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Holds what a smoke test's machine said on its console against the leaker's ledger: check.py CONSOLE"""
import json
import re
import sys

RUNS = ("malloc", "all", "running")
FIELDS = ("live_bytes", "live_count", "alloc_bytes", "alloc_count", "free_bytes", "free_count")


def read_parts(path):
    """Returns the console's parts, {name: {"": lines, "report": lines, "exit": number}}, and whether it ended."""
    parts, ended = {}, False
    with open(path, encoding="utf-8", errors="replace") as console:
        for line in console:
            line = line.strip()
            ended |= line == "PART end"
            if found := re.fullmatch(r"PART (\w+) exit (\d+)", line):
                parts.setdefault(found[1], {})["exit"] = int(found[2])
            elif found := re.fullmatch(r"PART (\w+) ?(\w*): ?(.*)", line):
                parts.setdefault(found[1], {}).setdefault(found[2], []).append(found[3])
    return parts, ended


def sum_of(stacks):
    """Returns the sums of some rows, by field."""
    return {field: sum(stack[field] for stack in stacks) for field in FIELDS}


def check_run(part):
    """Returns what is wrong with one traced run."""
    if part.get("exit") != 0:
        return [f"leaksweep ended with {part.get('exit')}"] + part.get("error", [])
    ledger = next(json.loads(line[7:]) for line in part[""] if line.startswith("EXPECT "))
    report = json.loads("\n".join(part["report"]))
    wrong = []
    for name, wanted in ledger["functions"].items():
        stacks = [s for s in report["stacks"] if s["layer"] == "malloc" and s["frames"]
                  and s["frames"][0]["function"] == name]
        seen = sum_of(stacks)
        wrong += [f"{name}: {field} is {seen[field]}, not {wanted[field]}" for field in FIELDS
                  if seen[field] != wanted[field]]
        wrong += [f"{name}: a stack does not lead through main by frame pointers" for s in stacks
                  if s["unwind"] != "complete" or not s["chained"]
                  or "main" not in [frame["function"] for frame in s["frames"]]]
    if not ledger["functions"]:
        wrong.append("the leaker tells no function")
    return wrong


def main():
    """Says what is wrong, or what was right."""
    parts, ended = read_parts(sys.argv[1])
    if not ended:
        with open(sys.argv[1], encoding="utf-8", errors="replace") as console:
            sys.stderr.write("".join(console.readlines()[-40:]))
        sys.exit("arm64: the machine did not come to its end")
    wrong = [f"{run}: {what}" for run in RUNS for what in check_run(parts.get(run, {}))]
    if parts.get("doctor", {}).get("exit") != 0:
        wrong += ["doctor: " + line for line in parts.get("doctor", {}).get("", [])]
    for line in wrong:
        print(f"arm64: {line}", file=sys.stderr)
    if wrong:
        sys.exit(1)
    print(f"arm64: {len(RUNS)} runs traced exactly, on the kernel that the doctor names:")
    print("\n".join(line for line in parts["doctor"][""] if re.match(r" *\w+ +(release|machine|programs) ", line)))


main()
