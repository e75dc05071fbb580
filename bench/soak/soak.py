"""Soak: many clients, 64 adapters, and everything that changes them at once; every answer is compared with a reference.

    scripts/build.sh && .deps/venv/bin/python bench/soak/soak.py --minutes 20

A real server with a tiny model (bounded memory for adapters, so that they move to disk and back) is asked by --clients threads, each of which
generates with single adapters, weighted sets, named blends, aliases and the base, and cancels or lets expire some of it, while --admins
threads load, replace, unload, pin, blend, move aliases and change the default state. It ends after --minutes or --requests, whichever is first.

It fails (exit status 1) if
  - an answer is not the one that PyTorch gives for the adapters, by SHA-256, that the reply names, or the reply names content that its name
    and version never had;
  - a call fails with a status that nothing of this explains;
  - after all adapters are gone, a parameter's hash is not the base's, or the process's memory is more than 5 % above what it was after a
    first round over the same adapters.

The last line is one JSON object with the figures. --seed repeats the choices, though not their interleaving.
"""

import argparse
import collections
import contextlib
import functools
import hashlib
import json
import os
import pathlib
import random
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
os.environ.setdefault("SHIRA_BIN", str(ROOT / "build/release/bin"))
os.environ.setdefault("SHIRA_DEPS", str(ROOT / ".deps"))
sys.path[:0] = [str(ROOT / "tests/testutil"), str(ROOT / "tests/integration")]

import grpc  # noqa: E402
import torch  # noqa: E402
from fixtures import World  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from server_process import ServerProcess, error_of  # noqa: E402

Code = grpc.StatusCode
PROMPTS = ["A server keeps", "Ask a question and", "12 pirates"]
TOKENS = 12
ALIASES = ["prod", "canary"]
# Two choices whose logits are closer than this may swap places when the order of a sum differs.
TIE = 1e-4


class Library:
    """The adapters on disk, and what the model says with each: computed with PyTorch, apart from the server."""

    def __init__(self, world, adapters, contents):
        self.world = world
        self.model = world.base()
        self.pristine = {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}
        self.paths = {}  # (adapter, content): path below the root
        self.deltas = {}  # sha256: {parameter: (rows, columns, values)}
        template = world.adapters / "alpha"
        tensors = load_file(template / "adapter_model.safetensors")
        for adapter in range(adapters):
            for content in range(contents):
                path = f"soak/{adapter}.{content}"
                folder = world.adapters / path
                folder.mkdir(parents=True)
                (folder / "adapter_config.json").write_bytes((template / "adapter_config.json").read_bytes())
                generator = torch.Generator().manual_seed(adapter * contents + content)
                changed = {name: torch.randn(tensor.shape, generator=generator) if name.endswith("shira_weight") else tensor
                           for name, tensor in tensors.items()}
                file = folder / "adapter_model.safetensors"
                save_file(changed, file)
                self.paths[adapter, content] = path
                self.deltas[hashlib.sha256(file.read_bytes()).hexdigest()] = {
                    name.removeprefix("base_model.model.").removesuffix(".shira_weight") + ".weight":
                        (*changed[name.replace("_weight", "_indices")].long(), values)
                    for name, values in changed.items() if name.endswith("shira_weight")}

    @functools.lru_cache(maxsize=None)
    def steps(self, terms, prompt):
        """For a set of (sha256, weight): [(best token, tokens about as good)] of the greedy answer."""
        with torch.no_grad():
            parameters = dict(self.model.named_parameters())
            for sha256, weight in terms:
                for name, (rows, columns, values) in self.deltas[sha256].items():
                    parameters[name].index_put_((rows, columns), values * weight, accumulate=True)
            ids, steps = self.world.tokenizer(prompt)["input_ids"], []
            for _ in range(TOKENS):
                logits = self.model(torch.tensor([ids])).logits[0, -1]
                best = int(logits.argmax())
                steps.append((best, set(torch.nonzero(logits > logits[best] - TIE).flatten().tolist())))
                ids = ids + [best]
            for name, parameter in parameters.items():
                parameter.copy_(self.pristine[name])
        return steps

    def agrees(self, tokens, terms, prompt):
        for token, (best, near) in zip(tokens, self.steps(terms, prompt)):
            if token != best:
                return token in near  # from a tie on, both ways are right
        return True


class Records:
    """What happened, from any thread."""

    def __init__(self):
        self._lock = threading.Lock()
        self.versions = collections.defaultdict(dict)  # name: {version: sha256}
        self.blends = {}  # sha256: ((part's sha256, weight), ...)
        self.answers = []  # (terms as the reply names them, prompt, tokens)
        self.counts = collections.Counter()
        self.problems = []

    def loaded(self, adapter):
        with self._lock:
            self.versions[adapter.name][adapter.version] = adapter.sha256

    def blended(self, adapter, parts):
        with self._lock:
            self.blends[adapter.sha256] = parts
            self.versions[adapter.name][adapter.version] = adapter.sha256

    def answered(self, identities, prompt, tokens):
        with self._lock:
            self.answers.append(([(i.name, i.version, i.sha256, i.weight) for i in identities], prompt, tuple(tokens)))

    def count(self, what):
        with self._lock:
            self.counts[what] += 1

    def problem(self, what):
        with self._lock:
            self.problems.append(what)


class Worker(threading.Thread):
    """Does one thing after the other until it is over; what a call may answer is written beside it."""

    def __init__(self, soak, seed):
        super().__init__(daemon=True)
        self.soak = soak
        self.records = soak.records
        self.random = random.Random(seed)
        self.client = soak.server.client(services=("inference", "admin"))

    def run(self):
        while not self.soak.over():
            self.step()

    def adapter(self):
        # A few are popular.
        return f"a{min(int(self.random.expovariate(0.08)), self.soak.adapters - 1)}"

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
        kind = self.random.choices(["one", "two", "alias", "blend", "base", "cancel", "expire"], [50, 8, 10, 8, 6, 12, 6])[0]
        prompt = self.random.choice(PROMPTS)
        terms = {"one": lambda: [{"name": self.adapter()}],
                 "two": lambda: [{"name": n, "weight": self.random.choice([0.25, 0.5, 1.5])} for n in {self.adapter(), self.adapter()}],
                 "alias": lambda: [{"name": self.random.choice(ALIASES)}],
                 "blend": lambda: [{"name": f"blend{self.random.randrange(2)}"}],
                 "base": lambda: [{"name": "base"}]}.get(kind, lambda: [{"name": self.adapter()}])()
        request = {"prompt": prompt, "adapter": {"adapters": terms}}
        if kind in ("cancel", "expire"):
            return self.interrupt(kind, request)
        request["stop"] = {"max_tokens": TOKENS, "ignore_eos": True}
        # An unload may cancel what runs.
        reply = self.attempt(kind, lambda: self.client.inference.Generate(**request), Code.CANCELLED, *BUSY)
        if reply:
            self.records.answered(reply.summary.adapter, prompt, reply.token_ids)

    def interrupt(self, kind, request):
        request["stop"] = {"max_tokens": 300, "ignore_eos": True}

        def call():
            stream = self.client.stream(timeout=60 if kind == "cancel" else self.random.choice([0.005, 0.05, 0.3]), **request)
            for number, _ in enumerate(stream):
                if kind == "cancel" and number == 3:
                    stream.cancel()

        self.attempt(kind, call, Code.CANCELLED, Code.DEADLINE_EXCEEDED, *BUSY)


class AdminWorker(Worker):
    def step(self):
        self.random.choices([self.replace, self.reload, self.blend, self.move_alias, self.roll_back, self.change_default, self.pin, self.look],
                            [30, 15, 10, 15, 5, 8, 7, 10])[0]()
        time.sleep(self.random.uniform(0, 0.05))

    def load(self, name, **options):
        adapter = int(name[1:])
        path = self.soak.library.paths[adapter, self.random.randrange(self.soak.contents)]
        reply = self.attempt("load", lambda: self.client.admin.LoadAdapter(name=name, path=path, **options), *BUSY, Code.ALREADY_EXISTS)
        if reply:
            self.records.loaded(reply.adapter)

    def replace(self):
        self.load(self.adapter(), replace=True)

    def reload(self):
        name = self.adapter()
        self.attempt("unload", lambda: self.client.admin.UnloadAdapter(
            name=name, cancel_running=self.random.random() < 0.2, request_timeout=None), *BUSY, Code.DEADLINE_EXCEEDED)
        self.load(name)

    def blend(self):
        name = f"blend{self.random.randrange(2)}"
        self.attempt("unload blend", lambda: self.client.admin.UnloadAdapter(name=name), *BUSY, Code.DEADLINE_EXCEEDED)
        parts, contents = [], []
        for part in {self.adapter(), self.adapter()}:
            reply = self.attempt("get", lambda part=part: self.client.admin.GetAdapter(name=part), *BUSY)
            if not reply or not reply.adapter.version:
                return
            # By version, so that a replacement in between does not change what is blended.
            parts.append({"name": f"{part}@{reply.adapter.version}", "weight": self.random.choice([0.25, 0.5, 0.75])})
            contents.append((reply.adapter.sha256, parts[-1]["weight"]))
        reply = self.attempt("create blend", lambda: self.client.admin.CreateBlend(name=name, parts=parts, rule="FUSION_RULE_SUM"),
                             *BUSY, Code.ALREADY_EXISTS, Code.INVALID_ARGUMENT)
        if reply:
            self.records.blended(reply.adapter, tuple(contents))

    def move_alias(self):
        self.attempt("set alias", lambda: self.client.admin.SetAlias(name=self.random.choice(ALIASES), target=self.adapter()), *BUSY)

    def roll_back(self):
        self.attempt("roll back alias", lambda: self.client.admin.RollbackAlias(name=self.random.choice(ALIASES)), *BUSY)

    def change_default(self):
        self.attempt("apply", lambda: self.client.admin.ApplyAdapter(adapters=[{"name": self.adapter()}]), *BUSY)
        self.attempt("revert", lambda: self.client.admin.RevertAdapter(), *BUSY)

    def pin(self):
        name = self.adapter()
        self.attempt("pin", lambda: self.client.admin.PinAdapter(name=name), *BUSY)
        self.attempt("unpin", lambda: self.client.admin.UnpinAdapter(name=name), *BUSY)

    def look(self):
        self.attempt("list", lambda: self.client.admin.ListAdapters(page_size=1000))
        report = self.attempt("verify", lambda: self.client.admin.VerifyWeights(), *BUSY)
        if report and not report.matches_expected:
            self.records.problem("the weights are not what the resident state makes of the base")


class Soak:
    contents = 3

    def __init__(self, options):
        self.options = options
        self.adapters = options.adapters
        self.world = World()
        self.library = Library(self.world, self.adapters, self.contents)
        self.records = Records()
        self.end = float("inf")

    def over(self):
        return time.monotonic() > self.end or bool(self.records.problems) or len(self.records.answers) >= self.options.requests

    def memory_mb(self):
        status = pathlib.Path(f"/proc/{self.server.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024

    def load_all(self, client):
        for adapter in range(self.adapters):
            self.records.loaded(client.admin.LoadAdapter(name=f"a{adapter}", path=self.library.paths[adapter, 0]).adapter)

    def unload_all(self, client):
        client.admin.RevertAdapter()
        for alias in client.admin.ListAliases().aliases:
            client.admin.DeleteAlias(name=alias.name)
        for adapter in client.admin.ListAdapters(page_size=1000).adapters:
            with contextlib.suppress(grpc.RpcError):  # an older version may go with a newer one
                client.admin.UnloadAdapter(name=f"{adapter.name}@{adapter.version}" if adapter.version else adapter.name, cancel_running=True)
        left = [adapter.name for adapter in client.admin.ListAdapters(page_size=1000).adapters]
        if left:
            self.records.problem(f"not unloaded: {left}")

    def phase(self, seconds):
        self.end = time.monotonic() + seconds
        workers = [ClientWorker(self, f"{self.options.seed} client {i}") for i in range(self.options.clients)]
        workers += [AdminWorker(self, f"{self.options.seed} admin {i}") for i in range(self.options.admins)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(seconds + 300)
            if worker.is_alive():
                self.records.problem("a call does not return")

    def compare(self):
        wrong = 0
        for identities, prompt, tokens in self.records.answers:
            terms = []
            for name, version, sha256, weight in identities:
                if self.records.versions[name].get(version) not in (sha256, None):
                    self.records.problem(f"{name}@{version} never was {sha256}")
                for part, part_weight in self.records.blends.get(sha256, ((sha256, 1.0),)):
                    terms.append((part, weight * part_weight))
            if any(sha256 not in self.library.deltas for sha256, _ in terms):
                self.records.problem(f"unknown content in {identities}")
            elif not self.library.agrees(tokens, tuple(terms), prompt):
                wrong += 1
                self.records.problem(f"{identities} after {prompt!r}: {tokens}, not {[best for best, _ in self.library.steps(tuple(terms), prompt)]}")
        return wrong

    def run(self):
        flags = self.world.flags() + ["--max-running", 8, "--max-queued", 64, "--adapter-memory-mb", self.options.adapter_memory_mb]
        with ServerProcess(*flags) as self.server:
            client = self.server.client(services=("inference", "admin"))
            base = [(p.name, p.sha256) for p in client.admin.VerifyWeights().parameters]
            self.load_all(client)
            # The first round grows what stays: threads' arenas, caches, channels.
            self.phase(min(30, self.options.minutes * 60 / 3))
            self.unload_all(client)
            before = self.memory_mb()
            self.load_all(client)
            self.phase(self.options.minutes * 60)
            self.unload_all(client)
            after = self.memory_mb()
            report = client.admin.VerifyWeights()
            if not report.matches_base or [(p.name, p.sha256) for p in report.parameters] != base:
                self.records.problem("the weights are not the base's")
            if after > before * 1.05 + 1:
                self.records.problem(f"memory went from {before:.1f} to {after:.1f} MB")
            if self.server.process.poll() is not None:
                self.records.problem(f"the server ended: {self.server.log()[-2000:]}")
        wrong = self.compare()
        for problem in self.records.problems[:20]:
            print(problem, file=sys.stderr)
        print(json.dumps({
            "seconds": round(self.options.minutes * 60), "adapters": self.adapters, "clients": self.options.clients,
            "answers_compared": len(self.records.answers), "wrong": wrong, "references": self.library.steps.cache_info().currsize,
            "memory_mb": [round(before, 1), round(after, 1)], "calls": dict(sorted(self.records.counts.items())),
            "problems": len(self.records.problems)}))
        return 1 if self.records.problems else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--requests", type=int, default=1_000_000, help="most answers")
    parser.add_argument("--adapters", type=int, default=64)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--admins", type=int, default=2)
    parser.add_argument("--adapter-memory-mb", type=int, default=1)
    parser.add_argument("--seed", default="1")
    sys.exit(Soak(parser.parse_args()).run())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
