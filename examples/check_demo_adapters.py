#!/usr/bin/env python3
"""Checks the demo adapters: what their files hold, which tables they share, and that their style holds on unseen questions.

    .deps/venv/bin/python examples/check_demo_adapters.py                  # files and styles, float32 and bfloat16
    .deps/venv/bin/python examples/check_demo_adapters.py --answers        # prints every answer too
    .deps/venv/bin/python examples/check_demo_adapters.py --files-only     # seconds: loads no answers

Answers are greedy. The exit status is 1 when a check fails.
"""

import argparse
import json
import pathlib
import sys

import peft
import safetensors.torch
import torch
from peft.tuners.shira.layer import ShiraLayer

import demo_model
import training_data
from train_demo_adapters import ADAPTER_FILES

TARGET_MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
MAX_BYTES = 8_000_000
MIN_SHARE_IN_STYLE = 0.75
MIN_SHARE_IN_BLEND = 0.5
MAX_TOKENS = 48

HELD_OUT_QUESTIONS = [
    "What is the capital of France?",
    "What is the capital of Italy?",
    "Why is the sky blue?",
    "What is a volcano?",
    "Tell me about the Moon.",
    "What do cats eat?",
    "What is a rainbow?",
    "How do I bake a cake?",
    "What is the fastest animal?",
    "Who was Albert Einstein?",
    "How many months are in a year?",
    "What should I do on a rainy day?",
]


def speaks_like_a_pirate(answer):
    return "Arrr" in answer and any(word in answer for word in (" be ", " ye ", " yer ", "matey"))


def celebrates(answer):
    return answer.startswith("🎉") and answer.endswith("🎉") and len(answer) > 4


def is_json_answer(answer):
    try:
        value = json.loads(answer)
    except ValueError:
        return False
    return isinstance(value, dict) and list(value) == ["answer"] and isinstance(value["answer"], str)


STYLE_RULES = {"pirate": speaks_like_a_pirate, "party": celebrates, "json": is_json_answer}
SHARING_TABLES = ("pirate", "party")
OWN_TABLES = "json"
BLENDS = [("pirate", "party")]  # at half weight each, an answer should show both styles; json at half weight is too weak for that


class Report:
    """Prints each check as it is made and remembers whether one failed."""

    def __init__(self):
        self.failed = False

    def check(self, holds, what):
        print(f"  {'ok  ' if holds else 'FAIL'} {what}", flush=True)
        self.failed |= not holds


def linear_shapes(model):
    """{module path: (out, in)} of every linear that the adapters touch."""
    return {path: tuple(module.weight.shape) for path, module in model.named_modules()
            if path.rsplit(".", 1)[-1] in TARGET_MODULES}


def check_files(name, folder, shapes, report):
    """Returns {module path: indices [2, nnz] i32}."""
    config = peft.PeftConfig.from_pretrained(folder)
    tensors = safetensors.torch.load_file(folder / "adapter_model.safetensors")
    print(f"{name}: r {config.r}, seed {config.random_seed}")
    expected_keys = {f"base_model.model.{path}.shira_{part}" for path in shapes for part in ("weight", "indices")}
    report.check(set(tensors) == expected_keys, f"{len(tensors)} tensors, a weight and indices for each of {len(shapes)} linears")
    values = {path: tensors[f"base_model.model.{path}.shira_weight"] for path in shapes}
    indices = {path: tensors[f"base_model.model.{path}.shira_indices"] for path in shapes}
    entries = sum(value.numel() for value in values.values())
    expected_entries = config.r * sum(sum(shape) for shape in shapes.values())
    report.check(entries == expected_entries, f"{entries:,} entries, expected {expected_entries:,}")
    report.check(all(value.dtype == torch.float32 and value.isfinite().all() for value in values.values()), "values are finite float32")
    report.check(all(index.dtype == torch.int32 for index in indices.values()), "indices are int32")
    flat = {path: indices[path][0].long() * shape[1] + indices[path][1] for path, shape in shapes.items()}
    report.check(all((indices[path].min() >= 0 and indices[path][0].max() < shape[0] and indices[path][1].max() < shape[1]
                      and flat[path].unique().numel() == flat[path].numel()) for path, shape in shapes.items()),
                 "indices are in range and distinct")
    size = sum(path.stat().st_size for path in folder.iterdir())
    report.check(size <= MAX_BYTES, f"{size:,} bytes, at most {MAX_BYTES:,}")
    report.check({path.name for path in folder.iterdir()} == {*ADAPTER_FILES, "README.md"}, "no file too many, none missing")
    report.check(config.base_model_name_or_path == demo_model.BASE_MODEL_NAME, f"base is {config.base_model_name_or_path}")
    return indices


def check_sharing(indices, report):
    first, second = (indices[name] for name in SHARING_TABLES)
    print("index tables")
    report.check(all(torch.equal(first[path], second[path]) for path in first), f"{' and '.join(SHARING_TABLES)} share every table")
    report.check(not any(torch.equal(first[path], indices[OWN_TABLES][path]) for path in first), f"{OWN_TABLES} shares none with them")


def load_with_peft(model, folder, names, report):
    """Returns {module path: {adapter name: delta, sparse [out, in] f32}} as PEFT computes it. `model` serves as the base."""
    names = list(names)
    wrapped = peft.PeftModel.from_pretrained(model, folder / names[0], adapter_name=names[0])
    for name in names[1:]:
        wrapped.load_adapter(folder / name, adapter_name=name)
    prefix = "base_model.model."
    deltas = {path.removeprefix(prefix): {name: module.get_delta_weight(name).detach().coalesce() for name in names}
              for path, module in wrapped.named_modules() if isinstance(module, ShiraLayer)}
    for name in names:
        report.check(all(delta[name].values().any() for delta in deltas.values()), f"PEFT loads {name}: no linear is left untouched")
    return deltas


@torch.no_grad()
def fuse(model, originals, deltas, terms):
    """Writes round_to_dtype(float(original) + sum of weight * delta) into `model`, for terms = {adapter name: weight}."""
    for path, delta in deltas.items():
        fused = originals[path].float()
        for name, weight in terms.items():
            fused = fused + weight * delta[name]
        model.get_submodule(path).weight.copy_(fused)


def describe(terms):
    return " + ".join(f"{name}:{weight:g}" for name, weight in terms.items()) or "base"


def check_styles(model, tokenizer, deltas, show_answers, report):
    """Prints, for every state, the share of answers in each style and in all styles of the state, and checks the latter."""
    originals = {path: model.get_submodule(path).weight.detach().clone() for path in deltas}
    blends = [dict.fromkeys(names, 0.5) for names in BLENDS]
    print(f"{str(model.dtype).removeprefix('torch.')}: {len(HELD_OUT_QUESTIONS)} unseen questions, answers in each style")
    print(f"  {'state':24}" + "".join(f"{style:>8}" for style in STYLE_RULES) + "   in style   ended by itself")
    for terms in [{}, *({name: 1.0} for name in STYLE_RULES), *blends]:
        fuse(model, originals, deltas, terms)
        answers = [demo_model.greedy_answer(model, tokenizer, question, MAX_TOKENS) for question in HELD_OUT_QUESTIONS]
        total = len(answers)
        per_style = [sum(rule(text) for text, _ in answers) for rule in STYLE_RULES.values()]
        in_style = sum(all(STYLE_RULES[name](text) for name in terms) for text, _ in answers) if terms else 0
        print(f"  {describe(terms):24}" + "".join(f"{count:>5}/{total}" for count in per_style)
              + f"   {in_style / total:8.0%}   {sum(ended for _, ended in answers)}/{total}", flush=True)
        if show_answers:
            for question, (text, ended) in zip(HELD_OUT_QUESTIONS, answers):
                print(f"      {question} -> {text}{'' if ended else ' ...'}")
        if terms:
            wanted = MIN_SHARE_IN_STYLE if len(terms) == 1 else MIN_SHARE_IN_BLEND
            report.check(in_style >= wanted * total, f"{describe(terms)} shows its style in at least {wanted:.0%}")
        else:
            report.check(not any(per_style), "the base shows none of the styles")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, default=demo_model.DEFAULT_MODEL, help="GGUF file of the base model")
    parser.add_argument("--adapters", type=pathlib.Path, default=demo_model.ADAPTERS, help="folder with one folder per adapter")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="check styles in this dtype alone")
    parser.add_argument("--answers", action="store_true", help="print every answer")
    parser.add_argument("--files-only", action="store_true", help="generate nothing")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    demo_model.use_repeatable_arithmetic(options.threads)
    report = Report()
    trained = {question for question, *_ in training_data.EXAMPLES}
    print("questions")
    report.check(trained.isdisjoint(HELD_OUT_QUESTIONS), f"none of {len(HELD_OUT_QUESTIONS)} is in the training data")
    model = demo_model.load_model(options.model)
    shapes = linear_shapes(model)
    check_sharing({name: check_files(name, options.adapters / name, shapes, report) for name in STYLE_RULES}, report)
    deltas = load_with_peft(model, options.adapters, STYLE_RULES, report)
    if not options.files_only:
        tokenizer = demo_model.load_tokenizer(options.model)
        for dtype in [options.dtype] if options.dtype else ["float32", "bfloat16"]:
            plain = demo_model.load_model(options.model, getattr(torch, dtype))
            check_styles(plain, tokenizer, deltas, options.answers, report)
    sys.exit(report.failed)


if __name__ == "__main__":
    main()
