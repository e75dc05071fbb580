"""Crash soak: random operations of 8 clients on one server that is killed again and again; nothing acknowledged may be lost, nothing may stay.

    scripts/build.sh && .deps/venv/bin/python bench/soak/crash_soak.py --operations 100000 --kills 40 [--out bench/results/crash_soak.jsonl]

Each client owns some adapters, an alias and a blend, and changes these alone: it loads, replaces, uploads, unloads, pins, blends, moves and
deletes aliases, one client moves the default state, and in between all of them generate with everybody's, cancel, and let requests expire. So at each
moment it is known what was acknowledged, and which one change of each client is under way. The server keeps a state file. Over the first 40 % of the
operations it is killed (SIGKILL) --kills times in the middle of this, and started again; the last process lives to the end.

It fails (exit status 1) if
  - after a restart an adapter, a pin, an alias or the default state is neither as it was acknowledged nor as the change under way would
    have it, a version is smaller than one that was acknowledged, or a version that an alias keeps is not there;
  - an answer is not the one that PyTorch gives for the adapters, by SHA-256, that the reply names, or a reply names what was not asked for;
  - a call fails with a status that nothing of this explains;
  - at the end, after all adapters are gone, something is left: an adapter, memory of adapters, a generation, an upload's or a blend's file;
    a parameter's hash is not the base's; or the anonymous memory of the last process is more than 3 % above what
    it was when half of that process's operations were done.

The last line is one JSON object with the figures. --seed repeats the choices, though not their interleaving.
"""

import argparse
import collections
import functools
import json
import pathlib
import sys
import threading
import time

import workload  # first: it says where the modules of the others are
import grpc
import rows
import torch
from fixtures import World
from records import Records
from reference import Reference
from server_process import FREES_AT_ONCE, ServerProcess
from workload import BUSY, KV_MB, ClientWorker, Code

ADAPTERS_OF_EACH = 6
CONTENTS = 3
# What a client does, and how often.
CHANGES = {"generate": 300, "replace": 24, "upload": 10, "upload cut": 4, "unload": 8, "create blend": 10, "set alias": 12,
           "roll back alias": 6, "delete alias": 3, "apply": 6, "pin": 8, "unpin": 6}
KILLED_IN = 0.4  # of the operations
MEMORY_GROWTH = 1.03
READY = 20  # ADAPTER_STATE_READY
REFUSED = object()

Held = collections.namedtuple("Held", "sha256 version pinned")  # of an adapter's newest version; version None: not known yet


class ServerGone(Exception):
    pass


class Outcomes:
    """What each thing is, as far as anyone was told: the acknowledged value, and those that changes under way would make of it."""

    def __init__(self):
        self._values = {}  # thing: value; None is absence
        self._under_way = {}  # thing: a function of the value found, whether the change under way explains it

    def acknowledged(self, thing):
        return self._values.get(thing)

    def change(self, thing, explains, call):
        """`call()` makes a change: it gives the value acknowledged, or None as `refused`, or raises ServerGone."""
        self._under_way[thing] = explains
        outcome = call()  # on ServerGone the change stays under way
        del self._under_way[thing]
        if outcome is not REFUSED:
            self._values[thing] = outcome
        return outcome

    def settle(self, thing, found):
        """After a restart. Whether what was found may be."""
        value = self._values.get(thing)
        explains = self._under_way.pop(thing, lambda found: False)
        self._values[thing] = found
        return found == value or explains(found)


class CrashWorker(ClientWorker):
    """One client, which goes on when the next server is there."""

    def __init__(self, soak, number):
        super().__init__(soak, "crash", number)
        self.outcomes = Outcomes()
        self.own = [name for index, name in enumerate(soak.adapters) if index % soak.options.clients == number]
        self.alias = soak.aliases[number]
        self.blend = soak.blends[number]
        self.changes = [what for what in CHANGES if number == 0 or what != "apply"]  # the default state is the first one's

    def run(self):
        while True:
            if not self.soak.turn():
                return
            try:
                self.step_of(self.random.choices(self.changes, [CHANGES[what] for what in self.changes])[0])
            except ServerGone:
                pass
            except Exception as error:  # a thread's exceptions are seen by nobody else
                self.records.problem(f"{type(error).__name__}: {error}")
            finally:
                self.soak.turn_ends()

    def step_of(self, what):
        if what == "generate":
            self.step()
        else:
            getattr(self, what.replace(" ", "_"))()

    def adapter(self):
        return self.random.choice(self.soak.adapters)

    def attempt(self, what, call, *allowed):
        def watched():
            try:
                return call()
            except grpc.RpcError as error:
                # Of a dead server there are no details; its own refusals have them.
                if self.soak.killing.is_set() and "grpc-status-details-bin" not in dict(error.trailing_metadata() or {}):
                    raise ServerGone from error
                raise

        return super().attempt(what, watched, *allowed)

    def change(self, what, thing, explains, call, value, *allowed):
        """One acknowledged change of `thing`; `value` makes of the reply what the thing is from now on."""
        def acknowledged():
            reply = self.attempt(what, call, *BUSY, *allowed)
            return value(reply) if reply is not None else REFUSED

        return self.outcomes.change(thing, explains, acknowledged)

    def load_own(self):
        for name in self.own:
            self.replace(name)

    # ---- Adapters ----

    def known(self, name):
        """(sha256, version, pinned) of the name's newest version, or None."""
        return self.outcomes.acknowledged(("adapter", name))

    def becomes(self, name, sha256):
        """What explains that a name has the content `sha256` after a change that was under way: it is new, and no version comes again."""
        before = self.known(name)
        least = before.version if before else self.soak.versions.get(name, 0)
        return lambda found: found is not None and found.sha256 == sha256 and found.version >= least

    def content(self, name):
        path = self.soak.reference.paths[self.soak.adapters.index(name), self.random.randrange(CONTENTS)]
        return path, self.soak.reference.digests[path]

    def loaded(self, reply, parts=None):
        self.records.loaded(reply.adapter, parts)
        self.soak.versions[reply.adapter.name] = reply.adapter.version
        return Held(reply.adapter.sha256, reply.adapter.version, reply.adapter.pinned)

    def replace(self, name=None):
        name = name or self.random.choice(self.own)
        path, sha256 = self.content(name)
        self.change("replace", ("adapter", name), self.becomes(name, sha256),
                    lambda: self.client.admin.LoadAdapter(name=name, path=path, replace=True), self.loaded)

    def upload(self):
        name = self.random.choice(self.own)
        path, sha256 = self.content(name)
        messages = workload.upload_messages(self.soak.world.adapters / path, name, size=self.random.choice([1000, 10_000, 1_000_000]))
        self.change("upload", ("adapter", name), self.becomes(name, sha256), lambda: self.client.admin.UploadAdapter(messages), self.loaded)

    def upload_cut(self):
        name = self.random.choice(self.own)
        messages = workload.upload_messages(self.soak.world.adapters / self.content(name)[0], name, keep=self.random.uniform(0, 0.99))
        if self.attempt("upload cut", lambda: self.client.admin.UploadAdapter(messages), Code.DATA_LOSS, *BUSY):
            self.records.problem("an upload that breaks off was accepted")

    def unload(self, name=None):
        name = name or self.random.choice(self.own)
        self.change("unload", ("adapter", name), lambda found: found is None,
                    lambda: self.client.admin.UnloadAdapter(name=name, cancel_running=self.random.random() < 0.2), lambda reply: None,
                    Code.DEADLINE_EXCEEDED)

    def create_blend(self):
        self.unload(self.blend)
        there = [name for name in self.own if self.known(name)]
        if self.known(self.blend) or not there:
            return
        chosen = self.random.sample(there, min(len(there), 2))
        weights = [self.random.choice([0.25, 0.5, 0.75]) for _ in chosen]
        held = [self.known(name) for name in chosen]
        if len({one.sha256 for one in held}) < len(held):
            return
        contents = tuple((one.sha256, weight) for one, weight in zip(held, weights))
        parts = [{"name": f"{name}@{one.version}", "weight": weight} for name, one, weight in zip(chosen, held, weights)]
        self.soak.blending[self.blend] = contents
        self.change("create blend", ("adapter", self.blend), lambda found: found is not None,
                    lambda: self.client.admin.CreateBlend(name=self.blend, parts=parts, rule="FUSION_RULE_SUM"),
                    functools.partial(self.loaded, parts=contents), Code.ALREADY_EXISTS)

    def pin(self, pinned=True):
        name = self.random.choice(self.own)
        before = self.known(name)
        call = self.client.admin.PinAdapter if pinned else self.client.admin.UnpinAdapter
        self.change("pin" if pinned else "unpin", ("adapter", name), lambda found: found == before._replace(pinned=pinned),
                    lambda: call(name=name), lambda reply: Held(reply.adapter.sha256, reply.adapter.version, reply.adapter.pinned))

    def unpin(self):
        self.pin(False)

    # ---- Aliases and the default state ----

    def move(self, what, explains, call, target_of=lambda reply: reply.alias.target):
        with self.records.moving(self.alias) as target:
            def moved(reply):
                target.append(target_of(reply))
                return (target[0].name, target[0].version) if target[0] else None

            self.change(what, ("alias", self.alias), explains, call, moved)

    def set_alias(self):
        name = self.random.choice(self.own)
        held = self.known(name)
        self.move("set alias", lambda found: held is not None and found == (name, held.version),
                  lambda: self.client.admin.SetAlias(name=self.alias, target=name))

    def roll_back_alias(self):
        self.move("roll back alias", lambda found: found is not None, lambda: self.client.admin.RollbackAlias(name=self.alias))

    def delete_alias(self):
        self.move("delete alias", lambda found: found is None, lambda: self.client.admin.DeleteAlias(name=self.alias), lambda reply: None)

    def apply(self):
        name = self.random.choice(self.own)
        self.change("apply", ("default",), lambda found: found == name, lambda: self.client.admin.ApplyAdapter(adapters=[{"name": name}]),
                    lambda reply: name)
        if self.random.random() < 0.5:
            self.change("revert", ("default",), lambda found: found is None, self.client.admin.RevertAdapter, lambda reply: None)

    # ---- After a restart ----

    def settle(self, found):
        """Compares what there is with what was acknowledged; the client goes on from what there is."""
        things = [("adapter", name) for name in (*self.own, self.blend)] + [("alias", self.alias)]
        if self.number == 0:
            things.append(("default",))
        for thing in things:
            before = self.outcomes.acknowledged(thing)
            if not self.outcomes.settle(thing, found.get(thing)):
                self.records.problem(f"after a restart {thing} is {found.get(thing)}; acknowledged was {before}")


class CrashSoak:
    def __init__(self, options):
        self.options = options
        self.adapters = [f"a{index}" for index in range(options.clients * ADAPTERS_OF_EACH)]
        self.aliases = [f"alias{number}" for number in range(options.clients)]
        self.blends = [f"blend{number}" for number in range(options.clients)]
        self.world = World()
        self.reference = Reference(self.world, len(self.adapters), CONTENTS)
        self.records = Records()
        folder = pathlib.Path(self.world.adapters.parent)
        self.uploads = folder / "uploads"
        self.state_file = folder / "state"
        self.versions = {}  # name: the newest version that was acknowledged or found
        self.blending = {}  # blend: the parts of the one that was asked for last
        self.killing = threading.Event()
        self._lock = threading.Condition()
        self._open = False  # for turns
        self._until = 0  # operations
        self._running = 0
        self.operations = 0

    # ---- Turns: an operation each ----

    def turn(self):
        """Whether a client shall do one more operation. Waits while there is no server."""
        with self._lock:
            self._lock.wait_for(lambda: self._open or self.over())
            if self.over():
                return False
            self.operations += 1
            self._running += 1
            if self.operations >= self._until:
                self._open = False
            self._lock.notify_all()
            return True

    def turn_ends(self):
        with self._lock:
            self._running -= 1
            self._lock.notify_all()

    def over(self):
        return self.operations >= self.options.operations or bool(self.records.problems)

    def run_until(self, operations, in_the_middle=lambda: None):
        """Lets the clients go on until so many operations were begun, and returns when all have ended."""
        with self._lock:
            self._until = operations
            self._open = True
            self._lock.notify_all()
            self._lock.wait_for(lambda: not self._open or self.over())
        in_the_middle()
        with self._lock:
            if not self._lock.wait_for(lambda: self._running == 0, timeout=300):
                self.records.problem("a call does not return")

    # ---- The server ----

    def start(self):
        flags = self.world.flags() + ["--max-running", 8, "--max-queued", 64, "--adapter-memory-mb", 1, "--kv-cache-mb", KV_MB,
                                      "--upload-dir", self.uploads, "--state-file", self.state_file]
        self.server = ServerProcess(*flags, environment=FREES_AT_ONCE)
        self.client = self.server.client()
        for worker in self.workers:
            worker.client = self.server.client(services=("inference", "admin"))
        self.killing.clear()

    def kill(self):
        self.killing.set()
        self.server.kill()

    def found(self):
        """What the server has, by the names of Outcomes' things."""
        there, found = {}, {}
        for adapter in self.client.admin.ListAdapters(page_size=1000).adapters:
            if adapter.state != READY:
                self.records.problem(f"{adapter.name}@{adapter.version} is in state {adapter.state}: {adapter.error}")
                continue
            there[adapter.name, adapter.version] = adapter
            if adapter.version >= found.get(("adapter", adapter.name), Held("", 0, False)).version:
                found["adapter", adapter.name] = Held(adapter.sha256, adapter.version, adapter.pinned)
        for alias in self.client.admin.ListAliases().aliases:
            found["alias", alias.name] = target = (alias.target.name, alias.target.version)
            if target not in there:
                self.records.problem(f"{alias.name} names {target}, which is not there")
        default = [adapter.name for adapter in self.client.admin.GetResidentState().default_state.adapters]
        if default:
            found["default",] = default[0]
        return there, found

    def restart(self):
        self.server.__exit__()
        self.start()
        there, found = self.found()
        self.records.restarted()
        for adapter in there.values():
            parts = self.blending.get(adapter.name)
            self.records.loaded(adapter, parts if adapter.name in self.blends else None)
            if adapter.version < self.versions.get(adapter.name, 0) and found["adapter", adapter.name].version == adapter.version:
                self.records.problem(f"{adapter.name}@{adapter.version} came back after version {self.versions[adapter.name]}")
            self.versions[adapter.name] = max(adapter.version, self.versions.get(adapter.name, 0))
        for thing, target in found.items():
            if thing[0] == "alias":
                with self.records.moving(thing[1]) as moved:
                    moved.append(self.client.admin.GetAdapter(name="@".join(map(str, target))).adapter)
        for worker in self.workers:
            worker.settle(found)
        report = self.client.admin.VerifyWeights()
        if not report.matches_expected:
            self.records.problem("after a restart the weights are not what the state makes of the base")

    def left(self):
        there = workload.left(self.client, self.uploads, self.records)
        del there["memory_mb"]
        blends = pathlib.Path(f"{self.state_file}.blends")
        there["blends"] = sum(1 for path in blends.iterdir() if path.name != ".lock") if blends.exists() else 0
        there["anonymous_mb"] = round(self.server.resident_bytes() / 2**20, 1)
        for worker in self.workers:
            worker.outcomes = Outcomes()
        return there

    def compare(self):
        answers, wrong = self.records.answers(), 0
        for terms, prompt, tokens, best in self.reference.wrong(answers):
            wrong += answers[terms, prompt, tokens]
            self.records.problem(f"{terms} after {prompt!r}: {tokens}, not {best}")
        return {"answers_compared": answers.total(), "wrong": wrong, "distinct_answers": len(answers)}

    def run(self):
        begin = time.monotonic()
        total, kills = self.options.operations, self.options.kills
        self.workers = []
        self.start()
        base = [(p.name, p.sha256) for p in self.client.admin.VerifyWeights().parameters]
        self.workers = [CrashWorker(self, number) for number in range(self.options.clients)]
        for worker in self.workers:
            worker.load_own()
            worker.start()
        for number in range(kills):
            self.run_until(round(total * KILLED_IN * (number + 1) / kills), self.kill)
            self.restart()
            if self.records.problems:
                break
        half = round(total * (1 + KILLED_IN) / 2)
        self.run_until(half)
        before = self.left()
        self.records.restarted()
        for worker in self.workers:
            worker.load_own()
        self.run_until(total)
        after = self.left()
        report = self.client.admin.VerifyWeights()
        if not report.matches_base or [(p.name, p.sha256) for p in report.parameters] != base:
            self.records.problem("the weights are not the base's")
        self.server.__exit__()
        self.records.check_names()
        for what in before:
            most = before[what] * MEMORY_GROWTH if what == "anonymous_mb" else 0 if what != "kv_bytes" else before[what]
            if after[what] > most:
                self.records.problem(f"{what} went from {before[what]} to {after[what]}")
        compared = self.compare()
        for problem in self.records.problems[:20]:
            print(problem, file=sys.stderr)
        row = {"operations": self.operations, "kills": kills, "clients": self.options.clients, "adapters": len(self.adapters),
               "seconds": round(time.monotonic() - begin), **compared, "left": {what: [before[what], after[what]] for what in before},
               "calls": dict(sorted(self.records.counts.items())), "problems": len(self.records.problems),
               "machine": rows.machine(), "commit": rows.commit()}
        print(json.dumps(row))
        if self.options.out:
            rows.replace(self.options.out, [row], ["operations", "kills", "clients"])
        return 1 if self.records.problems else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--out", default="", help="write the row into this file of rows")
    sys.exit(CrashSoak(parser.parse_args()).run())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
