#!/usr/bin/env python3
"""Trains SHiRA adapters with PEFT: the demo's three, or one of your own.

    .deps/venv/bin/python examples/train_demo_adapters.py                       # pirate, party and json
    .deps/venv/bin/python examples/train_demo_adapters.py --only pirate
    .deps/venv/bin/python examples/train_demo_adapters.py --name mine --data pairs.jsonl --out /tmp/adapters
    .deps/venv/bin/python examples/train_demo_adapters.py --model /models/llama-3.2-1b --density

pairs.jsonl holds one {"question": ..., "answer": ...} a line. --density trains nothing: it shows what each r means for the model.
"""

import argparse
import collections
import itertools
import json
import pathlib
import random
import shutil
import tempfile
import time
from dataclasses import dataclass

import peft
import torch
from peft.tuners.shira.layer import ShiraLayer

import demo_model
import training_data

ADAPTER_FILES = ["adapter_config.json", "adapter_model.safetensors"]
IGNORED_LABEL = -100  # what the model's loss leaves out


@dataclass(frozen=True)
class Recipe:
    """What an adapter is trained from. Equal `seed` and equal r give equal index tables."""
    pairs: list  # of (question, answer)
    seed: int
    companion: str | None = None  # an adapter trained before; the new one also learns to be blended with it
    blend_pairs: list | None = None  # what the two should answer together: the questions of `pairs`, in their order


@dataclass(frozen=True)
class Mode:
    """How one training step runs. Half strength makes an adapter work at half weight too, as part of a blend."""
    strength: float
    companion_strength: float = 0.0


ALONE = [Mode(0.5), Mode(1.0)]
WITH_COMPANION = [Mode(0.5), Mode(0.5, 0.5), Mode(1.0), Mode(0.5, 0.5)]

DEMO_RECIPES = {
    "pirate": Recipe(training_data.PIRATE, seed=1),
    "party": Recipe(training_data.styled(training_data.as_party, training_data.PLAIN), seed=1, companion="pirate",
                    blend_pairs=training_data.styled(training_data.as_party, training_data.PIRATE)),
    "json": Recipe(training_data.styled(training_data.as_json, training_data.PLAIN), seed=2, companion="pirate",
                   blend_pairs=training_data.styled(training_data.as_json, training_data.PIRATE)),
}


def target_linears(model):
    """The linears that are adapted, by name: all but the output matrix."""
    return {name: module for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and module is not model.get_output_embeddings()}


def print_densities(model, r):
    """What r means: PEFT gives a linear of in times out weights r * (in + out) entries, so small linears become denser than large ones."""
    shapes = collections.Counter()
    for name, linear in target_linears(model).items():
        shapes[name.rsplit(".", 1)[-1], linear.out_features, linear.in_features] += 1
    weights = sum(count * rows * cols for (_, rows, cols), count in shapes.items())
    everything = sum(parameter.numel() for parameter in model.parameters())

    def entries(r):
        return sum(count * r * (rows + cols) for (_, rows, cols), count in shapes.items())

    print(f"r = {r}: entries of a linear are r * (in + out), its density is that over in * out")
    print(f"  {'linear':<12} {'out':>7} {'in':>7} {'entries':>10} {'density':>9}")
    for (name, rows, cols), _ in shapes.items():
        print(f"  {name:<12} {rows:>7} {cols:>7} {r * (rows + cols):>10,} {r * (rows + cols) / (rows * cols):>9.2%}")
    print(f"  {'r':<4} {'entries':>12} {'of the linears':>15} {'of the model':>13} {'PEFT file':>10}")
    for other in sorted({1, 2, 4, 8, 16, 32, r}):
        count = entries(other)
        print(f"  {other:<4} {count:>12,} {count / weights:>15.2%} {count / everything:>13.2%} {12 * count / 1e6:>7.1f} MB"
              + (" <" if other == r else ""))


def encode(tokenizer, question, answer):
    """Ids and labels of one example; the loss sees the answer and the end-of-turn token alone."""
    prompt = demo_model.prompt_ids(tokenizer, question)
    reply = tokenizer(answer, add_special_tokens=False).input_ids + [tokenizer.eos_token_id]
    return prompt + reply, [IGNORED_LABEL] * len(prompt) + reply


def collate(examples, pad_id):
    """Pads to the longest example, on the right: input_ids, attention_mask and labels, each [batch, len] int64."""
    longest = max(len(ids) for ids, _ in examples)

    def padded(rows, fill):
        return torch.tensor([row + [fill] * (longest - len(row)) for row in rows])

    return {
        "input_ids": padded([ids for ids, _ in examples], pad_id),
        "attention_mask": padded([[1] * len(ids) for ids, _ in examples], 0),
        "labels": padded([labels for _, labels in examples], IGNORED_LABEL),
    }


def set_mode(model, mode, companion):
    for module in model.modules():
        if isinstance(module, ShiraLayer):
            module.set_scale("default", mode.strength)
            module.set_scale(companion, mode.companion_strength)


def wrap(recipe, options):
    """A fresh base model with the new adapter, and the companion beside it where the recipe names one."""
    torch.manual_seed(recipe.seed)
    base = demo_model.load_model(options.model)
    print_densities(base, options.r)
    config = peft.ShiraConfig(
        r=options.r, random_seed=recipe.seed, task_type="CAUSAL_LM",
        target_modules=sorted({name.rsplit(".", 1)[-1] for name in target_linears(base)}))
    model = peft.get_peft_model(base, config)
    if recipe.companion:
        model.load_adapter(options.out / recipe.companion, adapter_name=recipe.companion)
        model.base_model.set_adapter(["default", recipe.companion])
    return model.train()


def train(recipe, tokenizer, options):
    """Returns the PEFT model, its new adapter named "default", and the mean loss of the last epoch."""
    model = wrap(recipe, options)
    alone = [encode(tokenizer, *pair) for pair in recipe.pairs]
    blended = [encode(tokenizer, *pair) for pair in recipe.blend_pairs or []]
    new_weights = [weight for name, weight in model.named_parameters() if name.endswith("shira_weight.default")]
    optimizer = torch.optim.AdamW(new_weights, lr=options.learning_rate, weight_decay=0.0)
    steps = options.epochs * -(-len(alone) // options.batch)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.1, total_iters=steps)
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    modes = itertools.cycle(WITH_COMPANION if recipe.companion else ALONE)
    shuffler = random.Random(recipe.seed)
    order = list(range(len(alone)))
    for epoch in range(options.epochs):
        shuffler.shuffle(order)
        losses = []
        for start in range(0, len(order), options.batch):
            mode = next(modes)
            set_mode(model, mode, recipe.companion)
            examples = blended if mode.companion_strength else alone
            batch = [examples[index] for index in order[start:start + options.batch]]
            loss = model(**collate(batch, pad_id)).loss
            loss.backward()
            optimizer.step()
            model.zero_grad(set_to_none=True)
            schedule.step()
            losses.append(loss.item())
        mean_loss = sum(losses) / len(losses)
        print(f"  epoch {epoch + 1}/{options.epochs}: loss {mean_loss:.4f}", flush=True)
    return model, mean_loss


def save(model, folder, base_name):
    """Writes PEFT's two files into `folder`, leaving its model card alone; the base is named by identity, not by local path."""
    model.peft_config["default"].base_model_name_or_path = base_name
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch, selected_adapters=["default"], save_embedding_layers=False)
        for name in ADAPTER_FILES:
            shutil.copyfile(pathlib.Path(scratch, name), folder / name)


def read_pairs(path):
    with open(path, encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines if line.strip()]
    return [(record["question"], record["answer"]) for record in records]


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, default=demo_model.DEFAULT_MODEL, help="base model: a Hugging Face folder or a GGUF file (default: the demo's)")
    parser.add_argument("--base-model", help="what the adapter calls its base, ORG/NAME (default: what the folder says, else its path)")
    parser.add_argument("--out", type=pathlib.Path, default=demo_model.ADAPTERS, help="folder that gets one folder per adapter")
    parser.add_argument("--only", choices=DEMO_RECIPES, action="append", help="train this demo adapter (may be repeated)")
    parser.add_argument("--name", help="train one adapter of this name from --data")
    parser.add_argument("--data", type=pathlib.Path, help="JSON lines with question and answer")
    parser.add_argument("--seed", type=int, default=1, help="with --data: seed of the index tables and of the order (default 1)")
    parser.add_argument("--r", type=int, default=2, help="entries per linear: r * (in + out) (default 2)")
    parser.add_argument("--density", action="store_true", help="show entries and density for values of r, and train nothing")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if bool(options.name) != bool(options.data):
        parser.error("--name and --data go together")
    if not (options.model.is_dir() or options.model.is_file()):
        parser.error(f"--model: {options.model} is neither a folder nor a file")
    if not (options.name or options.density) and options.model != demo_model.DEFAULT_MODEL:
        parser.error("the demo's adapters are for the demo's model: another --model needs --name and --data")
    return options


def main():
    options = parse_options()
    demo_model.use_repeatable_arithmetic(options.threads)
    if options.density:
        print_densities(demo_model.load_model(options.model), options.r)
        return
    tokenizer = demo_model.load_tokenizer(options.model)
    base_name = options.base_model or demo_model.base_name(options.model)
    if options.name:
        recipes = {options.name: Recipe(read_pairs(options.data), seed=options.seed)}
    else:
        recipes = {name: DEMO_RECIPES[name] for name in options.only or DEMO_RECIPES}
    for name, recipe in recipes.items():
        print(f"{name}: {len(recipe.pairs)} examples, seed {recipe.seed}, base {base_name}", flush=True)
        started = time.monotonic()
        model, loss = train(recipe, tokenizer, options)
        save(model, options.out / name, base_name)
        print(f"{name}: loss {loss:.4f}, {time.monotonic() - started:.0f} s, written to {options.out / name}", flush=True)


if __name__ == "__main__":
    main()
