"""Every documented error: its code, its reason and what its metadata names."""

import queue
import shutil
import unittest

import grpc

from fixtures import PROMPT, select, world
from server_process import error_of

Code = grpc.StatusCode
ENDLESS = {"max_tokens": 15000, "ignore_eos": True}


class ErrorsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = world()
        _, cls.client = cls.enterClassContext(cls.world.server(adapters=("alpha",)))

    def check(self, call, code, reason, **metadata):
        got_code, info, retry, message = error_of(call)
        self.assertEqual((got_code, info.reason), (code, reason), message)
        self.assertEqual({k: info.metadata.get(k) for k in metadata}, metadata)
        self.assertEqual(retry is not None, code == Code.RESOURCE_EXHAUSTED)
        return message

    def generate(self, **fields):
        return lambda: self.client.inference.Generate(**fields)

    def load(self, name, path, **fields):
        return lambda: self.client.admin.LoadAdapter(name=name, path=str(path), **fields)

    def test_requests_out_of_range_list_every_problem(self):
        message = self.check(
            self.generate(sampling={"temperature": -1}, logprobs=21, stop={"max_tokens": 0, "stop_strings": [""]}),
            Code.INVALID_ARGUMENT, "INVALID_REQUEST")
        for part in ("input", "temperature", "logprobs", "max_tokens", "stop_strings"):
            self.assertIn(part, message)

    def test_streams_carry_the_same_errors(self):
        self.check(lambda: list(self.client.stream(logprobs=3)), Code.INVALID_ARGUMENT, "INVALID_REQUEST",
                   fields="input")
        self.check(lambda: list(self.client.stream(prompt=PROMPT, adapter=select("nobody"))), Code.NOT_FOUND,
                   "ADAPTER_NOT_FOUND", name="nobody")

    def test_prompts_that_are_empty_or_too_long(self):
        self.check(self.generate(prompt=""), Code.INVALID_ARGUMENT, "INVALID_PROMPT")
        self.check(self.generate(token_ids={"ids": [5] * 20000}), Code.INVALID_ARGUMENT, "PROMPT_TOO_LONG")
        self.check(self.generate(token_ids={"ids": [1 << 20]}), Code.INVALID_ARGUMENT, "INVALID_REQUEST",
                   fields="token_ids.ids")
        self.check(lambda: self.client.inference.Detokenize(ids=[-1]), Code.INVALID_ARGUMENT, "INVALID_REQUEST",
                   fields="ids")

    def test_an_unknown_adapter_is_named(self):
        self.check(self.generate(prompt=PROMPT, adapter=select("alpha", "nobody")), Code.NOT_FOUND,
                   "ADAPTER_NOT_FOUND", name="nobody")
        self.check(lambda: self.client.admin.GetAdapter(name="nobody"), Code.NOT_FOUND, "ADAPTER_NOT_FOUND",
                   name="nobody")
        self.check(lambda: self.client.admin.UnloadAdapter(name="nobody"), Code.NOT_FOUND, "ADAPTER_NOT_FOUND",
                   name="nobody")

    def test_selections_that_cannot_be(self):
        self.check(self.generate(prompt=PROMPT, adapter=select("alpha", "alpha")), Code.INVALID_ARGUMENT,
                   "INVALID_REQUEST", fields="adapter.adapters")
        self.check(self.generate(prompt=PROMPT, adapter=select(alpha=float("nan"))), Code.INVALID_ARGUMENT,
                   "INVALID_REQUEST")
        self.check(lambda: self.client.admin.ApplyAdapter(**select("alpha", "base")), Code.INVALID_ARGUMENT,
                   "INVALID_REQUEST", fields="adapters")

    def test_bad_files_are_refused_and_kept_as_failed(self):
        broken = self.world.broken
        self.check(self.load("nan", broken / "nan"), Code.INVALID_ARGUMENT, "INVALID_ADAPTER", name="nan")
        self.check(self.load("cut", broken / "truncated"), Code.INVALID_ARGUMENT, "INVALID_ADAPTER", name="cut")
        self.check(self.load("form", broken / "other_format"), Code.UNIMPLEMENTED, "UNKNOWN_ADAPTER_FORMAT")
        self.check(self.load("void", broken / "empty"), Code.NOT_FOUND, "ADAPTER_PATH_NOT_FOUND")
        self.check(self.load("void", "no/such/folder"), Code.NOT_FOUND, "ADAPTER_PATH_NOT_FOUND",
                   path="no/such/folder")
        failed = self.client.admin.GetAdapter(name="nan").adapter
        self.assertEqual(failed.state, 40)
        self.assertIn("nan", failed.error.lower())
        self.check(self.generate(prompt=PROMPT, adapter=select("nan")), Code.FAILED_PRECONDITION, "ADAPTER_NOT_READY",
                   name="nan")
        self.client.admin.UnloadAdapter(name="nan")

    def test_names_of_adapters_are_checked(self):
        for name in ("", "base", "a b", "-a", "a" * 129):
            self.check(self.load(name, "alpha"), Code.INVALID_ARGUMENT, "INVALID_ADAPTER")

    def test_an_adapter_for_another_base_model(self):
        self.check(self.load("other", self.world.broken / "other_base"), Code.FAILED_PRECONDITION,
                   "ADAPTER_FOR_OTHER_BASE_MODEL", name="other")

    def test_paths_that_lead_out_of_the_roots(self):
        for path in ("/etc", "../model", self.world.model):
            self.check(self.load("out", path), Code.PERMISSION_DENIED, "ADAPTER_PATH_OUTSIDE_ROOTS")

    def test_other_content_under_a_name_that_is_taken(self):
        self.check(self.load("alpha", "beta"), Code.ALREADY_EXISTS, "ADAPTER_ALREADY_EXISTS", name="alpha")

    def test_content_without_the_promised_digest(self):
        self.check(self.load("digest", "beta", expected_sha256="0" * 64), Code.DATA_LOSS, "ADAPTER_DIGEST_MISMATCH")

    def test_pages_that_are_none(self):
        self.check(lambda: self.client.admin.ListAdapters(page_size=-1), Code.INVALID_ARGUMENT, "INVALID_REQUEST",
                   fields="page_size")
        self.check(lambda: self.client.admin.ListAdapters(page_token="!"), Code.INVALID_ARGUMENT, "INVALID_REQUEST",
                   fields="page_token")

    def test_a_template_that_raises_says_so_to_the_client(self):
        # ChatML adds texts, and here is none.
        self.check(self.generate(chat={"messages": [{"role": "user"}]}), Code.INVALID_ARGUMENT, "INVALID_PROMPT")

    def test_conversations_name_the_field_at_fault(self):
        hello = {"role": "user", "content": "Hi"}
        wrong = {
            "chat.messages": {"messages": []},
            "chat.messages[1].content_parts.parts[0]": {"messages": [hello, {"role": "user", "content_parts": {"parts": [{}]}}]},
            "chat.messages[0].tool_calls[0].arguments_json": {"messages": [{"role": "assistant", "tool_calls": [{"arguments_json": "[1]"}]}]},
            "chat.messages[0].more_fields_json": {"messages": [hello | {"more_fields_json": '{"role": "x"}'}]},
            "chat.tools_json[1]": {"messages": [hello], "tools_json": ["{}", "{"]},
            "chat.tools_json": {"messages": [hello], "tools_json": ["{}"] * 1025},
            "chat.documents_json[0]": {"messages": [hello], "documents_json": ["[" * 65]},
            "chat.template_variables_json": {"messages": [hello], "template_variables_json": '{"tools": []}'},
        }
        for field, chat in wrong.items():
            for call in (self.generate(chat=chat), lambda: self.client.inference.Tokenize(chat=chat)):
                message = self.check(call, Code.INVALID_ARGUMENT, "INVALID_REQUEST", fields=field)
                self.assertIn(field, message)


class LimitsTest(unittest.TestCase):
    def test_answers_that_can_never_fit_are_told_from_a_prompt_that_is_too_long(self):
        with world().server("--kv-cache-mb", 1, adapters=()) as (_, client):
            code, info, _, message = error_of(lambda: client.inference.Generate(
                prompt=PROMPT, n=8, stop={"max_tokens": 4096, "ignore_eos": True}))
            self.assertEqual((code, info.reason), (Code.INVALID_ARGUMENT, "ANSWERS_EXCEED_KV_MEMORY"), message)
            self.assertEqual((info.metadata["n"], info.metadata["max_tokens"]), ("8", "4096"))

    def test_a_full_queue_says_when_to_try_again(self):
        with world().server("--max-running", 1, "--max-queued", 1, adapters=()) as (_, client):
            running = client.stream(prompt=PROMPT, stop=ENDLESS)
            next(running)
            # Of two more, one is queued and the other refused, whichever comes first.
            calls = [client.inference.Generate(prompt=PROMPT, stop=ENDLESS, wait=False) for _ in range(2)]
            done = queue.Queue()
            for call in calls:
                call.add_done_callback(done.put)
            code, info, retry, _ = error_of(done.get(timeout=30).result)
            self.assertEqual((code, info.reason), (Code.RESOURCE_EXHAUSTED, "QUEUE_FULL"))
            self.assertGreater(retry.retry_delay.seconds, 0)
            running.cancel()
            for call in calls:
                call.cancel()

    def test_adapters_over_the_memory_budget_move_to_disk_and_come_back(self):
        with world().server("--adapter-memory-mb", 1, adapters=()) as (_, client):
            def generate(name):
                return client.inference.Generate(
                    prompt=PROMPT, adapter={"adapters": [{"name": name}]}, stop={"max_tokens": 8, "ignore_eos": True}).text

            def on_disk():
                return sum(a.residency == a.DESCRIPTOR.fields_by_name["residency"].enum_type.values_by_name[
                    "ADAPTER_RESIDENCY_ON_DISK"].number for a in client.admin.ListAdapters(page_size=1000).adapters)

            first = None
            for seed in range(1000):
                folder = world().adapters / f"copy-{seed}"
                shutil.copytree(world().adapters / "alpha", folder)
                self.addCleanup(shutil.rmtree, folder)
                world().change_values(folder, seed)
                client.admin.LoadAdapter(name=f"copy-{seed}", path=folder.name)
                first = first or generate("copy-0")
                if on_disk() > 2:
                    break
            self.assertGreater(on_disk(), 2)
            self.assertEqual(generate("copy-0"), first)

    def test_a_request_larger_than_the_limit_is_refused(self):
        with world().server("--max-message-mb", 1, adapters=()) as (_, client):
            with self.assertRaises(grpc.RpcError) as raised:
                client.inference.Tokenize(text="x" * (2 << 20))
            self.assertEqual(raised.exception.code(), Code.RESOURCE_EXHAUSTED)
