"""Three real servers behind HAProxy with docker/haproxy.cfg: adapters keep their replica, and a replica that dies or drains loses nothing
but, when it dies, the streams that it was sending."""

import collections
import contextlib
import itertools
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import grpc
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/integration"))

from fixtures import PROMPT, world  # noqa: E402
from server_process import Service, ServerProcess  # noqa: E402

torch.set_num_threads(1)  # the servers need the processors
NAMES = [f"tone{i}" for i in range(12)]
# What docs/operating.md advises: a call that a replica refused because it drains is made again.
RETRY = json.dumps({"methodConfig": [{
    "name": [{"service": "shira.v1.Inference"}],
    "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"]},
}]})


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Answer:
    """What came of one streamed generation."""

    def __init__(self, adapter):
        self.adapter = adapter
        self.replica = None  # that began the answer
        self.tokens = []
        self.finished = False
        self.error = None

    def __str__(self):
        return f"{self.adapter} at {self.replica}: {len(self.tokens)} tokens, {self.error}"


class Cluster:
    def __init__(self, stack):
        self.folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.stack = stack
        flags = world().flags() + ["--max-queued", 1000, "--drain-delay", 2]
        flags += [f"--adapter={name}={world().adapters / ('alpha', 'beta', 'gamma')[i % 3]}" for i, name in enumerate(NAMES)]
        self.flags = flags
        self.servers = {f"replica{i + 1}": stack.enter_context(ServerProcess(*flags)) for i in range(3)}
        self.bind, self.stats = free_ports(2)
        environment = {f"SHIRA_REPLICA_{i + 1}": server.target for i, server in enumerate(self.servers.values())}
        self.log = (self.folder / "haproxy.log").open("wb")
        self.proxy = subprocess.Popen(
            [shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin"), "-db", "-f", ROOT / "docker/haproxy.cfg"],
            env={**os.environ, **environment, "SHIRA_BIND": f"127.0.0.1:{self.bind}", "SHIRA_STATS": f"127.0.0.1:{self.stats}"},
            stdout=self.log, stderr=self.log)
        stack.callback(self._stop_proxy)
        self.channel = stack.enter_context(grpc.insecure_channel(
            f"127.0.0.1:{self.bind}", options=[("grpc.service_config", RETRY), ("grpc.enable_retries", 1)]))
        grpc.channel_ready_future(self.channel).result(timeout=30)
        pool = next(iter(self.servers.values())).client().pool
        self.inference = Service(self.channel, pool, "shira.v1.Inference")
        self.wait_for("replica1", "replica2", "replica3")

    def _stop_proxy(self):
        self.proxy.terminate()
        self.proxy.wait(10)
        self.log.close()

    def up(self):
        """The replicas that HAProxy sends calls to, by its own metrics."""
        with socket.create_connection(("127.0.0.1", self.stats)) as connection:
            connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        prefix = 'haproxy_server_status{proxy="replicas",server="'
        return {line[len(prefix):].split('"')[0] for line in text.splitlines()
                if line.startswith(prefix) and 'state="UP"' in line and line.endswith(" 1")}

    def wait_for(self, *replicas):
        deadline = time.monotonic() + 30
        while self.up() != set(replicas):
            assert time.monotonic() < deadline, f"up are {self.up()}, not {replicas}: {(self.folder / 'haproxy.log').read_text()}"
            time.sleep(0.05)

    def stream(self, adapter, tokens):
        """A call under way. Ends with an Answer from read()."""
        return self.inference.StreamGenerate(
            metadata=[("shira-adapter", adapter)], timeout=120,
            request={"prompt": PROMPT, "adapter": {"adapters": [{"name": adapter}]}, "stop": {"max_tokens": tokens, "ignore_eos": True}})

    @staticmethod
    def read(call, adapter):
        answer = Answer(adapter)
        try:
            for message in call:
                answer.replica = answer.replica or dict(call.initial_metadata()).get("shira-replica")
                if message.WhichOneof("event") == "chunk":
                    answer.tokens += message.chunk.token_ids
                else:
                    answer.finished = True
        except grpc.RpcError as error:
            answer.error = error
        return answer

    def generate(self, adapter, tokens=4):
        return self.read(self.stream(adapter, tokens), adapter)

    def homes(self):
        """Which replica each adapter is at, asked one after the other."""
        found = {}
        for name in NAMES:
            answers = [self.generate(name) for _ in range(3)]
            assert all(answer.finished for answer in answers), [answer.error for answer in answers]
            replicas = {answer.replica for answer in answers}
            assert len(replicas) == 1, f"{name} was at {replicas}"
            found[name] = replicas.pop()
        return found


class Load:
    """Clients that go on asking until stop()."""

    def __init__(self, cluster, tokens, clients=6):
        self.cluster = cluster
        self.tokens = tokens
        self.answers = collections.deque()
        self.running = True
        self.threads = [threading.Thread(target=self._run, args=(i,)) for i in range(clients)]
        for thread in self.threads:
            thread.start()

    def _run(self, client):
        turn = client
        while self.running:
            self.answers.append(self.cluster.generate(NAMES[turn % len(NAMES)], self.tokens))
            turn += 5

    def wait_for(self, more):
        target, deadline = len(self.answers) + more, time.monotonic() + 120
        while len(self.answers) < target:
            assert time.monotonic() < deadline, f"only {len(self.answers)} of {target} answers came"
            time.sleep(0.02)

    def stop(self):
        self.running = False
        for thread in self.threads:
            thread.join(180)
        return list(self.answers)


class ClusterTest(unittest.TestCase):
    def setUp(self):
        self.stack = self.enterContext(contextlib.ExitStack())
        self.cluster = Cluster(self.stack)

    def check_tokens(self, answers, tokens):
        """Whoever served it, an adapter's answer is the one that PEFT and transformers give."""
        for answer in answers:
            if answer.finished:
                adapter = ("alpha", "beta", "gamma")[NAMES.index(answer.adapter) % 3]
                self.assertEqual(answer.tokens, world().greedy(adapter, tokens))

    def test_an_adapter_keeps_its_replica_and_all_replicas_get_some(self):
        homes = self.cluster.homes()
        self.assertEqual(set(homes.values()), {"replica1", "replica2", "replica3"})
        # Without the metadata calls go round.
        replicas = set()
        for _ in range(6):
            call = self.cluster.inference.StreamGenerate(request={"prompt": PROMPT, "stop": {"max_tokens": 1}})
            list(call)
            replicas.add(dict(call.initial_metadata())["shira-replica"])
        self.assertEqual(replicas, {"replica1", "replica2", "replica3"})

    def test_a_killed_replica_loses_its_running_streams_and_nothing_else(self):
        before = self.cluster.homes()
        load = Load(self.cluster, tokens=40)
        load.wait_for(more=6)
        self.cluster.servers["replica2"].process.kill()
        load.wait_for(more=18)
        answers = load.stop()
        lost = [answer for answer in answers if not answer.finished]
        for answer in lost:
            # Only what had begun, and there.
            self.assertEqual(answer.replica, "replica2", answer.error)
            self.assertIn(answer.error.code(), (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED,
                                                  grpc.StatusCode.UNKNOWN))
        self.assertLessEqual(len(lost), len(load.threads))
        self.check_tokens(answers, 40)
        self.cluster.wait_for("replica1", "replica3")
        after = self.cluster.homes()
        for name, replica in before.items():
            if replica != "replica2":
                self.assertEqual(after[name], replica, "an adapter of a living replica moved")
        self.assertEqual(set(after.values()), {"replica1", "replica3"})

    def test_a_draining_replica_loses_nothing_and_its_adapters_come_back_with_it(self):
        before = self.cluster.homes()
        load = Load(self.cluster, tokens=40)
        load.wait_for(more=6)
        server = self.cluster.servers["replica1"]
        server.terminate()
        self.cluster.wait_for("replica2", "replica3")
        self.assertIsNone(server.process.poll(), "the proxy saw that it drains after it had gone")
        self.assertEqual(server.wait(60), 0)
        load.wait_for(more=12)
        with contextlib.ExitStack() as stack:
            stack.enter_context(ServerProcess(*self.cluster.flags, listen=server.target))
            self.cluster.wait_for("replica1", "replica2", "replica3")
            answers = load.stop()
            self.assertEqual([str(answer) for answer in answers if not answer.finished], [])
            self.check_tokens(answers, 40)
            self.assertEqual(self.cluster.homes(), before)

    def peers_of(self, replica, request_ids):
        """The peers that a replica's log has for these calls. An answer may come before its line."""
        for _ in range(100):
            lines = self.cluster.servers[replica].log().splitlines()
            peers = [re.search(r"peer=(\S+)", line)[1] for line in lines if any(f"request={one} " in line for one in request_ids)]
            if len(peers) >= len(request_ids):
                break
            time.sleep(0.1)
        return peers

    def test_no_two_clients_share_a_connection_to_a_replica(self):
        name, home = next(iter(self.cluster.homes().items()))
        connections = []
        for client in range(6):
            options = [("grpc.use_local_subchannel_pool", 1)]
            with grpc.insecure_channel(f"127.0.0.1:{self.cluster.bind}", options=options) as channel:
                model = channel.unary_unary("/shira.v1.Inference/GetModel")
                ids = [f"client-{client}-call-{i}" for i in range(4)]
                for request_id in ids:
                    model(b"", metadata=[("x-request-id", request_id), ("shira-adapter", name)], timeout=30)
            peers = self.peers_of(home, ids)
            self.assertTrue(peers, "the replica where the adapter lives answered none")
            connections.append(set(peers))
        for one, other in itertools.combinations(connections, 2):
            self.assertFalse(one & other, connections)

    def test_administration_does_not_pass(self):
        stub = self.cluster.channel.unary_unary("/shira.v1.AdapterAdmin/RevertAdapter")
        with self.assertRaises(grpc.RpcError) as raised:
            stub(b"", timeout=10)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNIMPLEMENTED)
        self.assertIn("call the replica itself", raised.exception.details())


if __name__ == "__main__":
    unittest.main()
