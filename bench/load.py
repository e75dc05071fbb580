"""A real server under load: fixed streams over a number of adapters, and an open Poisson load over 64 adapters by Zipf's law.

usage: load.py SECTION [--streams N] [--adapters N,...] [--rate R] [--seed S] [--turns N] [--tables equal|distinct] [--out FILE]
               [--references-only]

Sections
  streams   N streams at a time over so many adapters, with row patching and, in turn, with time slices alone
  peers     the same streams beside PEFT (SHiRA merged, SHiRA unmerged, LoRA in mixed batches) and llama.cpp (LoRA), in turn
  zipf      requests at random times, `rate` a second on average, over 64 adapters; adapter k is asked for with probability ~ 1/k

Every stream's tokens are compared with those that the same request gives alone, on a server that switches between steps. These
references are made first where they are missing and kept in .deps/peers (--references-only ends there: they take a while and need no
quiet machine). Tokens per second of streams are counted between the last stream's first token and the first stream's end.
"""

import argparse
import collections
import contextlib
import hashlib
import json
import pathlib
import random
import statistics
import subprocess

import rows
from server_run import MeasuredServer
from worker import LLAMA_CPP, Worker

ROOT = rows.ROOT
FILES = ROOT / ".deps/peers/files"
KEY = ("section", "who", "mode", "streams", "adapters", "tables", "rate", "seed", "dtype", "threads")
ZIPF_ADAPTERS = 64
# What a user notices: a request that keeps both counts as goodput.
TTFT_GOAL_S, GAP_GOAL_S = 1.0, 0.1
MODES = ("patching", "slices")
PEER_WAYS = {"transformers": ("shira_merged", "shira_unmerged", "lora_mixed"), "llama.cpp": ("base", "lora")}


def prompt(random_source, low=16, high=64):
    return [random_source.randrange(1000, 41000) for _ in range(random_source.randint(low, high))]


def streams_plan(options, adapters):
    source = random.Random(1)
    return [{"at": 0, "adapter": f"{options.tables}-{stream % adapters:02}", "prompt": prompt(source, 16, 16), "tokens": options.tokens}
            for stream in range(options.streams)]


def zipf_plan(options):
    source = random.Random(options.seed)
    weights = [1 / (rank + 1) for rank in range(ZIPF_ADAPTERS)]
    plan, at = [], 0.0
    while (at := at + source.expovariate(options.rate)) < options.seconds:
        rank = source.choices(range(ZIPF_ADAPTERS), weights)[0]
        plan.append({"at": at, "adapter": f"{options.tables}-{rank:02}", "prompt": prompt(source), "tokens": source.randint(16, 48)})
    return plan


def run(options, server, plan):
    """The client's report for each request of the plan, and what the server counted meanwhile."""
    server.load([request["adapter"] for request in plan])
    before = server.counters()
    client = subprocess.run([options.bin / "load_client", "--address", server.address], input=json.dumps(plan), capture_output=True, text=True)
    if client.returncode:
        raise RuntimeError(client.stderr)
    after = server.counters()
    return [json.loads(line) for line in client.stdout.splitlines()], {name: after[name] - before[name] for name in after}


class References:
    """Token ids of requests run alone, by what determines them."""

    def __init__(self, options):
        self.options = options
        self.path = ROOT / ".deps/peers/references.json"
        self.program = hashlib.sha256((options.bin / "shira-server").read_bytes()).hexdigest()[:16]
        known = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.ids = known.get(self.program, {})  # another program may round otherwise

    def key(self, request):
        content = [request["adapter"], request["prompt"], request["tokens"], self.options.dtype]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]

    def make(self, plan):
        missing = {self.key(request): request for request in plan if self.key(request) not in self.ids}
        if not missing:
            return
        print(f"{len(missing)} references", flush=True)
        with start_server(self.options, "slices") as server:
            # Those of an adapter one after the other: fewer switches.
            for key, request in sorted(missing.items(), key=lambda item: item[1]["adapter"]):
                report, _ = run(self.options, server, [{**request, "at": 0}])
                self.ids[key] = report[0]["ids"]
        self.path.write_text(json.dumps({self.program: self.ids}))

    def differing(self, plan, report):
        return sum(self.ids[self.key(request)] != one["ids"] for request, one in zip(plan, report))


def start_server(options, mode):
    return MeasuredServer(options.bin, options.dtype, options.threads, ["--row-patching", {"patching": "auto", "slices": "off"}[mode]])


def check(plan, report, references):
    problems = [one["error"] for one in report if one["error"]]
    if problems:
        raise RuntimeError(f"{len(problems)} of {len(report)} requests failed: {problems[0]}")
    return references.differing(plan, report)


def steady_tokens_per_s(report):
    begin = max(one["token_s"][0] for one in report)
    end = min(one["token_s"][-1] for one in report)
    return sum(begin < at <= end for one in report for at in one["token_s"]) / (end - begin)


def shares(counted):
    return {**counted, "patched_share": counted["patched_steps"] / max(1, counted["fused_steps"] + counted["patched_steps"])}


def about(options):
    return {"tables": options.tables, "dtype": options.dtype, "threads": options.threads, "machine": rows.machine(), "commit": rows.commit()}


def measure_streams(options, references):
    configs = [(mode, adapters) for adapters in options.adapters for mode in MODES]
    plans = {adapters: streams_plan(options, adapters) for adapters in options.adapters}
    for plan in plans.values():
        references.make(plan)
    if options.references_only:
        return []
    speeds, counts, wrong = collections.defaultdict(list), {}, collections.Counter()
    with contextlib.ExitStack() as stack:
        servers = {mode: stack.enter_context(start_server(options, mode)) for mode in MODES}
        for turn in range(-1, options.turns):  # the first one warms up
            for mode, adapters in configs:
                plan = plans[adapters] if turn >= 0 else [{**one, "tokens": 8} for one in plans[adapters]]
                report, counted = run(options, servers[mode], plan)
                if turn >= 0:
                    wrong[mode, adapters] += check(plan, report, references)
                    speeds[mode, adapters].append(steady_tokens_per_s(report))
                    counts[mode, adapters] = counted
                    print(f"turn {turn + 1}, {mode}, {adapters} adapters: {speeds[mode, adapters][-1]:.0f} tokens/s", flush=True)
    result = []
    for mode, adapters in configs:
        mine = speeds[mode, adapters]
        row = {"section": "streams", "who": "ours", "mode": mode, "streams": options.streams, "adapters": adapters,
               "tokens_per_s": statistics.median(mine), "turns_tokens_per_s": mine, "tokens": options.tokens,
               "differing_streams": wrong[mode, adapters], **shares(counts[mode, adapters])}
        if (mode, 1) in speeds:
            row["of_one_adapter"] = rows.median_ratio(mine, speeds[mode, 1])
        if mode == "patching":
            row["over_slices"] = rows.median_ratio(mine, speeds["slices", adapters])
        result.append({**row, **about(options)})
    return result


def peer_workers(options):
    return {
        "transformers": Worker("transformers", [ROOT / ".deps/venv/bin/python", "-W", "ignore", ROOT / "bench/transformers_worker.py", "--model",
                                                FILES / f"hf-{options.dtype}", "--dtype", options.dtype, "--threads", options.threads]),
        "llama.cpp": Worker("llama.cpp", ["node", ROOT / "bench/llama_worker.mjs", "--package", LLAMA_CPP, "--model",
                                          FILES / f"{options.dtype}.gguf", "--threads", options.threads, "--lora", FILES / "lora32.gguf"]),
    }


def measure_peers(options, references):
    plans = {adapters: streams_plan(options, adapters) for adapters in options.adapters}
    for plan in plans.values():
        references.make(plan)
    if options.references_only:
        return []
    speeds = collections.defaultdict(list)  # (who, mode, adapters): by turn
    mode = "patching"
    peers = peer_workers(options)
    with start_server(options, mode) as server:
        for peer in peers.values():
            peer.wait_until_ready()
        for _ in range(options.turns):
            for adapters in options.adapters:
                report, _ = run(options, server, plans[adapters])
                check(plans[adapters], report, references)
                speeds["ours", mode, adapters].append(steady_tokens_per_s(report))
                for who in peers:
                    for way in options.ways:
                        if way not in PEER_WAYS[who]:
                            continue
                        answer = peers[who].ask(op="streams", way=way, streams=options.streams, adapters=adapters, tokens=options.peer_tokens,
                                                prompt=16)
                        if answer:
                            speeds[who, way, adapters].append(answer["tokens_per_s"])
    for peer in peers.values():
        peer.stop()
    return [{"section": "peers", "who": who, "mode": way, "streams": options.streams, "adapters": adapters,
             "tokens_per_s": statistics.median(mine), "turns_tokens_per_s": mine,
             "ours_is_faster_by": rows.median_ratio(speeds["ours", mode, adapters], mine), **about(options)}
            for (who, way, adapters), mine in speeds.items()]


def measure_zipf(options, references):
    plan = zipf_plan(options)
    references.make(plan)
    if options.references_only:
        return []
    result = []
    for mode in options.modes or ["patching"]:
        with start_server(options, mode) as server:
            server.load([request["adapter"] for request in plan])
            run(options, server, [{**plan[0], "at": 0, "prompt": plan[0]["prompt"][::-1]}])  # warms up
            report, counted = run(options, server, plan)
        wrong = check(plan, report, references)
        result.append({"section": "zipf", "who": "ours", "mode": mode, "rate": options.rate, "seed": options.seed, "adapters": ZIPF_ADAPTERS,
                       "seconds": options.seconds, "differing_streams": wrong, **shares(counted), **about(options), **zipf_figures(plan, report)})
    return result


def zipf_figures(plan, report):
    """Latencies from the planned start of a request, so that a late client counts, too."""
    requests, gaps = [], []
    for request, one in zip(plan, report):
        own = [after - before for before, after in zip(one["token_s"], one["token_s"][1:])]
        gaps += own
        requests.append([int(request["adapter"].split("-")[1]), one["token_s"][0] - request["at"], rows.percentile(own, 0.95), len(one["ids"])])
    span = max(one["token_s"][-1] for one in report)
    good = [tokens for _, ttft, gap, tokens in requests if ttft <= TTFT_GOAL_S and gap <= GAP_GOAL_S]
    figures = {"requests": len(plan), "tokens_per_s": sum(len(one["ids"]) for one in report) / span, "good_share": len(good) / len(plan),
               "goodput_tokens_per_s": sum(good) / span, "requests_rank_ttft_ms": [[rank, ttft * 1e3] for rank, ttft, _, _ in requests]}
    for name, values in (("ttft", [ttft for _, ttft, _, _ in requests]), ("gap", gaps)):
        figures |= {f"{name}_p{share}_ms": rows.percentile(values, share / 100) * 1e3 for share in (50, 95, 99)}
    return figures


def show(row):
    if row["section"] == "zipf":
        print(f"zipf {row['mode']:<9} {row['rate']} requests/s: ttft p50 {row['ttft_p50_ms']:.0f} p95 {row['ttft_p95_ms']:.0f} "
              f"p99 {row['ttft_p99_ms']:.0f} ms, gaps p50 {row['gap_p50_ms']:.0f} p95 {row['gap_p95_ms']:.0f} p99 {row['gap_p99_ms']:.0f} ms, "
              f"{row['tokens_per_s']:.0f} tokens/s, good {row['good_share']:.2f}, switches {row.get('switches')}, patched "
              f"{row.get('patched_share')}, differing {row['differing_streams']} of {row['requests']}", flush=True)
        return
    line = f"{row['section']} {row['who']:<13}{row['mode']:<15} {row['streams']} over {row['adapters']:<3}{row['tokens_per_s']:8.1f} tokens/s"
    for field in ("of_one_adapter", "over_slices", "ours_is_faster_by", "differing_streams", "switches", "patched_share"):
        if field in row:
            line += f"  {field} {row[field]:.4g}"
    print(line, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda text: [int(part) for part in text.split(",")]  # noqa: E731
    names = lambda text: text.split(",")  # noqa: E731
    measures = {"streams": measure_streams, "peers": measure_peers, "zipf": measure_zipf}
    parser.add_argument("section", choices=measures)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--adapters", type=numbers, default=[1, 4, 8])
    parser.add_argument("--tokens", type=int, default=96, help="of each stream")
    parser.add_argument("--peer-tokens", type=int, default=16, help="of each of the peers' streams")
    parser.add_argument("--ways", type=names, default=[way for ways in PEER_WAYS.values() for way in ways], help="the peers'")
    parser.add_argument("--rate", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=40, help="in which requests start")
    parser.add_argument("--modes", type=names, default=[], help="of zipf: patching, slices")
    parser.add_argument("--tables", choices=["equal", "distinct"], default="distinct", help="positions of the adapters")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--references-only", action="store_true")
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin")
    parser.add_argument("--out", default="")
    options = parser.parse_args()
    result = [rows.rounded(row) for row in measures[options.section](options, References(options))]
    for row in result:
        show(row)
    if options.out and result:
        rows.replace(options.out, result, KEY)


if __name__ == "__main__":
    main()
