"""A worker (worker.py) that measures transformers, and PEFT's SHiRA and LoRA on top of it.

usage: transformers_worker.py --model HF_FOLDER [--dtype D] [--threads N]

Operations: decode and prefill as generate_bench has them (states is not looked at), and
  {"op": "streams", "way": W, "streams": 8, "adapters": 4, "tokens": 32, "prompt": 16} -> {"tokens_per_s", "seconds"}
      that many greedy streams, stream i with adapter i mod adapters, until each has its tokens. Ways:
      shira_merged     adapter after adapter: unmerge, merge, then its streams as one batch to their end
      shira_unmerged   the same with set_adapter and nothing merged
      lora_mixed       LoRA r = 32: all streams in one batch, each row with its adapter (PEFT's adapter_names)
"""

import argparse
import time

import torch
import transformers
from peft import LoraConfig, ShiraConfig, get_peft_model
from transformers import AutoModelForCausalLM, DynamicCache
from worker import repeat, serve, some_tokens

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class TransformersWorker:
    def __init__(self, options):
        self.options = options
        torch.set_num_threads(options.threads)
        torch.set_grad_enabled(False)
        self.base = self.load()
        self.caches = {}  # batch: (context, cache)
        self.peft = None
        self.peft_kind = None
        self.peft_count = 0

    def load(self):
        return AutoModelForCausalLM.from_pretrained(self.options.model, dtype=getattr(torch, self.options.dtype)).eval()

    def prefill_cache(self, rows, model=None):
        cache = DynamicCache(config=self.base.config)
        output = (model or self.base)(torch.tensor(rows), past_key_values=cache, use_cache=True, logits_to_keep=1)
        return cache, output.logits

    def decode(self, batch, context, seconds, **_):
        known = self.caches.get(batch)
        if known is None or known[0] != context:
            cache, _ = self.prefill_cache([some_tokens(context, 0)])
            cache.batch_repeat_interleave(batch)  # copies: every row has memory of its own
            self.caches[batch] = known = (context, cache)
        cache = known[1]
        tokens = torch.tensor([[token] for token in some_tokens(batch, 3)])
        result = repeat(seconds, lambda: self.base(tokens, past_key_values=cache, use_cache=True))
        cache.crop(context - cache.get_seq_length())  # negative: so many tokens go
        return result

    def prefill(self, tokens, seconds, **_):
        row = some_tokens(tokens, 5)
        return repeat(seconds, lambda: self.prefill_cache([row]), warm_up=1)

    def with_adapters(self, kind, count):
        if self.peft_kind != kind:
            self.peft, self.peft_kind, self.peft_count = None, kind, 0
        while self.peft_count < count:
            torch.manual_seed(self.peft_count)
            config = (ShiraConfig(r=2, target_modules=TARGETS, random_seed=1, init_weights=False) if kind == "shira" else
                      LoraConfig(r=32, target_modules=TARGETS, init_lora_weights=False))
            if self.peft is None:
                self.peft = get_peft_model(self.load(), config, "0")
            else:
                self.peft.add_adapter(str(self.peft_count), config)
            self.peft_count += 1
        self.peft.eval()
        return self.peft

    def run_batch(self, model, rows, tokens, **more):
        """Greedy: the prompt gives the first token, each step one more."""
        cache = DynamicCache(config=self.base.config)
        ids = torch.tensor([some_tokens(self.prompt, row) for row in rows])
        for _ in range(tokens):
            logits = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1, **more).logits
            ids = logits[:, -1].argmax(-1, keepdim=True)

    def streams(self, way, streams, adapters, tokens, prompt):
        self.prompt = prompt
        model = self.with_adapters(way.split("_")[0], adapters)
        groups = [[row for row in range(streams) if row % adapters == adapter] for adapter in range(adapters)]
        start = time.perf_counter()
        if way == "lora_mixed":
            self.run_batch(model, range(streams), tokens, adapter_names=[str(row % adapters) for row in range(streams)])
        for adapter, rows in enumerate(groups if way != "lora_mixed" else []):
            model.base_model.set_adapter(str(adapter))
            if way == "shira_merged":
                model.base_model.merge_adapter([str(adapter)])
            self.run_batch(model, rows, tokens)
            if way == "shira_merged":
                model.base_model.unmerge_adapter()
        seconds = time.perf_counter() - start
        return {"tokens_per_s": streams * tokens / seconds, "seconds": seconds}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--threads", type=int, default=2)
    transformers.utils.logging.disable_progress_bar()
    worker = TransformersWorker(parser.parse_args())
    serve({"version": transformers.__version__}, {"decode": worker.decode, "prefill": worker.prefill, "streams": worker.streams})


if __name__ == "__main__":
    main()
