"""How it is measured: always alternating, always a median, always as an unprivileged user."""

import dataclasses
import json
import math
import os
import pathlib
import shlex
import shutil
import statistics
import subprocess
import time

median = statistics.median


class Failed(Exception):
    """The benchmark cannot go on; the message says why."""


def startup(ws, cases, rounds, runs):
    """Times each case's command in interleaved rounds and returns all samples in ms by case name.

    A round gives each case a few runs; the order turns from round to round, so that neither a slow phase
    of the machine nor a neighbour's leftovers fall on one case only.
    """
    samples = {case.name: [] for case in cases}
    for number in range(rounds):
        turn = number % len(cases)
        for case in cases[turn:] + cases[:turn]:
            # A peer that takes 300 ms needs fewer runs than one that takes 3.
            few = max(2, min(runs, int(1.0 / max(case.slow, 0.001))))
            samples[case.name] += hyperfine(ws, case, few)
    return samples


def by_round(one, other, rounds, compare):
    """Compares the medians of two cases of `startup` round by round, and returns their interval."""
    medians = []
    for samples in (one, other):
        runs = len(samples) // rounds
        medians.append([median(samples[at : at + runs]) for at in range(0, runs * rounds, runs)])
    return interval([compare(a, b) for a, b in zip(*medians)])


def hyperfine(ws, case, runs):
    out = ws.scratch / "hyperfine.json"
    command = shlex.join([*case.argv, *case.command])
    argv = [
        "hyperfine",
        "-N",
        "--style=none",
        "--warmup=2",
        f"--runs={runs}",
        f"--export-json={out}",
        command,
    ]
    done, _ = ws.run(argv, case.cwd, path=case.path, timeout=60 + 2 * runs * max(case.slow, 0.1))
    if done.returncode:
        raise Failed(f"hyperfine cannot time `{case.name}`: {done.stderr.decode(errors='replace').strip()}")
    return [seconds * 1000 for seconds in json.loads(out.read_text())["results"][0]["times"]]


def wall(ws, argv, cwd=None, most=0, **how):
    """Seconds that a command takes. Its status must be at most `most`."""
    done, seconds = ws.run(argv, cwd or ws.empty, **how)
    if not 0 <= done.returncode <= most:
        raise Failed(f"`{shlex.join(argv)}` failed: {done.stderr.decode(errors='replace').strip()}")
    return seconds


def pipe(ws, sandbox, size):
    """Seconds for `head -c SIZE /dev/zero | [sandbox] cat | wc -c`; every byte must arrive."""
    started = time.monotonic()
    head = ws.start(["head", "-c", str(size), "/dev/zero"], ws.empty, stdout=subprocess.PIPE)
    cat = ws.start([*sandbox, "cat"], ws.empty, stdin=head.stdout, stdout=subprocess.PIPE)
    head.stdout.close()
    count = ws.start(["wc", "-c"], ws.empty, stdin=cat.stdout, stdout=subprocess.PIPE)
    cat.stdout.close()
    arrived = int(count.communicate(timeout=120)[0])
    seconds = time.monotonic() - started
    if (head.wait(), cat.wait(), arrived) != (0, 0, size):
        raise Failed(f"of {size} bytes through the pipe {arrived} arrived")
    return seconds


def cargo(ws, argv, project, toolchain):
    """Seconds of a build from nothing."""
    shutil.rmtree(project / "target", ignore_errors=True)
    return wall(ws, argv, project, path=toolchain.search, mount=toolchain.mount, timeout=300)


def pairs(count, bare, inside):
    """Times `bare` and `inside` in alternation, first one and then the other going first."""
    bare(), inside()  # warm-up
    taken = []
    for number in range(count):
        if number % 2:
            second = inside()
            taken.append((bare(), second))
        else:
            taken.append((bare(), inside()))
    return taken


def turns(ways, rounds, measured):
    """What `measured` returns for each way, in rounds whose order turns, after one that warms up.

    `ways` is a dict of name and whatever `measured` is given.
    """
    samples = {name: [] for name in ways}
    names = list(ways)
    for number in range(-1, rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            sample = measured(ways[name])
            if number >= 0:
                samples[name].append(sample)
    return samples


@dataclasses.dataclass
class Interval:
    median: float
    low: float
    high: float


def paired_ratio(taken):
    """The median of inside / bare over the pairs, with its interval."""
    return interval([inside / bare for bare, inside in taken])


def interval(values):
    """The median, with an interval that holds the true one at least 19 times in 20.

    The interval is the distribution-free one of order statistics (binomial): no assumption of normal noise.
    With fewer than six values there is none at that level, and the whole range is given.
    """
    values = sorted(values)
    count, rank, tail = len(values), 0, 0.5 ** len(values)
    while tail <= 0.025:
        rank += 1
        tail += math.comb(count, rank) * 0.5**count
    low = max(rank - 1, 0)
    return Interval(median(values), values[low], values[count - 1 - low])


@dataclasses.dataclass
class Process:
    role: str
    peak: int  # KiB, VmHWM
    steady: int  # KiB, VmRSS


def memory(ws, sandbox):
    """What the sandbox's own processes hold while a command sleeps inside."""
    quiet = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    child = ws.start([*sandbox.argv, "sleep", "1"], sandbox.cwd, **quiet)
    try:
        time.sleep(0.5)
        found, wanted = [], [child.pid]
        status = {pid: fields for pid in all_pids() if (fields := read_status(pid))}
        for pid in wanted:
            fields = status.get(pid)
            if fields is None:
                raise Failed(f"`{sandbox.name}` ended while its memory was to be read")
            wanted += [other for other in status if status[other]["PPid"] == str(pid)]
            # The command itself is not the sandbox's.
            if fields["Name"] != "sleep":
                role = "supervisor" if pid == child.pid else "init" if len(found) == 1 else "other"
                found.append(Process(role, int(fields["VmHWM"].split()[0]), int(fields["VmRSS"].split()[0])))
        if len(wanted) == len(found):
            raise Failed(f"`{sandbox.name}` did not start its command in time")
        return found
    finally:
        child.wait(timeout=30)


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def read_status(pid):
    """The fields of a process, or None for one that is gone or is a kernel thread."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return None
    fields = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return fields if "VmRSS" in fields else None
