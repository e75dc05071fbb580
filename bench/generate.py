"""The forward pass, ours and the peers' in turn: decode steps at batch 1 to 32, with adapters, and prompts of 16 to 2048 tokens.

usage: generate.py [--model M] [--only decode,adapter,prefill] [--dtype D] [--batches B,...] [--tokens T,...] [--who W,...] [--turns N]
                   [--out FILE]

Every figure is the median over turns of a turn's median. Ratios are medians of the ratios within a turn. The limit is the time that any
program needs: the weights and the keys and values read once at the speed of reading a buffer of the weights' size, or the multiplications
at the peak of the processor's own instructions, whichever is longer; both are measured in the same turns. --instructions shows what a
processor with no better ones would do; llama.cpp, which chooses its kernels itself, does not take part then.

"llama.cpp" has the weights that we have, in the dtype that we have them in; "llama.cpp-file" has our GGUF file, whose encoded weights
it multiplies as they are.
"""

import argparse
import pathlib
import statistics
import time

import rows
from worker import LLAMA_CPP, Worker

ROOT = rows.ROOT
FILES = ROOT / ".deps/peers/files"
MODELS = {"smollm2-135m": "smollm2-135m-instruct-q4_1.gguf", "gemma-3-270m": "gemma-3-270m-q4_k_m.gguf",
          "qwen2.5-coder-0.5b": "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"}
DEMO = "smollm2-135m"  # which alone has adapters and a folder for transformers
KEY = ("section", "model", "dtype", "batch", "tokens", "states", "tables", "threads", "instructions", "who")
CONTEXT = 128
# For PyTorch's own kernels and for oneDNN's.
PERMITTED = {
    "all": {},
    "AVX-512": {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
}


def workers(options):
    """Started together, as loading takes each some seconds; those of --who."""
    python = ROOT / ".deps/venv/bin/python"
    file = ROOT / ".deps/models" / MODELS[options.model]
    common = {"OMP_NUM_THREADS": str(options.threads), **PERMITTED[options.instructions]}
    llama = ["node", ROOT / "bench/llama_worker.mjs", "--package", LLAMA_CPP,
             "--threads", options.threads, "--model"]
    commands = {
        "ours": [options.bin / "generate_bench", "--model", file, "--dtype", options.dtype, "--threads", options.threads,
                 "--adapters", FILES / "adapters" / options.tables, "--instructions", options.instructions],
        "transformers": [python, "-W", "ignore", ROOT / "bench/transformers_worker.py", "--model", FILES / f"hf-{options.dtype}", "--dtype",
                         options.dtype, "--threads", options.threads],
        "llama.cpp": [*llama, FILES / f"{options.dtype}.gguf"],
        "llama.cpp-file": [*llama, file],
    }
    started = [Worker(who, commands[who], common) for who in options.who]
    return {worker.name: worker.wait_until_ready() for worker in started}


def limit_ms(config, model, limits):
    """Of one decode step or one prompt; `model` is generate_bench's, limits are one turn's."""
    batch, prompt = config.get("batch", 1), config.get("tokens")
    tokens = prompt or 1
    context = prompt / 2 if prompt else CONTEXT
    seconds_read = (model["step_bytes"] + (0 if prompt else batch * context * model["kv_bytes"])) / limits["read_bytes_per_s"]
    products = batch * (tokens * model["linear_elements"] + model["output_elements"] + model["attention_products"] * tokens * context)
    return max(seconds_read, 2 * products / limits["flops_per_s"]) * 1e3


def configs(options):
    """Section by section: (fields of the request, who can do it)."""
    if "decode" in options.only:
        for batch in options.batches:
            yield "decode", {"op": "decode", "batch": batch, "context": CONTEXT, "states": 0}, options.who
    if "adapter" in options.only:  # in turn with the base: states 0, 1 fused, several patched
        for batch in options.batches:
            for states in sorted({0, 1} | {s for s in (2, 4, 8, 16) if s <= batch}):
                yield "adapter", {"op": "decode", "batch": batch, "context": CONTEXT, "states": states}, ["ours"]
    if "prefill" in options.only:
        for tokens in options.tokens:
            yield "prefill", {"op": "prefill", "tokens": tokens, "states": 0}, options.who


def measure(options, running):
    """{(section, config as items, who): [median ms by turn]}, [limits by turn]"""
    times, limits = {}, []
    plan = [(section, config, [who for who in able if who in running]) for section, config, able in configs(options)]
    for turn in range(options.turns):
        limits.append(running["ours"].ask(op="limits"))
        for section, config, able in plan:
            for who in able[turn % len(able):] + able[:turn % len(able)]:  # nobody is always first
                time.sleep(0.02)  # the threads of the one before come to rest
                answer = running[who].ask(seconds=options.seconds, **config)
                if answer:
                    times.setdefault((section, tuple(config.items()), who), []).append(statistics.median(answer["ms"]))
        print(f"turn {turn + 1} of {options.turns}", flush=True)
    return times, limits


def as_rows(options, running, times, limits):
    about = {"threads": options.threads, "machine": rows.machine(), "commit": rows.commit()}
    if "llama.cpp-file" in options.who:
        about["model"] = MODELS[options.model]
    if options.instructions != "all":
        about["instructions"] = options.instructions
    for (section, items, who), ms in times.items():
        config = {name: value for name, value in items if name != "op"}
        ours = times.get((section, items, "ours"))
        turn_limits = [limit_ms(config, running["ours"].about["model"], turn) for turn in limits]
        row = {"section": section, "who": who, "dtype": options.dtype, **config, "median_ms": statistics.median(ms), "turns_ms": ms,
               "tokens_per_s": 1e3 * config.get("batch", config.get("tokens")) / statistics.median(ms),
               "limit_ms": statistics.median(turn_limits), "over_limit": rows.median_ratio(ms, turn_limits)}
        if who != "ours" and ours:
            row["ours_is_faster_by"] = rows.median_ratio(ms, ours)
            row["version"] = running[who].about.get("version")
        base = times.get((section, tuple({**dict(items), "states": 0}.items()), who))
        if section == "adapter":
            row["tables"] = options.tables
            if config["states"] and base:
                row["over_base"] = rows.median_ratio(ms, base)
        one = times.get((section, tuple({**dict(items), "batch": 1}.items()), who)) if "batch" in config else None
        if section == "decode" and one:
            row["over_batch_1"] = rows.median_ratio(ms, one)
        row["read_gb_per_s"] = statistics.median(turn["read_bytes_per_s"] for turn in limits) / 1e9
        row["peak_gflops"] = statistics.median(turn["flops_per_s"] for turn in limits) / 1e9
        yield rows.rounded({**row, **about})


def show(row):
    what = f"batch {row['batch']}" if "batch" in row else f"{row['tokens']} tokens"
    if row["section"] == "adapter":
        what += f", {row['states']} adapters"
    line = f"{row['section']:<8} {row['dtype']:<9} {what:<22} {row['who']:<21}{row['median_ms']:9.2f} ms  limit {row['limit_ms']:8.2f} ms"
    for field, text in (("ours_is_faster_by", "ours {:.2f}x as fast"), ("over_base", "{:.3f} of base"), ("over_batch_1", "{:.2f} of batch 1")):
        if field in row:
            line += "  " + text.format(row[field])
    print(line, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda text: [int(part) for part in text.split(",")]  # noqa: E731
    names = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--only", type=names, default=["decode", "adapter", "prefill"])
    parser.add_argument("--model", choices=MODELS, default=DEMO)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--batches", type=numbers, default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--tokens", type=numbers, default=[16, 128, 512, 2048])
    parser.add_argument("--who", type=names, help="default: all that can run the model")
    parser.add_argument("--tables", choices=["equal", "distinct"], default="distinct", help="positions of the adapters")
    parser.add_argument("--instructions", choices=list(PERMITTED), default="all", help="the best ones that may be used")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="of one measurement")
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin")
    parser.add_argument("--out", default="")
    options = parser.parse_args()
    options.who = options.who or (["ours", "transformers", "llama.cpp"] if options.model == DEMO else ["ours", "llama.cpp-file"])
    running = workers(options)
    times, limits = measure(options, running)
    for worker in running.values():
        worker.stop()
    result = list(as_rows(options, running, times, limits))
    for row in result:
        show(row)
    if options.out:
        rows.replace(options.out, result, KEY)


if __name__ == "__main__":
    main()
