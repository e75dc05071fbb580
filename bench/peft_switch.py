"""What PEFT takes for the same switch: SHiRA and LoRA r = 32 on SmolLM2-135M's shapes, merged and unmerged on the CPU.

usage: peft_switch.py [--r 1,2,8,20] [--dtypes bfloat16,float32] [--threads 1,2] [--adapters DIR] [--out FILE]

A switch from A to B is unmerge of A and merge of B, as PEFT's users do it. Weights are random: speed does not depend on them. Every SHiRA
adapter is saved to DIR/r<R>, where `switch_bench --adapters DIR` reads it, and is loaded from there into a model that has the first one. Rows
have the fields of switch_bench.
"""

import argparse
import gc
import json
import pathlib
import tempfile
import time

import torch
from peft import LoraConfig, ShiraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
REPETITIONS = 7
EVICT = torch.ones(192 << 20, dtype=torch.uint8)


def base(dtype):
    config = LlamaConfig(vocab_size=256, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                         num_key_value_heads=3, tie_word_embeddings=True)
    return LlamaForCausalLM(config).to(dtype).eval()


def machine():
    with open("/proc/cpuinfo") as file:
        lines = [line.strip() for line in file]
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), "unknown processor")
    return f"{model}, {sum(line.startswith('processor') for line in lines)} cores"


def measure(work, repetitions=REPETITIONS):
    """Milliseconds of each run after one warm-up, with cold caches; work() may return what it measured itself."""
    times = []
    for _ in range(repetitions + 1):
        EVICT.sum()
        start = time.perf_counter()
        own = work()
        times.append((time.perf_counter() - start) * 1e3 if own is None else own)
    return times[1:]


def switching(model, names):
    """(unmerge + merge, merge, unmerge) in ms, going from one adapter to the other and back."""
    merges, unmerges = [], []
    current = 0

    def switch():
        nonlocal current
        start = time.perf_counter()
        model.base_model.unmerge_adapter()
        middle = time.perf_counter()
        current = 1 - current
        model.base_model.set_adapter(names[current])
        model.base_model.merge_adapter([names[current]])
        end = time.perf_counter()
        unmerges.append((middle - start) * 1e3)
        merges.append((end - middle) * 1e3)
        return (end - start) * 1e3

    model.base_model.set_adapter(names[0])
    model.base_model.merge_adapter([names[0]])
    switches = measure(switch)
    model.base_model.unmerge_adapter()
    return switches, merges[1:], unmerges[1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--r", default="1,2,8,20")
    parser.add_argument("--dtypes", default="bfloat16,float32")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--adapters", default="")
    parser.add_argument("--out", default="")
    options = parser.parse_args()
    folder = pathlib.Path(options.adapters or tempfile.mkdtemp())
    out = open(options.out, "a") if options.out else None

    def report(workload, dtype, threads, operation, times, entries):
        ordered = sorted(times)
        row = {"operation": operation, "workload": workload, "dtype": {"bfloat16": "BF16", "float32": "F32"}[dtype], "threads": threads,
               "entries": entries, "median_ms": ordered[len(ordered) // 2], "best_ms": ordered[0], "ms": times, "machine": machine()}
        print(f"{workload:<10} {row['dtype']:<4} {threads}  {operation:<24}{row['median_ms']:9.1f} ms", flush=True)
        if out:
            print(json.dumps(row), file=out, flush=True)

    for r in map(int, options.r.split(",")):
        workload = f"demo r={r}"
        for dtype in options.dtypes.split(","):
            torch.manual_seed(0)
            model = get_peft_model(base(getattr(torch, dtype)),
                                   ShiraConfig(r=r, target_modules=TARGETS, random_seed=1, init_weights=False), "first")
            model.add_adapter("second", ShiraConfig(r=r, target_modules=TARGETS, random_seed=1, init_weights=False))
            saved = folder / f"r{r}"
            model.save_pretrained(folder / f"r{r}.parts", selected_adapters=["first"])
            if not saved.exists():
                (folder / f"r{r}.parts" / "first").rename(saved)
            entries = sum(p.numel() for n, p in model.named_parameters() if ".shira_weight.first" in n)
            for threads in map(int, options.threads.split(",")):
                torch.set_num_threads(threads)
                for operation, times in zip(("switch", "merge", "unmerge"), switching(model, ["first", "second"])):
                    report(workload, dtype, threads, f"peer_peft_shira_{operation}", times, entries)

                def load():
                    start = time.perf_counter()
                    model.load_adapter(str(saved), "third")
                    elapsed = (time.perf_counter() - start) * 1e3
                    model.delete_adapter("third")
                    return elapsed

                report(workload, dtype, threads, "peer_peft_shira_load", measure(load, 3), entries)
            del model
            gc.collect()
    for dtype in options.dtypes.split(","):
        torch.manual_seed(0)
        model = get_peft_model(base(getattr(torch, dtype)), LoraConfig(r=32, target_modules=TARGETS, init_lora_weights=False), "first")
        model.add_adapter("second", LoraConfig(r=32, target_modules=TARGETS, init_lora_weights=False))
        entries = sum(p.numel() for n, p in model.named_parameters() if "lora_" in n and ".first." in n)
        for threads in map(int, options.threads.split(",")):
            torch.set_num_threads(threads)
            for operation, times in zip(("switch", "merge", "unmerge"), switching(model, ["first", "second"])):
                report("demo", dtype, threads, f"peer_peft_lora32_{operation}", times, entries)


if __name__ == "__main__":
    main()
