"""Tokens per second of one stream with drafts and without: two servers that differ in --speculate alone, asked in turn.

usage: speculation.py [--model FILE]... [--dtype D] [--turns N] [--tokens N] [--threads N] [--bin FOLDER] [--out FILE]

The text is the beginning of Lewis Carroll's Alice's Adventures in Wonderland (1865), which is in the public domain. The answers copy it,
edit it, and tell what it is about; "sampled" is a story at temperature 1, in which nothing repeats but by chance. Every answer is compared
with the one of the server without drafts: the token ids have to be equal. The speed is of decoding, from the first token to the last, by
the servers' own clocks; ratios are medians of the ratios within a turn.
"""

import argparse
import os
import pathlib
import statistics
import sys

import rows

ROOT = rows.ROOT
KEY = ("workload", "model", "dtype", "threads", "products")
TEXT = (ROOT / "bench/speculation_text.txt").read_text().strip()
DEMO = ROOT / ".deps/models/smollm2-135m-instruct-q4_1.gguf"
CODER = ROOT / ".deps/models/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
EDITED = TEXT.replace("Alice", "Anna").replace("sister", "brother")
GREEDY = {"temperature": 0}
# What is asked, how the answer begins, and how it is sampled. The beginning keeps small models at what they were asked for.
WORKLOADS = {
    "copy": (f"Repeat this text word for word:\n\n{TEXT}", TEXT[:60], GREEDY),
    "edit": (f"Write this text again, with Anna in the place of Alice and brother in the place of sister:\n\n{TEXT}", EDITED[:320], GREEDY),
    "summarise": (f"Tell in a few sentences, with quotations, what happens in this text:\n\n{TEXT}", "", GREEDY),
    "sampled": ("Write a long story about a lighthouse keeper and the sea.", "", {"temperature": 1, "seed": 7}),
}


def request(workload, tokens):
    question, beginning, sampling = WORKLOADS[workload]
    messages = [{"role": "user", "content": question}]
    if beginning:
        messages.append({"role": "assistant", "content": beginning})
    return {"chat": {"messages": messages, "omit_generation_prompt": bool(beginning)}, "sampling": sampling,
            "stop": {"max_tokens": tokens, "ignore_eos": True}}


def ask(server, workload, tokens):
    """Tokens per second, and the answer."""
    answer = server.client().inference.Generate(**request(workload, tokens), timeout=600)
    decode = answer.summary.timings.decode
    return (answer.summary.usage.completion_tokens - 1) / (decode.seconds + decode.nanos / 1e9), answer


def measure(model, options):
    flags = ["--model", model, "--dtype", options.dtype, "--threads", options.threads]
    with ServerProcess(*flags, "--speculate", "ngram") as with_drafts, ServerProcess(*flags, "--speculate", "off") as without:
        for workload in options.workloads:
            speeds = {"ngram": [], "off": []}
            for turn in range(options.turns + 1):  # the first one fills the cache of prompts
                pair = [("ngram", with_drafts), ("off", without)]
                answers = {}
                for name, server in pair if turn % 2 else pair[::-1]:
                    speed, answers[name] = ask(server, workload, options.tokens)
                    if turn:
                        speeds[name].append(speed)
                if answers["ngram"].token_ids != answers["off"].token_ids:
                    raise RuntimeError(f"{workload}: drafts have changed the answer")
            usage = answers["ngram"].summary.usage
            yield rows.rounded({
                "workload": workload, "model": model.stem, "dtype": options.dtype, "threads": options.threads,
                "products": os.environ.get("SHIRA_BF16_PRODUCTS", ""), "tokens": usage.completion_tokens,
                "prompt_tokens": usage.prompt_tokens, "drafted": usage.drafted_tokens, "accepted": usage.accepted_tokens,
                "tokens_per_s": {name: statistics.median(values) for name, values in speeds.items()},
                "times_as_fast": rows.median_ratio(speeds["ngram"], speeds["off"]), "turns": speeds, "machine": rows.machine(),
                "commit": rows.commit()})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, action="append", dest="models", help="default: those that scripts/setup.sh gets")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--workloads", type=lambda text: text.split(","), default=list(WORKLOADS))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin")
    parser.add_argument("--out", default="")
    options = parser.parse_args()
    os.environ["SHIRA_BIN"] = str(options.bin)
    for model in options.models or [path for path in (DEMO, CODER) if path.exists()]:
        for row in measure(model, options):
            print(f"{row['model']:<40} {row['workload']:<10} {row['tokens_per_s']['ngram']:8.1f} tokens/s, without drafts "
                  f"{row['tokens_per_s']['off']:8.1f}: {row['times_as_fast']:.2f} times; {row['accepted']} of {row['drafted']} accepted",
                  flush=True)
            if options.out:
                rows.replace(options.out, [row], KEY)


os.environ.setdefault("SHIRA_DEPS", str(ROOT / ".deps"))
sys.path[:0] = [str(ROOT / "tests/testutil"), str(ROOT / "tests/integration")]
from server_process import ServerProcess  # noqa: E402

if __name__ == "__main__":
    main()
