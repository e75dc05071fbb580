"""What both soaks ask of a server: generations of every kind, from threads, each answer recorded."""

import contextlib
import functools
import hashlib
import os
import pathlib
import random
import sys
import threading
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
os.environ.setdefault("SHIRA_BIN", str(ROOT / "build/release/bin"))
os.environ.setdefault("SHIRA_DEPS", str(ROOT / ".deps"))
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tests/testutil"), str(ROOT / "tests/integration")]

import grpc  # noqa: E402
from server_process import collect, error_of  # noqa: E402

Code = grpc.StatusCode
# Longer than the pages of keys and values (32 tokens), so that beginnings are reused; the last ones begin alike.
STORY = "A server keeps one model in memory and switches its adapters in place, and the dog does not mind. "
PROMPTS = ["A server keeps", "12 pirates", STORY + "Ask", STORY + "Ask a question and read", STORY + "The quick brown"]
TOKENS = 12
# Little enough that kept beginnings have to go; the tokens that it holds, of 512 bytes each in this model.
KV_MB = 2
KV_TOKENS = KV_MB * 2**20 // 512
# Kinds of generations, and how often each comes.
KINDS = {"one": 40, "set": 10, "alias": 10, "blend": 8, "base": 5, "default": 5, "choices": 5, "cancel": 11, "expire": 6}


class Worker(threading.Thread):
    """Does one thing after the other until it is over; what a call may answer is written beside it."""

    def __init__(self, soak, role, number):
        super().__init__(daemon=True)
        self.soak = soak
        self.number = number
        self.records = soak.records
        self.random = random.Random(f"{soak.options.seed} {role} {number}")
        self.client = soak.server.client(services=("inference", "admin"))

    def run(self):
        try:
            while not self.soak.over():
                self.step()
        except Exception:
            self.records.problem(traceback.format_exc())

    def adapter(self):
        # A few are popular.
        return f"a{min(int(self.random.expovariate(0.08)), self.soak.options.adapters - 1)}"

    def attempt(self, what, call, *allowed):
        """The reply of a call; None if it ended with a status that may be."""
        try:
            reply = call()
            self.records.count(what)
            return reply
        except grpc.RpcError as error:
            self.records.count(f"{what}: {error.code().name}")
            if error.code() not in allowed:
                reason = ""
                with contextlib.suppress(Exception):
                    reason = error_of(functools.partial(self._again, error))[1].reason
                self.records.problem(f"{what}: {error.code().name} {reason} {error.details()}")
            return None

    @staticmethod
    def _again(error):
        raise error


# An adapter may be gone, on its way out or in, or more than the queue holds may be asked for.
BUSY = (Code.NOT_FOUND, Code.FAILED_PRECONDITION, Code.ABORTED, Code.RESOURCE_EXHAUSTED)


class ClientWorker(Worker):
    def step(self):
        kind = self.random.choices(list(KINDS), KINDS.values())[0]
        asked = {"set": lambda: {name: self.random.choice([0.25, 0.5, 1.5]) for name in (self.adapter(), self.adapter())},
                 "alias": lambda: self.random.choice(self.soak.aliases),
                 "blend": lambda: {self.random.choice(self.soak.blends): 1.0},
                 "base": dict, "default": lambda: None}.get(kind, lambda: {self.adapter(): 1.0})()
        request = {"prompt": self.random.choice(PROMPTS), "stop": {"max_tokens": TOKENS, "ignore_eos": True}}
        if asked is not None:
            terms = {asked: 1.0} if isinstance(asked, str) else asked or {"base": 1.0}
            request["adapter"] = {"adapters": [{"name": name, "weight": weight} for name, weight in terms.items()]}
        if kind in ("cancel", "expire"):
            self.interrupt(kind, request)
        else:
            self.compare(kind, asked, request)

    def compare(self, kind, asked, request):
        versions, begin = self.records.versions(), time.monotonic()
        streams = kind != "choices" and self.random.random() < 0.5

        def call():
            if streams:
                _, tokens, summary = collect(self.client.stream(**request))
                self.records.count("streamed")
                return [tokens], summary
            reply = self.client.inference.Generate(n=2 if kind == "choices" else 1, **request)
            return [choice.token_ids for choice in reply.choices] or [reply.token_ids], reply.summary

        # An unload may cancel what runs.
        reply = self.attempt(kind, call, Code.CANCELLED, *BUSY)
        if reply:
            answers, summary = reply
            self.records.answered(asked, versions, begin, summary, request["prompt"], answers)

    def interrupt(self, kind, request):
        request["stop"] = {"max_tokens": 300, "ignore_eos": True}

        def call():
            stream = self.client.stream(timeout=60 if kind == "cancel" else self.random.choice([0.005, 0.05, 0.3]), **request)
            for number, _ in enumerate(stream):
                if kind == "cancel" and number == 3:
                    stream.cancel()

        self.attempt(kind, call, Code.CANCELLED, Code.DEADLINE_EXCEEDED, *BUSY)


def upload_messages(folder, name, keep=1.0, size=10_000):
    """The messages of an upload that replaces an adapter, of `size` bytes each; only this part of all the bytes comes."""
    files = [(file.name, file.read_bytes()) for file in sorted(folder.iterdir())]
    yield {"header": {"name": name, "replace": True, "files": [
        {"name": file, "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for file, data in files]}}
    data = b"".join(data for _, data in files)
    data = data[:int(len(data) * keep)]
    for start in range(0, len(data), size):
        yield {"data": data[start:start + size]}


def unload_all(client):
    client.admin.RevertAdapter()
    for alias in client.admin.ListAliases().aliases:
        client.admin.DeleteAlias(name=alias.name)
    for adapter in client.admin.ListAdapters(page_size=1000).adapters:
        with contextlib.suppress(grpc.RpcError):  # an older version may go with a newer one
            client.admin.UnloadAdapter(name=f"{adapter.name}@{adapter.version}" if adapter.version else adapter.name, cancel_running=True)


def left(client, uploads, records):
    """What is left once all adapters are gone and nothing runs."""
    unload_all(client)
    # One that takes all memory for keys and values: it waits for ever if a page is missing.
    tokens = client.inference.Tokenize(text=STORY * 200).ids[:KV_TOKENS - 1]
    try:
        client.inference.Generate(token_ids={"ids": tokens}, adapter={"adapters": [{"name": "base"}]}, stop={"max_tokens": 1, "ignore_eos": True})
    except grpc.RpcError as error:
        records.problem(f"not all memory for keys and values is there: {error.code().name}")
    for _ in range(100):
        status = client.operations.GetServerStatus()
        running = status.generations.queued + status.generations.running
        if not running:
            break
        time.sleep(0.1)
    return {"memory_mb": round(status.memory.process_bytes / 2**20, 1), "kv_bytes": status.memory.kv_bytes,
            "adapter_bytes": status.memory.adapter_bytes, "generations": running,
            "adapters": len(client.admin.ListAdapters(page_size=1000).adapters),
            "uploads": sum(1 for path in uploads.iterdir() if path.name != ".lock")}
