"""What is shown: Markdown tables that read well on a terminal too, and the bars with pass or miss."""

import dataclasses
import datetime
import pathlib
import statistics

README = pathlib.Path(__file__).resolve().parent.parent / "README.md"


class NoMarkers(Exception):
    """README.md has no place for the tables."""


@dataclasses.dataclass
class Bar:
    name: str
    measured: float
    limit: float
    interval: tuple = ()  # low and high, where the noise is known
    least: bool = False  # the limit is the least, not the most

    @property
    def holds(self):
        return self.measured >= self.limit if self.least else self.measured <= self.limit

    @property
    def wanted(self):
        return f"{'at least' if self.least else 'at most'} {self.limit:g}"

    @property
    def result(self):
        noisy = self.interval and self.interval[0] <= self.limit < self.interval[1]
        return ("pass" if self.holds else "**miss**") + (", within the noise" if noisy else "")


@dataclasses.dataclass
class Result:
    """All that one run measured."""

    versions: list
    command: str
    startup: list = dataclasses.field(default_factory=list)  # (name, samples in ms)
    memory: list = dataclasses.field(default_factory=list)  # (name, processes)
    work: list = dataclasses.field(default_factory=list)  # (name, pairs in s, ratio)
    tables: list = dataclasses.field(default_factory=list)  # Markdown, made by the benchmark
    bars: list = dataclasses.field(default_factory=list)
    notes: list = dataclasses.field(default_factory=list)

    def bar(self, name, measured, limit, interval=(), least=False):
        self.bars.append(Bar(name, measured, limit, interval, least))


def markdown(result):
    parts = [
        f"Measured on {datetime.date.today()} by `{result.command}` as an unprivileged user: "
        f"{', '.join(result.versions)}."
    ]
    if result.startup:
        parts.append(startup_table(result.startup))
    if result.work:
        rows = [
            [
                name,
                f"{statistics.median(bare for bare, _ in pairs):.3f}",
                f"{statistics.median(inside for _, inside in pairs):.3f}",
                f"{ratio.median:.3f}",
                f"{ratio.low:.3f} to {ratio.high:.3f}",
            ]
            for name, pairs, ratio in result.work
        ]
        parts.append(table(["work", "bare, s", "inside, s", "ratio", "its interval"], rows))
    if result.memory:
        rows = [
            [name, process.role, f"{process.peak / 1024:.1f}", f"{process.steady / 1024:.1f}"]
            for name, processes in result.memory
            for process in processes
        ]
        parts.append(table(["memory of", "process", "peak RSS, MiB", "steady, MiB"], rows))
    parts += result.tables
    if result.bars:
        rows = [[bar.name, f"{bar.measured:.3f}", bar.wanted, bar.result] for bar in result.bars]
        parts.append(table(["bar", "measured", "wanted", "result"], rows))
    if result.notes:
        parts.append("\n".join(f"- {note}" for note in result.notes))
    return "\n\n".join(parts)


def startup_table(startup):
    medians = {name: statistics.median(samples) for name, samples in startup}
    rows = []
    for name, samples in startup:
        low, _, high = statistics.quantiles(samples, n=4)
        rows.append(
            [
                name,
                f"{medians[name]:.2f}",
                f"{low:.2f} to {high:.2f}",
                f"{medians[name] / medians['bwrap']:.2f}",
                f"{medians[name] / medians['bare']:.2f}",
            ]
        )
    return table(["start-up of `/bin/true`", "median, ms", "middle half, ms", "of bwrap", "of bare"], rows)


def table(head, rows):
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(cells):
        # Names to the left, figures to the right.
        aligned = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths))
        ]
        return f"| {' | '.join(aligned)} |"

    rule = [("-" * width) if column == 0 else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return "\n".join([line(head), line(rule), *map(line, rows)])


def markers(name):
    """What stands around the tables of a benchmark; those of start-up were the first."""
    place = "bench" if name == "startup" else f"bench-{name}"
    return f"<!-- {place}:start -->", f"<!-- {place}:end -->"


def write_readme(text, markers):
    """Replaces what stands between the markers and touches nothing else."""
    before, after = around(markers)
    README.write_text(f"{before}{markers[0]}\n{text}\n{markers[1]}{after}")


def require_markers(markers):
    """Before minutes are spent on what could not be written."""
    around(markers)


def around(markers):
    """What stands before and after the markers."""
    try:
        old = README.read_text()
    except OSError as error:
        raise NoMarkers(f"cannot read README.md: {error}") from error
    before, start, rest = old.partition(markers[0])
    _, end, after = rest.partition(markers[1])
    if not (start and end):
        raise NoMarkers(f"README.md has no `{markers[0]}` ... `{markers[1]}`")
    return before, after
