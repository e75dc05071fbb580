"""Soak: many clients, 64 adapters, and everything that changes them at once; every answer is compared with a reference.

    scripts/build.sh && .deps/venv/bin/python bench/soak/soak.py --minutes 20 [--out bench/results/soak.jsonl]

A real server with a tiny model and little memory, for adapters as for keys and values, is asked by --clients threads, each of which generates
with single adapters, weighted sets, named blends, aliases, the base and the default state, one answer or two, as a stream or not, and cancels
or lets expire some of it, while --admins threads load, replace, upload, unload, pin, blend, move aliases and change the default state. It ends
after --minutes.

It fails (exit status 1) if
  - an answer is not the one that PyTorch gives for the adapters, by SHA-256, that the reply names;
  - a reply names other adapters than were asked for, a version that had been replaced before, content that its name and version never had,
    or what an alias did not mean at the time;
  - a call fails with a status that nothing of this explains, or an upload that breaks off is accepted;
  - after all adapters are gone, a parameter's hash is not the base's, the process's memory is more than 5 % above what it was after a first
    round over the same adapters, or adapters, keys and values, generations or uploaded files are left;
  - something of all this never happened: prompts' beginnings reused, rows patched, adapters moved to disk and back, each kind of call.

The last line is one JSON object with the figures. --seed repeats the choices, though not their interleaving.
"""

import argparse
import functools
import json
import pathlib
import sys
import time
import urllib.request

import workload  # first: it says where the modules of the others are
import rows
import torch
from fixtures import World
from records import Records
from reference import Reference
from server_process import FREES_AT_ONCE, ServerProcess
from server_run import free_port
from workload import BUSY, KINDS, KV_MB, ClientWorker, Code, Worker

# What has to happen: kinds of calls, calls that end as they were meant to, and metrics that have to move.
CHANGES = {"replace": 25, "upload": 10, "upload cut": 5, "reload": 15, "create blend": 10, "set alias": 12, "roll back alias": 5, "apply": 8,
           "pin": 7, "verify": 10}
# Some are named by what they call; some are there to be refused.
HAPPENS = ["streamed", *({*KINDS, *CHANGES} - {"cancel", "expire", "upload cut", "reload"}), "cancel: CANCELLED", "expire: DEADLINE_EXCEEDED",
           "upload cut: DATA_LOSS", "unload", "load"]
METRICS = {'shira_steps_total{weights="fused"}': "fused_steps", 'shira_steps_total{weights="patched"}': "patched_steps",
           "shira_switches_total": "switches", "shira_cached_prompt_tokens_total": "cached_prompt_tokens",
           "shira_adapter_cold_start_seconds_count": "cold_starts", 'shira_adapter_evictions_total{what="states"}': "evicted_states"}


class AdminWorker(Worker):
    def step(self):
        change = self.random.choices(list(CHANGES), CHANGES.values())[0]
        getattr(self, change.replace(" ", "_"))()
        time.sleep(self.random.uniform(0, 0.05))

    def content(self, name):
        return self.soak.reference.paths[int(name[1:]), self.random.randrange(self.soak.contents)]

    def load(self, what, name, **options):
        reply = self.attempt(what, lambda: self.client.admin.LoadAdapter(name=name, path=self.content(name), **options),
                             *BUSY, Code.ALREADY_EXISTS)
        if reply:
            self.records.loaded(reply.adapter)

    def replace(self):
        self.load("replace", self.adapter(), replace=True)

    def reload(self):
        name = self.adapter()
        self.attempt("unload", lambda: self.client.admin.UnloadAdapter(name=name, cancel_running=self.random.random() < 0.2),
                     *BUSY, Code.DEADLINE_EXCEEDED)
        self.load("load", name)

    def parts(self, name, keep=1.0):
        return workload.upload_messages(self.soak.world.adapters / self.content(name), name, keep, self.random.choice([1000, 10_000, 1_000_000]))

    def upload(self):
        reply = self.attempt("upload", lambda: self.client.admin.UploadAdapter(self.parts(self.adapter())), *BUSY)
        if reply:
            self.records.loaded(reply.adapter)

    def upload_cut(self):
        cut = self.parts(self.adapter(), keep=self.random.uniform(0, 0.99))
        if self.attempt("upload cut", lambda: self.client.admin.UploadAdapter(cut), Code.DATA_LOSS, *BUSY):
            self.records.problem("an upload that breaks off was accepted")

    def create_blend(self):
        name = self.random.choice(self.soak.blends)
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
                             *BUSY, Code.ALREADY_EXISTS)
        if reply:
            self.records.loaded(reply.adapter, parts=tuple(contents))

    def move(self, what, call):
        # Each administrator moves an alias of its own, so that what it means is known at each time.
        alias = self.soak.aliases[self.number]
        with self.records.moving(alias) as target:
            reply = self.attempt(what, lambda: call(name=alias), *BUSY)
            if reply:
                target.append(reply.alias.target)

    def set_alias(self):
        self.move("set alias", functools.partial(self.client.admin.SetAlias, target=self.adapter()))

    def roll_back_alias(self):
        self.move("roll back alias", self.client.admin.RollbackAlias)

    def apply(self):
        self.attempt("apply", lambda: self.client.admin.ApplyAdapter(adapters=[{"name": self.adapter()}]), *BUSY)
        time.sleep(self.random.uniform(0, 0.05))
        self.attempt("revert", lambda: self.client.admin.RevertAdapter(), *BUSY)

    def pin(self):
        name = self.adapter()
        self.attempt("pin", lambda: self.client.admin.PinAdapter(name=name), *BUSY)
        self.attempt("unpin", lambda: self.client.admin.UnpinAdapter(name=name), *BUSY)

    def verify(self):
        self.attempt("list", lambda: self.client.admin.ListAdapters(page_size=1000))
        report = self.attempt("verify", lambda: self.client.admin.VerifyWeights(), *BUSY)
        if report and not report.matches_expected:
            self.records.problem("the weights are not what the resident state makes of the base")


class Soak:
    contents = 3

    def __init__(self, options):
        self.options = options
        self.aliases = [f"alias{number}" for number in range(options.admins)]
        self.blends = ["blend0", "blend1"]
        self.world = World()
        self.reference = Reference(self.world, options.adapters, self.contents)
        self.records = Records()
        self.uploads = pathlib.Path(self.world.adapters.parent) / "uploads"
        self.metrics_port = free_port()

    def over(self):
        """On a machine that is slow a round goes on until each kind has happened."""
        late = time.monotonic() - self.end
        return bool(self.records.problems) or late > 120 or late > 0 and not self.missing()

    def missing(self):
        return [what for what in HAPPENS if not self.records.counts[what]]

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as page:
            values = dict(line.rsplit(" ", 1) for line in page.read().decode().splitlines() if not line.startswith("#"))
        return {name: round(float(values.get(metric, 0))) for metric, name in METRICS.items()}

    def load_all(self):
        for adapter in range(self.options.adapters):
            path = self.reference.paths[adapter, 0]
            self.records.loaded(self.client.admin.LoadAdapter(name=f"a{adapter}", path=path).adapter)
        for number, alias in enumerate(self.aliases):
            with self.records.moving(alias) as target:
                target.append(self.client.admin.SetAlias(name=alias, target=f"a{number}").alias.target)

    def left(self):
        """What is left once all adapters are gone and nothing runs."""
        return workload.left(self.client, self.uploads, self.records)

    def phase(self, seconds):
        self.end = time.monotonic() + seconds
        workers = [ClientWorker(self, "client", i) for i in range(self.options.clients)]
        workers += [AdminWorker(self, "admin", i) for i in range(self.options.admins)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(seconds + 420)
            if worker.is_alive():
                self.records.problem("a call does not return")

    def check(self, before, after, metrics):
        for what in before:
            most = before[what] * 1.05 if what == "memory_mb" else before[what]
            if after[what] > most:
                self.records.problem(f"{what} went from {before[what]} to {after[what]}")
        for what in self.missing() + [what for what, count in metrics.items() if not count]:
            self.records.problem(f"never happened: {what}")
        self.records.check_names()

    def compare(self):
        answers, wrong = self.records.answers(), 0
        for terms, prompt, tokens, best in self.reference.wrong(answers):
            wrong += answers[terms, prompt, tokens]
            self.records.problem(f"{terms} after {prompt!r}: {tokens}, not {best}")
        return {"answers_compared": answers.total(), "wrong": wrong, "states": len({terms for terms, _, _ in answers}),
                "distinct_answers": len(answers)}

    def run(self):
        flags = self.world.flags() + [
            "--max-running", 8, "--max-queued", 64, "--adapter-memory-mb", self.options.adapter_memory_mb, "--kv-cache-mb", KV_MB,
            "--upload-dir", self.uploads, "--metrics-listen", self.metrics_port]
        with ServerProcess(*flags, environment=FREES_AT_ONCE) as self.server:
            self.client = self.server.client()
            base = [(p.name, p.sha256) for p in self.client.admin.VerifyWeights().parameters]
            self.load_all()
            # The first round grows what stays: threads' arenas, caches, channels.
            self.phase(min(30, self.options.minutes * 60 / 3))
            before = self.left()
            self.load_all()
            self.phase(self.options.minutes * 60)
            after = self.left()
            report = self.client.admin.VerifyWeights()
            if not report.matches_base or [(p.name, p.sha256) for p in report.parameters] != base:
                self.records.problem("the weights are not the base's")
            metrics = self.metrics()
            if self.server.process.poll() is not None:
                self.records.problem(f"the server ended: {self.server.log()[-2000:]}")
        self.check(before, after, metrics)
        compared = self.compare()
        for problem in self.records.problems[:20]:
            print(problem, file=sys.stderr)
        row = {"seconds": round(self.options.minutes * 60), "adapters": self.options.adapters, "clients": self.options.clients,
               "admins": self.options.admins, **compared, "left": {what: [before[what], after[what]] for what in before}, **metrics,
               "calls": dict(sorted(self.records.counts.items())), "problems": len(self.records.problems),
               "machine": rows.machine(), "commit": rows.commit()}
        print(json.dumps(row))
        if self.options.out:
            rows.replace(self.options.out, [row], ["seconds", "adapters", "clients"])
        return 1 if self.records.problems else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--adapters", type=int, default=64)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--admins", type=int, default=2)
    parser.add_argument("--adapter-memory-mb", type=int, default=1)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--out", default="", help="write the row into this file of rows")
    sys.exit(Soak(parser.parse_args()).run())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
