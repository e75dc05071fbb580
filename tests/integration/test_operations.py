"""What an operator sees and bounds: metrics, logs, limits, status."""

import json
import re
import shutil
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request
import pathlib

import grpc
import shira_testutil

from fixtures import PROMPT, select, world
from project_version import project_version
from scraping import free_port, scrape, value
from server_process import error_of

Code = grpc.StatusCode
ENDLESS = {"max_tokens": 15000, "ignore_eos": True}


def code_of(call):
    """The code of the RpcError that `call()` raises; one of the client's own has no details."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    raise AssertionError("the call succeeded")


class MetricsTest(unittest.TestCase):
    def serve(self, *flags, adapters=("alpha", "beta")):
        self.port = free_port()
        return self.enterContext(world().server("--metrics-listen", self.port, *flags, adapters=adapters))

    def generate(self, client, *adapters, tokens=5):
        return client.inference.Generate(prompt=PROMPT, adapter=select(*adapters),
                                         stop={"max_tokens": tokens, "ignore_eos": True})

    def test_what_was_asked_for_is_counted(self):
        _, client = self.serve()
        prompt = self.generate(client).summary.usage.prompt_tokens
        self.generate(client, "alpha", tokens=7)
        self.generate(client, "alpha", tokens=3)
        self.generate(client, "alpha", "beta")
        error_of(lambda: self.generate(client, "nobody"))
        self.assertEqual(code_of(lambda: client.inference.Generate(prompt=PROMPT, stop=ENDLESS, timeout=0.3)),
                         Code.DEADLINE_EXCEEDED)
        deadline = time.monotonic() + 30
        while not any(labels["outcome"] == "deadline_exceeded" for labels, _ in scrape(self.port)["shira_requests_total"]):
            self.assertLess(time.monotonic(), deadline)  # the server sees it at its next token
            time.sleep(0.05)
        samples = scrape(self.port)
        self.assertEqual(value(samples, "shira_prompt_tokens_total", adapter="alpha"), 2 * prompt)
        self.assertEqual(value(samples, "shira_generated_tokens_total", adapter="alpha"), 10)
        self.assertEqual(value(samples, "shira_requests_total", adapter="alpha", outcome="length"), 2)
        self.assertEqual(value(samples, "shira_requests_total", adapter="alpha+beta", outcome="length"), 1)
        self.assertEqual(value(samples, "shira_time_to_first_token_seconds_count", adapter="alpha"), 2)
        self.assertEqual(value(samples, "shira_inter_token_seconds_count", adapter="alpha"), 8)
        self.assertEqual(value(samples, "shira_queue_seconds_count", adapter="alpha"), 2)
        generate = "/shira.v1.Inference/Generate"
        self.assertEqual(value(samples, "shira_calls_total", method=generate, code="ok"), 4)
        self.assertEqual(value(samples, "shira_calls_total", method=generate, code="not_found"), 1)
        self.assertEqual(value(samples, "shira_requests_total", outcome="deadline_exceeded"), 1)
        self.assertEqual(value(samples, "shira_adapters", state="ready"), 2)
        self.assertGreaterEqual(value(samples, "shira_switches_total"), 2)
        self.assertGreater(value(samples, "shira_steps_total", weights="fused"), 0)
        self.assertEqual(client.inference.GetModel().server_version, project_version())
        self.assertEqual(value(samples, "shira_build_info", version=project_version()), 1)
        self.assertEqual(value(samples, "shira_model_info", dtype="float32", architecture="llama"), 1)

    def test_every_metric_is_in_the_manual(self):
        _, client = self.serve()
        self.generate(client, "alpha")
        manual = (pathlib.Path(__file__).parents[2] / "docs/operating.md").read_text()
        documented = set(re.findall(r"`((?:shira|process)_[a-z_]+)`", manual))
        exported = {re.sub("_(bucket|sum|count)$", "", name) for name in scrape(self.port)}
        self.assertEqual({name for name in exported if not name.startswith("exposer_")}, documented)

    def test_alarms_speak_of_metrics_that_there_are(self):
        _, client = self.serve()
        self.generate(client, "alpha")
        exported = set(scrape(self.port)) | {"up"}
        rules = (pathlib.Path(__file__).parents[2] / "docker/alerts.yml").read_text()
        expressions = re.findall(r"^ +expr: (.+)$", rules, re.M)
        named = {name for expression in expressions for name in re.findall(r"\b(?:shira|process)_[a-z_]+", expression.replace('"shira"', ""))}
        self.assertGreater(len(named), 8)
        self.assertLessEqual(named, exported)

    def test_a_histogram_is_one_by_the_format(self):
        _, client = self.serve()
        self.generate(client, "alpha", tokens=50)
        buckets = [(float(labels["le"]), count) for labels, count in scrape(self.port)["shira_inter_token_seconds_bucket"]
                   if labels["adapter"] == "alpha"]
        self.assertEqual(buckets, sorted(buckets))
        self.assertEqual([count for _, count in buckets], sorted(count for _, count in buckets))
        self.assertEqual(buckets[-1], (float("inf"), 49))

    def test_adapters_beyond_the_limit_are_counted_together(self):
        _, client = self.serve("--metrics-max-adapters", 2)
        for adapters in ((), ("alpha",), ("beta",), ("alpha", "beta"), ("beta",)):
            self.generate(client, *adapters, tokens=2)
        samples = scrape(self.port)
        self.assertEqual({labels["adapter"] for labels, _ in samples["shira_generated_tokens_total"]},
                         {"base", "alpha", "other"})
        self.assertEqual(value(samples, "shira_generated_tokens_total", adapter="other"), 6)

    def test_methods_that_are_none_make_no_series_of_their_own(self):
        _, client = self.serve()
        for i in range(5):
            with self.assertRaises(grpc.RpcError):
                client.channel.unary_unary(f"/made.Up/Method{i}")(b"")
        methods = {labels["method"] for labels, _ in scrape(self.port)["shira_calls_total"]}
        self.assertIn("other", methods)
        self.assertFalse([m for m in methods if "made.Up" in m])

    def test_the_gauges_of_the_model_server_protocol(self):
        _, client = self.serve("--max-running", 1, "--kv-cache-mb", 10)

        def info(running, waiting):
            """The samples, once they say so: the lists are of calls, the numbers of the engine's queue, which calls reach later."""
            expected = [running, waiting, len(running.split()), len(waiting.split())]
            deadline = time.monotonic() + 30
            while True:
                samples = scrape(self.port)
                (labels, when), = samples["shira_lora_requests_info"]
                found = [labels["running_lora_adapters"], labels["waiting_lora_adapters"],
                         value(samples, "shira_num_requests_running"), value(samples, "shira_num_requests_waiting")]
                if found == expected:
                    self.assertEqual(labels["max_lora"], "1")
                    self.assertLess(abs(when - time.time()), 60)
                    return samples
                self.assertLess(time.monotonic(), deadline, found)
                time.sleep(0.05)

        info("", "")
        running = client.stream(prompt=PROMPT, adapter=select("alpha"), stop=ENDLESS)
        next(running)
        waiting = client.stream(prompt=PROMPT, adapter=select("beta"), stop=ENDLESS)
        samples = info("alpha", "beta")
        self.assertTrue(0 < value(samples, "shira_kv_cache_usage_perc") <= 1)
        running.cancel()
        info("beta", "")
        waiting.cancel()
        samples = info("", "")
        self.assertEqual(value(samples, "shira_requests_total", adapter="beta", outcome="cancelled"), 1)

    def test_kept_prefixes_are_no_use_of_kv_memory(self):
        _, client = self.serve("--kv-cache-mb", 10)
        client.inference.Generate(prompt=PROMPT * 30, stop={"max_tokens": 4})
        deadline = time.monotonic() + 30
        while True:
            samples = scrape(self.port)
            if value(samples, "shira_num_requests_running") == 0 and value(samples, "shira_kept_prefix_bytes") > 0:
                break
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        self.assertGreater(value(samples, "shira_kept_prefixes"), 0)
        self.assertEqual(value(samples, "shira_kv_cache_usage_perc"), 0)
        self.assertEqual(value(samples, "shira_kv_cache_bytes"), value(samples, "shira_kept_prefix_bytes"))

    def test_keys_and_values_take_what_the_manual_says(self):
        _, client = self.serve()
        usage = client.inference.Generate(prompt=PROMPT * 30, stop={"max_tokens": 40, "ignore_eos": True}).summary.usage
        config = json.loads((world().model / "config.json").read_text())
        head = -(-config["hidden_size"] // config["num_attention_heads"] // 16) * 16
        page = 32 * 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * head * 4
        # The last token that was generated has not been run.
        pages = (usage.prompt_tokens + usage.completion_tokens - 1) // 32
        deadline = time.monotonic() + 30
        while value(scrape(self.port), "shira_kept_prefix_bytes") == 0:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        self.assertEqual(value(scrape(self.port), "shira_kept_prefix_bytes"), pages * -(-page // 4096) * 4096)

    def test_the_port_has_metrics_and_nothing_else(self):
        self.serve()
        for path in ("/", "/etc/passwd", "/../../../etc/passwd", "/metrics/../x"):
            with self.assertRaises(urllib.error.HTTPError) as raised:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10)
            self.assertEqual(raised.exception.code, 404)

    def test_a_port_that_is_taken_is_an_error(self):
        self.serve()
        result = shira_testutil.run_binary("shira-server", *world().flags(), "--listen", "127.0.0.1:0", "--metrics-listen",
                                           self.port, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("for metrics", result.stderr.splitlines()[-1])


class LogTest(unittest.TestCase):
    def lines(self, server):
        server.terminate()
        server.wait()
        return [json.loads(line) for line in server.log().splitlines()]

    def test_every_call_has_its_line(self):
        with world().server("--log-format", "json", adapters=("alpha",)) as (server, client):
            client.inference.Generate(prompt=PROMPT, adapter=select("alpha"), stop={"max_tokens": 4, "ignore_eos": True},
                                      request_id="my-request")
            error_of(lambda: client.inference.Generate(prompt=PROMPT, adapter=select("no\nbody")))
            client.admin.ListAdapters()
            lines = self.lines(server)
        for line in lines:
            self.assertTrue({"time", "level"} <= set(line) and ("message" in line) != ("event" in line), line)
            self.assertRegex(line["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d$")
        calls = [line for line in lines if line.get("event") == "call" and line["level"] == "info"]
        good, bad, listed = calls
        self.assertEqual(good["request"], "my-request")
        self.assertEqual((good["method"], good["status"]), ("/shira.v1.Inference/Generate", "OK"))
        self.assertEqual((good["adapter"], good["completion_tokens"]), ("alpha@1", 4))
        self.assertRegex(good["peer"], r"^ipv4:127\.0\.0\.1:\d+$")
        for timing in ("duration_ms", "queue_ms", "switch_ms", "prefill_ms", "decode_ms"):
            self.assertGreaterEqual(good[timing], 0)
        self.assertEqual((bad["status"], bad["reason"], bad["adapter"]), ("NOT_FOUND", "ADAPTER_NOT_FOUND", "no\nbody"))
        self.assertEqual(listed["method"], "/shira.v1.AdapterAdmin/ListAdapters")

    def test_the_id_of_a_call_is_in_its_lines_and_goes_back(self):
        with world().server("--log-format", "json", adapters=()) as (server, client):
            load = client.channel.unary_unary("/shira.v1.AdapterAdmin/LoadAdapter")
            _, call = load.with_call(b"\n\1a\x12\5alpha", metadata=[("x-request-id", "load-7")])
            self.assertEqual(dict(call.trailing_metadata())["x-request-id"], "load-7")
            for wrong in ("", "has space", "x" * 200):
                model = client.channel.unary_unary("/shira.v1.Inference/GetModel")
                _, call = model.with_call(b"", metadata=[("x-request-id", wrong)])
                self.assertRegex(dict(call.trailing_metadata())["x-request-id"], "^[0-9a-f]{16}$")
            lines = self.lines(server)
        of_load = [line for line in lines if line.get("request") == "load-7"]
        self.assertEqual([line.get("event", "message") for line in of_load], ["message", "call"])
        self.assertIn("adapter a@1: loaded", of_load[0]["message"])

    def test_prompts_are_logged_when_that_was_asked_for_and_not_before(self):
        for flags in ((), ("--log-prompts",)):
            with world().server("--log-format", "json", *flags, adapters=()) as (server, client):
                reply = client.inference.Generate(prompt="SECRET\nPROMPT", stop={"max_tokens": 9, "ignore_eos": True})
                client.inference.Generate(token_ids={"ids": world().tokenizer("SECOND")["input_ids"]},
                                          stop={"max_tokens": 1})
                lines = self.lines(server)
            texts = {(line["event"], line["text"]) for line in lines if line.get("event") in ("prompt", "answer")}
            if flags:
                self.assertTrue({("prompt", "SECRET\nPROMPT"), ("answer", reply.text)} <= texts)
                self.assertTrue(any("SECOND" in text for _, text in texts))
            else:
                self.assertFalse(texts)
                self.assertNotIn("SECRET", json.dumps(lines))

    def test_text_lines_cannot_be_forged(self):
        with world().server(adapters=()) as (server, client):
            error_of(lambda: client.inference.Generate(prompt=PROMPT, adapter=select('x" status=OK\nFORGED')))
            server.terminate()
            server.wait()
            call, = [line for line in server.log().splitlines() if "Inference/Generate" in line and " call " in line]
            self.assertIn("status=NOT_FOUND", call)
            self.assertRegex(call, r'adapter="x\\+" status=OK\\+nFORGED"$')


class LimitsTest(unittest.TestCase):
    def check(self, call, code, reason, **metadata):
        got_code, info, retry, message = error_of(call)
        self.assertEqual((got_code, info.reason), (code, reason), message)
        self.assertEqual({k: info.metadata.get(k) for k in metadata}, metadata)
        self.assertEqual(retry is not None, code == Code.RESOURCE_EXHAUSTED)
        return message

    def test_prompts_longer_than_the_limit(self):
        with world().server("--max-prompt-tokens", 20, adapters=()) as (_, client):
            def generate(tokens):
                return client.inference.Generate(token_ids={"ids": [5] * tokens}, stop={"max_tokens": 1})

            self.assertEqual(generate(20).summary.usage.prompt_tokens, 20)
            message = self.check(lambda: generate(21), Code.INVALID_ARGUMENT, "PROMPT_TOO_LONG", prompt_tokens="21",
                                 limit="20")
            self.assertIn("21 tokens, more than 20", message)

    def test_one_client_cannot_fill_the_queue(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "access").write_text("inference greedy token-of-greedy-01\ninference modest token-of-modest-01\n"
                                      "read-only eye token-of-an-eye-01\n")
        with world().server("--max-running", 1, "--max-queued-per-client", 2, adapters=()) as (server, client):
            self.fill(client, client, client, same=True)
        from server_process import ServerProcess
        with ServerProcess(*world().flags(), "--max-running", 1, "--max-queued-per-client", 2, "--access-file",
                           folder / "access") as server:
            greedy = server.client(token="token-of-greedy-01")
            self.fill(greedy, server.client(token="token-of-modest-01"), server.client(token="token-of-an-eye-01"),
                      same=False)

    def fill(self, greedy, other, eye, same):
        streams = [greedy.stream(prompt=PROMPT, stop=ENDLESS)]
        next(streams[0])
        streams += [greedy.stream(prompt=PROMPT, stop=ENDLESS) for _ in range(2)]
        deadline = time.monotonic() + 30
        while sum(load.waiting for load in eye.operations.GetServerStatus().adapter_loads) < 2:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        _, info, retry, _ = error_of(lambda: list(greedy.stream(prompt=PROMPT, stop=ENDLESS)))
        self.assertEqual((info.reason, info.metadata["limit"]), ("CLIENT_QUEUE_FULL", "2"))
        self.assertEqual(info.metadata["client"], "ipv4:127.0.0.1" if same else "greedy")
        self.assertGreater(retry.retry_delay.seconds, 0)
        code = code_of(lambda: list(other.stream(prompt=PROMPT, stop=ENDLESS, timeout=0.5)))
        self.assertEqual(code, Code.RESOURCE_EXHAUSTED if same else Code.DEADLINE_EXCEEDED)
        for stream in streams:
            stream.cancel()
        # Its place is free again.
        deadline = time.monotonic() + 30
        while True:
            try:
                greedy.inference.Generate(prompt=PROMPT, stop={"max_tokens": 1})
                return
            except grpc.RpcError:
                self.assertLess(time.monotonic(), deadline)

    def test_priority_above_the_default_is_a_right(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "access").write_text("inference plain token-of-plain-01\ninference,priority first token-of-first-01\n"
                                      "admin root token-of-a-root-01\n")
        from server_process import ServerProcess
        with ServerProcess(*world().flags(), "--access-file", folder / "access") as server:
            def generate(token, priority):
                return lambda: server.client(token=token).inference.Generate(
                    prompt=PROMPT, priority=priority, stop={"max_tokens": 1})

            message = self.check(generate("token-of-plain-01", 1), Code.PERMISSION_DENIED, "PRIORITY_NOT_PERMITTED",
                                 priority="1")
            self.assertIn("roles priority, admin", message)
            for token, priority in (("token-of-plain-01", 0), ("token-of-plain-01", -5), ("token-of-first-01", 100),
                                    ("token-of-a-root-01", 100)):
                self.assertEqual(generate(token, priority)().summary.usage.completion_tokens, 1)
        with world().server(adapters=()) as (_, client):  # nobody has to say who they are
            client.inference.Generate(prompt=PROMPT, priority=100, stop={"max_tokens": 1})

    def test_a_refused_request_reads_and_compiles_nothing(self):
        with world().server("--max-running", 1, "--max-queued-per-client", 1, "--adapter-memory-mb", 1,
                            adapters=()) as (_, client):
            names = [f"copy{i}" for i in range(8)]
            for name in names:
                client.admin.LoadAdapter(name=name, path="alpha")
            running = client.stream(prompt=PROMPT, stop=ENDLESS)
            next(running)
            waiting = client.inference.Generate(prompt=PROMPT, stop=ENDLESS, wait=False)
            deadline = time.monotonic() + 30
            while client.operations.GetServerStatus().generations.queued < 1:
                self.assertLess(time.monotonic(), deadline)
            before = client.operations.GetServerStatus().memory.adapter_bytes
            for i in range(20):
                self.check(lambda: client.inference.Generate(
                    prompt=PROMPT, adapter={"adapters": [{"name": names[i % 8], "weight": 1 + i / 64}]}),
                    Code.RESOURCE_EXHAUSTED, "CLIENT_QUEUE_FULL")
            self.assertEqual(client.operations.GetServerStatus().memory.adapter_bytes, before)
            running.cancel()
            waiting.cancel()

    def test_adapters_that_are_too_many_or_too_large(self):
        def load(client, name):
            return lambda: client.admin.LoadAdapter(name=name, path=name)

        with world().server("--max-adapters", 1, adapters=("alpha",)) as (_, client):
            self.check(load(client, "beta"), Code.RESOURCE_EXHAUSTED, "ADAPTER_MEMORY_EXHAUSTED", name="beta")
        with world().server("--max-adapter-entries", 10, adapters=()) as (_, client):
            message = self.check(load(client, "alpha"), Code.INVALID_ARGUMENT, "INVALID_ADAPTER", name="alpha")
            self.assertIn("at most 10 entries, found", message)
        big = world().adapters / "big"
        shutil.copytree(world().adapters / "alpha", big)
        self.addCleanup(shutil.rmtree, big)
        with (big / "adapter_model.safetensors").open("ab") as file:
            file.truncate(2 << 20)
        with world().server("--max-adapter-mb", 1, adapters=()) as (_, client):
            message = self.check(load(client, "big"), Code.INVALID_ARGUMENT, "INVALID_ADAPTER", name="big")
            self.assertIn(f"at most {1 << 20} bytes, found {2 << 20}", message)


class StatusTest(unittest.TestCase):
    def shira(self, server, *args):
        return shira_testutil.run_binary("shira", *args, "--server", server.target, "--connect-timeout", 2, check=False)

    def test_the_command_line_shows_a_working_server(self):
        with world().server(adapters=("alpha",)) as (server, client):
            stream = client.stream(prompt=PROMPT, adapter=select("alpha"), stop=ENDLESS)
            next(stream)
            status = json.loads(self.shira(server, "status", "--json").stdout)
            self.assertEqual((status["health"], status["state"], status["model"]), ("SERVING", "SERVING", "model"))
            self.assertEqual(status["adapter_loads"], [{"adapter": "alpha", "waiting": 0, "running": 1}])
            self.assertEqual(status["generations"]["running"], 1)
            self.assertEqual(status["resident"]["adapters"][0]["name"], "alpha")
            self.assertGreater(status["memory"]["process_bytes"], status["memory"]["weight_bytes"])
            top = json.loads(self.shira(server, "top", "--interval", 0.3, "--json").stdout)
            self.assertGreater(top["rates"]["generated_tokens_per_s"], 0)
            shown = self.shira(server, "top", "--interval", 0.2, "--count", 3)
            self.assertEqual(shown.stdout.count("tokens generated"), 2)
            self.assertRegex(shown.stdout, r"alpha +1 +0\n")
            for figure in ("Resident:", "Switches:", "Adapters:", "Adapter memory:", "KV memory:"):
                self.assertIn(figure, shown.stdout)
            stream.cancel()

    def test_top_ends_with_ctrl_c(self):
        with world().server(adapters=()) as (server, _):
            process = subprocess.Popen([shira_testutil.binary("shira"), "top", "--server", server.target, "--interval", "60"],
                                       stdout=subprocess.PIPE, text=True)
            self.assertIn("State", process.stdout.readline())
            process.send_signal(2)
            self.assertEqual(process.wait(10), 0)
            process.stdout.close()

    def test_a_draining_server_says_so(self):
        with world().server(adapters=()) as (server, client):
            stream = client.stream(prompt=PROMPT, stop=ENDLESS)
            next(stream)
            server.terminate()
            deadline = time.monotonic() + 20
            while client.operations.GetServerStatus().state != 30:
                self.assertLess(time.monotonic(), deadline)
            status = self.shira(server, "status", "--json")
            self.assertEqual(status.returncode, 3)
            self.assertEqual(json.loads(status.stdout)["state"], "DRAINING")
            stream.cancel()
            self.assertEqual(server.wait(), 0)
        self.assertEqual(self.shira(server, "status").returncode, 3)
