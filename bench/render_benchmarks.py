"""Writes the tables of docs/benchmarks.md from the rows, between the marks that the page has for them; the text around stays.

usage: render_benchmarks.py [--check]        with --check: fails if the page is not what the rows say
"""

import itertools
import statistics
import sys

import rows
from plot_benchmarks import PEER_LABELS

ROOT = rows.ROOT
PAGE = ROOT / "docs/benchmarks.md"
RESULTS = ROOT / "bench/results"
DTYPES = ("bfloat16", "float16", "float32")


def table(head, lines):
    body = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in body)


def number(value, digits=3):
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 10 ** digits else f"{value:.{digits}g}"


def with_unit(value, unit):
    return number(value) + (unit if value is not None else "")


def compared(found, axis, field="dtype", groups=DTYPES, peers=("llama.cpp", "transformers")):
    """A line per group and size: ours, its limit, the peers that took part and how much faster ours is."""
    peers = [who for who in peers if any(row["who"] == who for row in found)]
    lines = []
    for group in groups:
        mine = sorted((row for row in found if (row["who"], row[field]) == ("ours", group)), key=lambda row: row[axis])
        for row in mine:
            line = [group, row[axis], number(row["median_ms"]), number(row["tokens_per_s"]), number(row["limit_ms"]), number(row["over_limit"])]
            for who in peers:
                peer = next((other for other in found if (other["who"], other[field], other[axis]) == (who, group, row[axis])), {})
                line += [number(peer.get("median_ms")), with_unit(peer.get("ours_is_faster_by"), " x")]
            lines.append(line)
    head = [field, axis, "ms", "tokens/s", "limit, ms", "times the limit"]
    return table(head + [cell for who in peers for cell in (f"{who}, ms", "ours is faster by")], lines)


def of_section(found, section):
    return [row for row in found if row["section"] == section]


def decode(found):
    return compared(of_section(found, "decode"), "batch")


def prefill(found):
    return compared(of_section(found, "prefill"), "tokens")


def instructions(found):
    limited = {"field": "instructions", "groups": ("AVX-512", "AVX2"), "peers": ("transformers",)}
    return "\n\n".join((compared(of_section(found, "decode"), "batch", **limited), compared(of_section(found, "prefill"), "tokens", **limited)))


def adapters(found):
    mine = sorted(of_section(found, "adapter"), key=lambda row: (row["tables"], row["batch"], row["states"]))
    way = {0: "base", 1: "one adapter, fused"}
    return table(["positions", "rows", "weights", "ms", "times base"],
                 [[row["tables"], row["batch"], way.get(row["states"], f"{row['states']} adapters, rows patched"), number(row["median_ms"]),
                   number(row.get("over_base"))] for row in mine])


def streams(found):
    mine = sorted(of_section(found, "streams"),
                  key=lambda row: (row["tables"], row["streams"], row["adapters"], row["mode"]))
    return table(["positions", "streams", "adapters", "way", "tokens/s", "of one adapter's", "times slices alone", "steps patched", "switches",
                  "streams that differ"],
                 [[row["tables"], row["streams"], row["adapters"], "auto" if row["mode"] == "patching" else "slices alone",
                   number(row["tokens_per_s"]), number(row.get("of_one_adapter")), number(row.get("over_slices")),
                   share(row.get("patched_share")), row.get("switches", ""), row["differing_streams"]] for row in mine])


def share(value):
    return "" if value is None else f"{value * 100:.0f} %"


def peers(found):
    mine = sorted(of_section(found, "peers"), key=lambda row: (row["streams"], row["adapters"], -row["tokens_per_s"]))
    return table(["streams", "adapters", "who", "tokens/s", "ours is faster by"],
                 [[row["streams"], row["adapters"], "this server" if row["who"] == "ours" else PEER_LABELS[row["mode"]],
                   number(row["tokens_per_s"]), with_unit(row["ours_is_faster_by"], " x") if row["who"] != "ours" else ""] for row in mine])


def zipf(found):
    mine = sorted(of_section(found, "zipf"), key=lambda row: (row["mode"], row["rate"], row["seed"]))
    lines = []
    for row in mine:
        lines.append([row["rate"], "auto" if row["mode"] == "patching" else "slices alone", row["seed"], row["requests"],
                      *(f"{row[f'ttft_p{p}_ms']:.0f}" for p in (50, 95, 99)), *(f"{row[f'gap_p{p}_ms']:.0f}" for p in (50, 95, 99)),
                      number(row["tokens_per_s"]), share(row["good_share"]), row.get("switches", ""), share(row.get("patched_share")),
                      row["differing_streams"]])
    return table(["requests/s", "way", "seed", "requests", "TTFT p50", "p95", "p99", "gap p50", "p95", "p99", "tokens/s", "good", "switches",
                  "steps patched", "streams that differ"], lines)


def fairness(found):
    """The runs of one rate together: the commonest adapter's requests beside as many of the rarest ones'."""
    mine = of_section(found, "zipf")
    lines = []
    for (mode, rate), group in itertools.groupby(sorted(mine, key=lambda row: (row["mode"], row["rate"])), key=lambda row: (row["mode"], row["rate"])):
        requests = [request for row in group for request in row["requests_rank_ttft_ms"]]
        common = [ttft for rank, ttft in requests if rank == 0]
        rarest_first = sorted(requests, key=lambda request: -request[0])[:len(common)]
        rare = [ttft for _, ttft in rarest_first]
        if not common:
            continue
        p99 = rows.percentile(common, 0.99), rows.percentile(rare, 0.99)
        lines.append(["auto" if mode == "patching" else "slices alone", rate, len(common), f"{statistics.median(common):.0f}", f"{p99[0]:.0f}",
                      f"{rarest_first[-1][0] + 1} to 64", f"{statistics.median(rare):.0f}", f"{p99[1]:.0f}", number(p99[1] / p99[0])])
    return table(["way", "requests/s", "requests of each", "commonest: TTFT p50", "p99", "rarest adapters, by rank", "TTFT p50", "p99",
                  "p99, rarest / commonest"], lines)


def machines(found):
    lines = sorted({(row["machine"], row["commit"]) for row in found})
    reads = [row["read_gb_per_s"] for row in found if "read_gb_per_s" in row]
    peaks = {row["dtype"]: row["peak_gflops"] for row in found if "peak_gflops" in row}
    text = table(["machine", "commit"], lines)
    if reads:
        text += (f"\n\nReading a buffer of the weights' size: {number(min(reads))} to {number(max(reads))} GB/s by run.\nPeak: " +
                 ", ".join(f"{number(value)} GFLOP/s in {dtype}" for dtype, value in sorted(peaks.items())) + ".")
    return text


def fill(text, name, content):
    begin, end = f"<!-- rows: {name} -->\n", f"<!-- end: {name} -->\n"
    before, rest = text.split(begin, 1)
    return before + begin + content + "\n" + end + rest.split(end, 1)[1]


def render(text):
    forward, limited, load, epyc_forward, epyc_load = (
        rows.read(RESULTS / f"{name}.jsonl") for name in ("generate", "instructions", "load", "generate_epyc", "load_epyc"))
    tables = [("instructions", instructions, limited), ("peers", peers, load), ("zipf", zipf, load), ("fairness", fairness, load)]
    for prefix, passes, served in (("", forward, load), ("EPYC ", epyc_forward, epyc_load)):
        tables += [(f"{prefix}machines", machines, passes + served), (f"{prefix}decode", decode, passes), (f"{prefix}adapters", adapters, passes),
                   (f"{prefix}prefill", prefill, passes), (f"{prefix}streams", streams, served)]
    for name, make, found in tables:
        text = fill(text, name, make(found))
    return text


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    text = PAGE.read_text()
    rendered = render(text)
    if sys.argv[1:]:
        sys.exit(0 if text == rendered else "docs/benchmarks.md is not what bench/results says: run bench/render_benchmarks.py")
    PAGE.write_text(rendered)


if __name__ == "__main__":
    main()
