# SPDX-License-Identifier: GPL-2.0-or-later
"""The file of a campaign, to which pieces of it are added: one line of JSON for each run."""
import json
import os
import statistics
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))


def origin():
    """What a run is a run of, and on how busy a machine: to be asked for when it begins."""
    describe = ["git", "-C", HERE, "-c", "safe.directory=*", "describe", "--always", "--dirty"]
    try:
        commit = subprocess.run(describe, capture_output=True, text=True).stdout.strip()
    except OSError:
        commit = ""
    return {"commit": commit or "unknown", "load": round(os.getloadavg()[0], 2), "cpus": os.cpu_count()}


def append(path, record):
    """Adds one. What a write that was cut short has left there stays a line of its own."""
    with open(path, "a+b") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(end - 1, 0))
        torn = file.read() not in (b"", b"\n")
        file.write((b"\n" if torn else b"") + json.dumps(record).encode() + b"\n")


def parse(line, members):
    """Returns the record, None if it is not one with all these members."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and all(name in record for name in members) else None


def read(path, members):
    """Returns the records, and remarks on the whole file for who reads the table."""
    with open(path, errors="replace") as file:
        parsed = {number: parse(line, members) for number, line in enumerate(file, 1) if line.strip()}
    records = [record for record in parsed.values() if record]
    skipped = [str(number) for number, record in parsed.items() if not record]
    remarks = ["skipped, no whole record: line " + ", ".join(skipped)] if skipped else []
    if records:
        remarks.append(origins_text(records))
    return records, remarks


def origins_text(records):
    commits = sorted({record.get("commit", "unknown") for record in records})
    loads = [record["load"] for record in records if "load" in record] or [float("nan")]
    return "%s %s; load when a run began: median %.1f, at most %.1f" % (
        "commit" if len(commits) == 1 else "%d COMMITS DIFFER:" % len(commits), ", ".join(commits),
        statistics.median(loads), max(loads))
