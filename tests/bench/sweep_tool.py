# SPDX-License-Identifier: GPL-2.0-or-later
"""A sweep that is run by a campaign: its reports as they come, and what it takes itself."""
import fcntl
import json
import os
import select
import subprocess
import sys
import time

END_S = 60  # that the tool may take to end


class Failed(Exception):
    """The run is worth nothing; says why."""


def own_cpu_s(pid):
    """CPU time of a process and of what it has waited for, or None when it is gone."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def open_cgroup(name):
    """Makes a control group; returns its folder and its path as /proc/PID/cgroup has it."""
    with open("/proc/self/mounts") as file:
        mounts = [line.split() for line in file]
    roots = [mount[1] for mount in mounts if mount[2] == "cgroup2"]
    roots += [mount[1] for mount in mounts if mount[2] == "cgroup" and "memory" in mount[3].split(",")]
    if not roots:
        raise Failed("no hierarchy of control groups is mounted")
    folder = os.path.join(roots[0], name)
    os.makedirs(folder, exist_ok=True)
    return folder, "/" + name


def close_cgroup(folder):
    """Removes it; who has just ended may still be in it for a moment."""
    for _ in range(20):
        try:
            os.rmdir(folder)
            return
        except OSError:
            time.sleep(0.1)


def frame_name(frame):
    return frame.get("function") or "(%s)" % os.path.basename(frame.get("module") or "unknown")


def judged(row):
    """What is judged of a row. Whoever kept all of it would be seen growing himself."""
    def names(part):
        return [sys.intern(frame_name(frame)) for frame in part.get("frames") or []]

    code = row.get("code")
    return {"pid": row.get("pid"), "code": code and {
        "windows": code["windows"],
        "traced_ns": code["traced_ns"],
        "sites": [{"verdict": site["verdict"], "rate": site["rate"], "frames": names(site)} for site in code["sites"]],
        "touches": [{"frames": names(touch)} for touch in code["touches"][:1]],
    }}


class Sweep:
    """`leaksweep sweep -f json` while it runs. Whoever started it reads its reports, to its end."""

    def __init__(self, command, seconds=None):
        """With `seconds`, of its --duration; else it goes on until stop()."""
        self.started = time.monotonic()
        self.deadline = float("inf") if seconds is None else self.started + seconds + END_S
        self.errors = b""
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def read_reports(self, note):
        """Calls note(report) for each, until the tool has ended."""
        decoder = json.JSONDecoder()
        out = self.process.stdout
        # An unread pipe of errors would stop the tool.
        fcntl.fcntl(self.process.stderr, fcntl.F_SETFL, os.O_NONBLOCK)
        text = ""
        while True:
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise Failed("the sweep does not end")
            if not select.select([out], [], [], min(left, 1))[0]:
                self.errors = (self.errors + (self.process.stderr.read() or b""))[-4096:]
                continue
            chunk = os.read(out.fileno(), 1 << 20)
            if not chunk:
                return
            text = (text + chunk.decode(errors="replace")).lstrip()
            while text:
                try:
                    report, end = decoder.raw_decode(text)
                except ValueError:
                    break  # the rest of it is still to come
                note(report)
                text = text[end:].lstrip()

    def course(self, report):
        """When a report came and what the tool had taken by then, as sweep_table.py wants it."""
        return {
            "at": round(time.monotonic() - self.started, 3),
            "cpu_s": own_cpu_s(self.process.pid),
            "overhead": report.get("overhead") or {},
        }

    def stop(self):
        """Asks for the last report and the end."""
        self.process.terminate()
        self.deadline = time.monotonic() + END_S

    def finish(self):
        """Waits for the end. Returns what it took: "seconds", "cpu_s". Fails if it ended before, or badly."""
        if self.process.returncode is None:
            _, status, usage = os.wait4(self.process.pid, 0)
            self.process.returncode = os.waitstatus_to_exitcode(status)
            if status == 0:
                return self.taken(usage)
        self.errors += self.process.stderr.read() or b""
        last = self.errors.decode(errors="replace").strip().rsplit("\n", 1)[-1]
        raise Failed("leaksweep ended with status %d: %s" % (self.process.returncode, last))

    def taken(self, usage):
        return {
            "seconds": round(time.monotonic() - self.started, 3),
            "cpu_s": usage.ru_utime + usage.ru_stime,
        }

    def kill(self):
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()
