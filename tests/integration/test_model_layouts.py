"""Where a model keeps its template, and models in a GGUF file."""

import json
import pathlib
import shutil
import tempfile
import unittest

import grpc
import shira_testutil

from fixtures import CONTEXT, world
from server_process import ServerProcess, error_of

MESSAGES = [{"role": "user", "content": "Hello"}]


class ModelLayoutTest(unittest.TestCase):
    def model_with(self, jinja=None, config=None):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "model"
        shutil.copytree(world().model, folder, ignore=shutil.ignore_patterns("socket", "chat_template.jinja"))
        path = folder / "tokenizer_config.json"
        settings = json.loads(path.read_text())
        settings.pop("chat_template", None)
        path.write_text(json.dumps(settings | ({"chat_template": config} if config else {})))
        if jinja:
            (folder / "chat_template.jinja").write_text(jinja)
        return folder

    def rendered(self, folder):
        with ServerProcess("--model", folder, "--threads", 1) as server:
            return server.client().inference.Tokenize(chat={"messages": MESSAGES}).text

    def test_the_template_file_comes_first(self):
        self.assertEqual(self.rendered(self.model_with(jinja="file", config="config")), "file")

    def test_the_config_may_hold_one_template_or_several(self):
        self.assertEqual(self.rendered(self.model_with(config="{{ messages[0].content }}")), "Hello")
        several = [{"name": "tools", "template": "tools"}, {"name": "default", "template": "the default"}]
        self.assertEqual(self.rendered(self.model_with(config=several)), "the default")

    def test_the_default_of_the_additional_templates_wins(self):
        folder = self.model_with(jinja="file")
        (folder / "additional_chat_templates").mkdir()
        (folder / "additional_chat_templates" / "tool_use.jinja").write_text("tools")
        self.assertEqual(self.rendered(folder), "file")
        (folder / "additional_chat_templates" / "default.jinja").write_text("additional")
        with ServerProcess("--model", folder, "--threads", 1) as server:
            tokenize = server.client().inference.Tokenize
            self.assertEqual(tokenize(chat={"messages": MESSAGES}).text, "additional")
            self.assertEqual(tokenize(chat={"messages": MESSAGES, "tools_json": ["{}"]}).text, "tools")

    def test_a_template_that_cannot_run_keeps_nobody_from_plain_prompts(self):
        with ServerProcess("--model", self.model_with(jinja="{{ messages|groupby('role') }}"), "--threads", 1) as server:
            client = server.client()
            self.assertFalse(client.inference.GetModel().has_chat_template)
            code, info, _, message = error_of(lambda: client.inference.Generate(chat={"messages": MESSAGES}))
            self.assertEqual((code, info.reason), (grpc.StatusCode.FAILED_PRECONDITION, "NO_CHAT_TEMPLATE"))
            self.assertIn("unknown filter 'groupby'", message)
            self.assertIn("unknown filter 'groupby'", server.log())
            self.assertTrue(client.inference.Generate(prompt="Hello", stop={"max_tokens": 1}).token_ids)

    def given(self, text):
        path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "given.jinja"
        path.write_text(text)
        return path

    def test_the_operators_template_replaces_all_of_the_models(self):
        folder = self.model_with(jinja="file")
        (folder / "additional_chat_templates").mkdir()
        (folder / "additional_chat_templates" / "tool_use.jinja").write_text("tools")
        with_tools = {"messages": MESSAGES, "tools_json": ["{}"]}
        for model in (folder, self.model_with(jinja="{% broken"), shira_testutil.demo_model()):
            flags = ("--model", model, "--chat-template", self.given("{{ messages[0].content }}!{{ bos_token }}"), "--threads", 1)
            with ServerProcess(*flags) as server:
                client = server.client()
                self.assertTrue(client.inference.GetModel().has_chat_template)
                for chat in ({"messages": MESSAGES}, with_tools):
                    text = client.inference.Tokenize(chat=chat).text
                    self.assertEqual(text, "Hello!<|im_start|>")

    def test_a_template_of_the_operators_that_cannot_be_used_ends_the_start(self):
        for text, problem in (("{{ messages|groupby('role') }}", "unknown filter 'groupby'"), ("{% if %}", "given.jinja: "),
                              ("{{ 'a", "given.jinja: ")):
            with ServerProcess("--model", self.model_with(jinja="file"), "--chat-template", self.given(text), wait=False) as server:
                self.assertEqual(server.wait(), 1)
                self.assertIn(problem, server.log())
                self.assertNotIn("MiB loaded", server.log())

    def test_the_operator_can_limit_the_context(self):
        with ServerProcess("--model", world().model, "--context-length", 64, "--threads", 1) as server:
            client = server.client()
            self.assertEqual(client.inference.GetModel().context_length, 64)
            self.assertEqual(len(client.inference.Generate(token_ids={"ids": [5] * 60}, stop={"ignore_eos": True}).token_ids), 4)
            code, info, _, _ = error_of(lambda: client.inference.Generate(token_ids={"ids": [5] * 65}))
            self.assertEqual((code, info.reason), (grpc.StatusCode.INVALID_ARGUMENT, "PROMPT_TOO_LONG"))
        with ServerProcess("--model", world().model, "--context-length", CONTEXT + 1, wait=False) as server:
            self.assertEqual(server.wait(), 1)
            self.assertIn(f"the model has {CONTEXT} positions, found {CONTEXT + 1}", server.log())

    def test_ids_beyond_the_tokenizers_vocabulary_have_no_text(self):
        folder = self.model_with()
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        vocabulary = tokenizer["model"]["vocab"]
        last = max(vocabulary, key=vocabulary.get)
        padding = vocabulary.pop(last)
        tokenizer["model"]["merges"] = [merge for merge in tokenizer["model"]["merges"] if "".join(merge) != last]
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        with ServerProcess("--model", folder, "--threads", 1) as server:
            client = server.client()
            reply = client.inference.Generate(prompt="Hello", sampling={"logit_bias": {padding: 100.0}}, stop={"max_tokens": 2, "ignore_eos": True})
            self.assertEqual((list(reply.token_ids), reply.text), ([padding] * 2, ""))
            known = list(client.inference.Tokenize(text="Hello").ids)
            self.assertEqual(client.inference.Detokenize(ids=[padding, *known, padding]).text, "Hello")
            code, info, _, _ = error_of(lambda: client.inference.Detokenize(ids=[padding + 1]))
            self.assertEqual((code, info.reason), (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"))

    def test_a_model_without_a_template_takes_no_conversations(self):
        with ServerProcess("--model", self.model_with(), "--threads", 1) as server:
            client = server.client()
            self.assertFalse(client.inference.GetModel().has_chat_template)
            code, info, _, _ = error_of(lambda: client.inference.Generate(chat={"messages": MESSAGES}))
            self.assertEqual((code, info.reason), (grpc.StatusCode.FAILED_PRECONDITION, "NO_CHAT_TEMPLATE"))
            self.assertTrue(client.inference.Generate(prompt="Hello", stop={"max_tokens": 1}).token_ids)

    def test_a_model_in_the_hubs_cache_is_called_by_its_repository(self):
        hub = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        snapshot = hub / "models--some-org--tiny-llama" / "snapshots" / "0123456789abcdef"
        shutil.copytree(world().model, snapshot, ignore=shutil.ignore_patterns("socket"))
        adapters = hub / "adapters"
        for folder, base in (("ours", "some-org/tiny-llama"), ("other", "some-org/other")):
            shutil.copytree(world().adapters / "alpha", adapters / folder)
            config = adapters / folder / "adapter_config.json"
            config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": base}))
        with ServerProcess("--model", snapshot, "--threads", 1, "--adapter-root", adapters) as server:
            client = server.client()
            self.assertEqual(client.inference.GetModel().name, "some-org/tiny-llama")
            client.admin.LoadAdapter(name="ours", path="ours")
            code, _, _, message = error_of(lambda: client.admin.LoadAdapter(name="other", path="other"))
            self.assertEqual(code, grpc.StatusCode.FAILED_PRECONDITION)
            self.assertIn("some-org/tiny-llama", message)

    def test_a_gguf_file_brings_everything_along(self):
        with ServerProcess("--model", shira_testutil.demo_model()) as server:
            client = server.client()
            model = client.inference.GetModel()
            self.assertEqual((model.dtype, model.num_layers, model.vocab_size), ("bfloat16", 30, 49152))
            self.assertTrue(model.has_chat_template)
            question = [{"role": "user", "content": "What is the capital of France?"}]
            reply = client.inference.Generate(chat={"messages": question}, stop={"max_tokens": 24})
            self.assertIn("Paris", reply.text)
