"""Draws docs/generate.svg and docs/load.svg from the rows of generate.sh and load.sh.

usage: plot_benchmarks.py GENERATE.jsonl LOAD.jsonl FOLDER
"""

import pathlib
import sys

import rows
from svg_chart import COLOURS, Chart

WHO = (("ours", "this server", COLOURS["ours"]), ("llama.cpp", "llama.cpp", COLOURS["llama.cpp"]),
       ("transformers", "transformers", COLOURS["transformers"]))
PEER_LABELS = {"shira_merged": "PEFT SHiRA, merged in turn", "shira_unmerged": "PEFT SHiRA, not merged", "lora_mixed": "PEFT LoRA r = 32, mixed batch",
               "lora": "llama.cpp LoRA r = 32", "base": "llama.cpp, base model alone"}


def curve(found, section, who, axis, value):
    points = [(row[axis], value(row)) for row in found if (row["section"], row["who"], row["dtype"]) == (section, who, "bfloat16")]
    return sorted(points)


def generate(found):
    chart = Chart("SmolLM2-135M in bfloat16, 2 threads: the forward pass")
    panels = (("decode", "batch", "Decoding, with 128 tokens of context in each row: time of a step", "rows in the batch", "ms"),
              ("prefill", "tokens", "Prompts: time to the first token", "tokens", "ms"))
    for section, axis, heading, x_label, y_label in panels:
        ours = curve(found, section, "ours", axis, lambda row: row["limit_ms"])
        if not ours:
            continue
        series = [(label, colour, points, False) for who, label, colour in WHO
                  if (points := curve(found, section, who, axis, lambda row: row["median_ms"]))]
        series.append(("the machine's limit", "#8b98a3", ours, True))
        chart.lines(heading, series, [x for x, _ in ours], x_label, y_label)
    return chart.svg(found[0]["machine"])


def streams_of(found, streams, tables):
    return [row for row in found if row["section"] == "streams" and (row["streams"], row["tables"]) == (streams, tables)]


def load(found):
    chart = Chart("SmolLM2-135M in bfloat16, 2 threads: a server under load")
    for streams in (8, 16):
        bars = []
        for row in sorted(streams_of(found, streams, "distinct"), key=lambda row: (row["adapters"], row["mode"])):
            way = "rows patched" if row["mode"] == "patching" else "time slices alone"
            note = f", {row['of_one_adapter']:.2f} of one adapter's" if row.get("of_one_adapter") and row["adapters"] > 1 else ""
            bars.append((f"{row['adapters']} adapter{'s' * (row['adapters'] > 1)}, {way}", row["tokens_per_s"],
                         COLOURS["ours" if row["mode"] == "patching" else "ours_light"], note))
        if bars:
            chart.bars(f"{streams} streams, all together", bars, "tokens/s")
    peers = [row for row in found if row["section"] == "peers" and (row["streams"], row["adapters"]) == (8, 4)]
    if peers:
        bars = [("this server" if row["who"] == "ours" else PEER_LABELS[row["mode"]], row["tokens_per_s"],
                 COLOURS["ours" if row["who"] == "ours" else row["who"]], "") for row in sorted(peers, key=lambda row: -row["tokens_per_s"])]
        chart.bars("8 streams over 4 adapters, in one run", bars, "tokens/s")
    return chart.svg(found[0]["machine"])


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    for draw, path in ((generate, sys.argv[1]), (load, sys.argv[2])):
        if found := rows.read(path):
            pathlib.Path(sys.argv[3], draw.__name__ + ".svg").write_text(draw(found))


if __name__ == "__main__":
    main()
