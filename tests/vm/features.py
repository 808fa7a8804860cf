#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What `leaksweep doctor --format json` found in guests.

features.py modes DOCTOR.json     the ways of attaching that the kernel has: perf multi session
features.py table ROW_FOLDER...   a Markdown table, one line for each folder that run.sh has left
"""
import json
import os
import re
import sys

KERNEL_FEATURES = ("bpf", "btf", "perf-link", "uprobe-multi", "uprobe-session", "tracefs", "bpf jit")
MODES = (("perf-link", "perf"), ("uprobe-multi", "multi"), ("uprobe-session", "session"))


def read_text(*path):
    try:
        with open(os.path.join(*path), encoding="utf-8") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def working(doctor):
    return {check["name"]: check["status"] == "ok" for check in doctor["checks"]}


def modes(doctor):
    works = working(doctor)
    return [mode for feature, mode in MODES if works.get(feature)]


def row(folder):
    """The cells of one guest, or None when its doctor said nothing."""
    text = read_text(folder, "guest", "doctor.json")
    if not text:
        return None
    doctor = json.loads(text)
    works = working(doctor)
    loads = re.findall(r"mode (\w+): the kernel takes all (\d+)", read_text(folder, "guest", "load"))
    preempt = re.search(r"preempt=(\w+)", read_text(folder, "guest", "cmdline"))
    missing = [name for name in KERNEL_FEATURES if not works.get(name)]
    return (
        read_text(folder, "guest", "uname") + (f" ({preempt.group(0)})" if preempt else ""),
        doctor["probes"]["mode"] or "none",
        doctor["probes"]["why"] or doctor["probes"]["error"] or "",
        ", ".join(f"{mode} {cnt}" for mode, cnt in loads) or "none",
        ", ".join(missing) or "nothing",
        "yes" if doctor["can_trace"] else "no",
    )


def table(folders):
    rows = [cells for cells in map(row, folders) if cells]
    if not rows:
        return
    rows.insert(0, ("Kernel", "Probes", "That is", "Programs taken", "Missing", "Traces"))
    rows.insert(1, ("---",) * len(rows[0]))
    for cells in rows:
        print("| " + " | ".join(cells) + " |")


def main(argv):
    if len(argv) == 3 and argv[1] == "modes":
        with open(argv[2], encoding="utf-8") as file:
            print(*modes(json.load(file)))
    elif len(argv) > 2 and argv[1] == "table":
        table(argv[2:])
    else:
        sys.exit(__doc__)


main(sys.argv)
