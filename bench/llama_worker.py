"""A worker (worker.py) that measures llama.cpp through its C API, as llama-cpp-python wraps it.

usage: llama_worker.py --model FILE.gguf [--threads N] [--lora FILE.gguf]

Operations: decode and prefill as generate_bench has them (states is not looked at), and
  {"op": "streams", "way": "lora", "streams": 8, "adapters": 4, "tokens": 32, "prompt": 16} -> {"tokens_per_s", "seconds"}
      that many greedy streams, stream i with adapter i mod adapters, until each has its tokens. A batch of llama.cpp has one set of
      adapters, so a round is one batch per adapter, as its server does it. Every adapter is loaded from the same file, into memory of its own.
      Way "base": no adapter, one batch a round.
"""

import argparse
import ctypes
import time

import llama_cpp
import numpy
from worker import repeat, serve, some_tokens

CONTEXT_TOKENS = 768  # of each sequence, where there are several
SEQUENCES = 32
PROMPT_TOKENS = 2304  # of the context with one sequence


class Context:
    def __init__(self, model, threads, sequences, tokens):
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = sequences * tokens
        params.n_batch = 2048
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = threads
        self.handle = llama_cpp.llama_init_from_model(model, params)
        if not self.handle:
            raise RuntimeError("llama.cpp made no context")
        self.memory = llama_cpp.llama_get_memory(self.handle)
        self.batch = llama_cpp.llama_batch_init(params.n_batch, 0, 1)

    def run(self, rows):
        """rows: (sequence, position, tokens); logits of each row's last token."""
        n = 0
        for sequence, position, tokens in rows:
            for i, token in enumerate(tokens):
                self.batch.token[n] = token
                self.batch.pos[n] = position + i
                self.batch.n_seq_id[n] = 1
                self.batch.seq_id[n][0] = sequence
                self.batch.logits[n] = i + 1 == len(tokens)
                n += 1
        self.batch.n_tokens = n
        code = llama_cpp.llama_decode(self.handle, self.batch)
        if code != 0:
            raise RuntimeError(f"llama_decode: {code}")
        llama_cpp.llama_synchronize(self.handle)

    def forget(self, sequence, position=0):
        llama_cpp.llama_memory_seq_rm(self.memory, sequence, position, -1)

    def best(self, index, vocabulary):
        return int(numpy.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self.handle, index), (vocabulary,)).argmax())


class LlamaWorker:
    def __init__(self, options):
        self.options = options
        self.model = llama_cpp.llama_model_load_from_file(options.model.encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            raise RuntimeError(f"llama.cpp cannot load {options.model}")
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.one = Context(self.model, options.threads, 1, PROMPT_TOKENS)
        self.many = Context(self.model, options.threads, SEQUENCES, CONTEXT_TOKENS)
        self.remembered = {}  # context: number of prefilled sequences
        self.loras = []

    def decode(self, batch, context, seconds, **_):
        where = self.one if batch == 1 else self.many
        known = self.remembered.get((batch == 1, context), 0)
        for sequence in range(known, batch):
            where.forget(sequence)
            where.run([(sequence, 0, some_tokens(context, sequence))])
        self.remembered = {key: value for key, value in self.remembered.items() if key[0] != (batch == 1)}
        self.remembered[batch == 1, context] = max(known, batch)
        tokens = some_tokens(batch, 3)
        position = context

        def step():
            nonlocal position
            where.run([(row, position, tokens[row:row + 1]) for row in range(batch)])
            position += 1

        result = repeat(seconds, step)
        for row in range(batch):
            where.forget(row, context)
        return result

    def prefill(self, tokens, seconds, **_):
        row = some_tokens(tokens, 5)
        self.remembered = {key: value for key, value in self.remembered.items() if not key[0]}

        def run():
            self.one.forget(0)
            self.one.run([(0, 0, row)])

        return repeat(seconds, run, warm_up=1)

    def use_lora(self, number):
        while number is not None and len(self.loras) <= number:
            lora = llama_cpp.llama_adapter_lora_init(self.model, self.options.lora.encode())
            if not lora:
                raise RuntimeError(f"llama.cpp cannot load {self.options.lora}")
            self.loras.append(lora)
        chosen = [] if number is None else [self.loras[number]]
        adapters = (llama_cpp.llama_adapter_lora_p_ctypes * len(chosen))(*chosen)
        llama_cpp.llama_set_adapters_lora(self.many.handle, adapters, len(chosen), (ctypes.c_float * len(chosen))(*[1.0] * len(chosen)))

    def streams(self, way, streams, adapters, tokens, prompt):
        self.remembered.clear()
        groups = [(None, list(range(streams)))]
        if way == "lora":
            groups = [(number, [row for row in range(streams) if row % adapters == number]) for number in range(adapters)]
        for number, rows in groups:
            self.use_lora(number)
            for row in rows:
                self.many.forget(row)
        pieces = [some_tokens(prompt, row) for row in range(streams)]
        positions = [0] * streams
        start = time.perf_counter()
        for _ in range(tokens):
            for number, rows in groups:
                self.use_lora(number)
                self.many.run([(row, positions[row], pieces[row]) for row in rows])
                last = -1
                for row in rows:
                    last += len(pieces[row])  # logits lie by the batch's tokens
                    positions[row] += len(pieces[row])
                    pieces[row] = [self.many.best(last, self.vocabulary)]
        seconds = time.perf_counter() - start
        self.use_lora(None)
        return {"tokens_per_s": streams * tokens / seconds, "seconds": seconds}


@llama_cpp.llama_log_callback
def say_nothing(*_):
    pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--lora", default="")
    llama_cpp.llama_log_set(say_nothing, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    worker = LlamaWorker(parser.parse_args())
    serve({"version": llama_cpp.__version__, "system": llama_cpp.llama_print_system_info().decode().strip()},
          {"decode": worker.decode, "prefill": worker.prefill, "streams": worker.streams})


if __name__ == "__main__":
    main()
