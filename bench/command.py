"""The command line that all benchmarks have, and what each does around its measurements."""

import argparse
import os
import signal
import sys

import measure
import report
import subjects
from workspace import Workspace


def run(name, about, parts, tools, measured, rounds=(3, 15)):
    """Measures as the arguments say and returns the exit status.

    `measured(ws, result, args)` fills the result in, where `args.only` are the parts that are wanted and
    `args.rounds` is one of the two `rounds`: of a quick run, and of a full one.
    """
    args = parse_args(about, parts)
    args.rounds = rounds[0] if args.quick else rounds[1]
    markers = report.markers(name)
    # So that `timeout` and Ctrl-C run the clean-up below.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if args.write:
            report.require_markers(markers)
        zerobox = subjects.find_zerobox(args.zerobox)
        missing = [tool for tool in tools if not subjects.on_system_path(tool)]
        if missing:
            raise measure.Failed(f"not installed: {', '.join(missing)}")
        with Workspace(args.uid, zerobox) as ws:
            known = [tool for tool in ("bwrap", "hyperfine") if tool in tools]
            result = report.Result(subjects.versions(ws, known), shown(name, args, parts))
            if (busy := os.getloadavg()[0]) > 0.5:
                result.notes.append(f"the machine was busy when this began (load {busy:.1f})")
            measured(ws, result, args)
        text = report.markdown(result)
        print(text)
        if args.write:
            report.write_readme(text, markers)
    except (measure.Failed, report.NoMarkers) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 1 if args.check and any(not bar.holds for bar in result.bars) else 0


def parse_args(about, parts):
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument(
        "--zerobox",
        metavar="PATH",
        help="the binary to measure (default: what `cargo build --release` makes)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="few rounds: shows that everything works, too noisy to publish"
    )
    parser.add_argument(
        "--write", action="store_true", help="put the tables into README.md between its markers for them"
    )
    parser.add_argument("--check", action="store_true", help="exit 1 when a bar is missed")
    parser.add_argument(
        "--only",
        metavar="PART,..",
        type=lambda text: text.split(","),
        default=parts,
        help=f"some parts only: {','.join(parts)}",
    )
    parser.add_argument(
        "--uid",
        type=int,
        default=12345,
        help="the unprivileged uid to measure as when run by root (default %(default)s)",
    )
    args = parser.parse_args()
    if unknown := [part for part in args.only if part not in parts]:
        parser.error(f"no part is called `{unknown[0]}`; there are {', '.join(parts)}")
    for flag, given in (("--quick", args.quick), ("--only", args.only != parts)):
        if args.write and given:
            parser.error(f"--write and {flag} exclude each other: README.md gets whole, full runs only")
    return args


def shown(name, args, parts):
    """The command, as the report gives it: where somebody keeps a binary is nobody else's business."""
    words = [f"--{flag}" for flag in ("quick", "write") if getattr(args, flag)]
    words += [] if args.only == parts else [f"--only={','.join(args.only)}"]
    return " ".join([f"bench/{name}", *words])


def say(text):
    """Progress goes to stderr; stdout is the report alone."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
