"""Two builds of this server side by side, in turn: the switch, the forward pass, a server under load.

usage: compare_builds.py --before BIN --after BIN --names BEFORE,AFTER [--only switch,forward,load] [--turns N] [--out FILE]

BIN is a build's bin folder with shira-server, switch_bench, generate_bench and load_client (cmake -DSHIRA_BUILD_BENCH=ON). A figure is the
median over turns, a ratio the median of the ratios within a turn, and who goes first changes from turn to turn: a shared machine changes
its speed from minute to minute. The ratio is after / before of a time: below 1 the later build is faster. Needs the files of
bench/setup_peers.sh.
"""

import argparse
import collections
import contextlib
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import load
import rows
from server_run import MODEL, MeasuredServer
from worker import Worker

ROOT = rows.ROOT
KEY = ("section", "what", "dtype", "threads", "before", "after")
SWITCHES = ("apply", "revert", "a_to_b_shared", "a_to_b_distinct", "apply_blend_of_three", "compile")
FORWARD = {
    "a token, 1 stream": {"op": "decode", "batch": 1, "context": 128, "states": 0},
    "a token each, 8 streams": {"op": "decode", "batch": 8, "context": 128, "states": 0},
    "a token each, 8 streams over 4 adapters": {"op": "decode", "batch": 8, "context": 128, "states": 4},
    "a prompt of 128": {"op": "prefill", "tokens": 128, "states": 0},
    "a prompt of 512": {"op": "prefill", "tokens": 512, "states": 0},
}


def in_turn(options, measure):
    """{what: {build: [ms by turn]}}; measure(build) gives {what: ms}. The first turn warms up."""
    times = collections.defaultdict(lambda: collections.defaultdict(list))
    for turn in range(-1, options.turns):
        for build in ("before", "after") if turn % 2 else ("after", "before"):
            for what, ms in measure(build).items():
                if turn >= 0:
                    times[what][build].append(ms)
        print(f"turn {turn + 1} of {options.turns}", flush=True)
    return times


def switches(options):
    """Of the demo's shapes with r = 2, whatever dtype and threads switch_bench has."""
    def measure(build):
        with tempfile.NamedTemporaryFile("r") as out:
            subprocess.run([getattr(options, build) / "switch_bench", "--r", "2", "--out", out.name], check=True, stdout=subprocess.DEVNULL)
            found = [json.loads(line) for line in out]
        return {(row["operation"], row["dtype"], row["threads"]): row["median_ms"] for row in found if row["operation"] in SWITCHES}

    for (what, dtype, threads), times in in_turn(options, measure).items():
        yield {"section": "switch", "what": what, "dtype": dtype, "threads": threads}, times


def forward(options):
    workers = {build: Worker(build, [getattr(options, build) / "generate_bench", "--model", MODEL, "--threads", options.threads, "--adapters",
                                     ROOT / ".deps/peers/files/adapters/distinct"]) for build in ("before", "after")}
    for worker in workers.values():
        worker.wait_until_ready()

    def measure(build):
        time.sleep(0.02)  # the threads of the one before come to rest
        return {what: statistics.median(workers[build].ask(seconds=options.seconds, **request)["ms"]) for what, request in FORWARD.items()}

    for what, times in in_turn(options, measure).items():
        yield {"section": "forward", "what": what, "dtype": "bfloat16", "threads": options.threads}, times
    for worker in workers.values():
        worker.stop()


def under_load(options):
    """8 streams at a time over 1 and 4 adapters, through gRPC: ms of a token of all."""
    plans = {adapters: load.streams_plan(argparse.Namespace(tables="distinct", streams=8, tokens=64), adapters) for adapters in (1, 4)}
    with contextlib.ExitStack() as stack:
        servers = {build: stack.enter_context(MeasuredServer(getattr(options, build), "bfloat16", options.threads))
                   for build in ("before", "after")}

        def measure(build):
            found = {}
            for adapters, plan in plans.items():
                report, _ = load.run(argparse.Namespace(bin=options.after), servers[build], plan)
                found[f"8 streams over {adapters} adapters"] = 1e3 / load.steady_tokens_per_s(report)
            return found

        for what, times in in_turn(options, measure).items():
            yield {"section": "load", "what": what, "dtype": "bfloat16", "threads": options.threads}, times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sections = {"switch": switches, "forward": forward, "load": under_load}
    parser.add_argument("--before", type=pathlib.Path, required=True)
    parser.add_argument("--after", type=pathlib.Path, required=True)
    parser.add_argument("--names", type=lambda text: text.split(","), required=True, help="of the builds in the rows: commits")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(sections))
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one measurement of the forward pass")
    parser.add_argument("--out", default="")
    options = parser.parse_args()
    for section in options.only:
        result = []
        for row, times in sections[section](options):
            row |= {f"{build}_ms": statistics.median(times[build]) for build in ("before", "after")}
            row |= {"after_over_before": rows.median_ratio(times["after"], times["before"]),
                    "turns_ms": {build: times[build] for build in ("before", "after")},
                    "before": options.names[0], "after": options.names[1], "machine": rows.machine()}
            result.append(rows.rounded(row))
            print(f"{row['section']:<8} {row['what']:<42} {row['dtype']:<9} {row['threads']}  {row['before_ms']:8.3f} -> {row['after_ms']:8.3f} ms, "
                  f"{row['after_over_before']:.3f}", flush=True)
        if options.out:
            rows.replace(options.out, result, KEY)


if __name__ == "__main__":
    main()
