"""Conversations with tools, documents and everything that messages have: what chat templates make of them on the way through gRPC, against
apply_chat_template of transformers."""

import json
import pathlib
import random
import sys
import tempfile
import unittest

import grpc
import shira_testutil

from fixtures import world
from server_process import ServerProcess, error_of

JINJA_TESTS = pathlib.Path(__file__).resolve().parent.parent / "server/jinja"
sys.path.append(str(JINJA_TESTS))
from chat_template_oracle_conversations import TOOLS, conversations  # noqa: E402

# Writes all that a template can see.
EVERYTHING = ("{{ messages|tojson }}\n{{ tools|tojson }}\n{{ documents|tojson }}\n{{ add_generation_prompt }}\n"
              "{{ [enable_thinking, date_string, custom_flag]|string }}")

# Models in circulation, of those that scripts/setup.sh gets.
FAMILIES = ("Qwen2.5-7B", "Qwen3-0.6B", "Qwen3-Coder", "QwQ", "Llama-3.1-8B-Instruct", "Llama-3.2", "Mistral-Nemo", "Mistral-Small",
            "Ministral", "granite", "SmolLM3", "Hermes-2-Pro", "Hermes-3", "gemma-2", "gemma-4", "command-r7b", "gpt-oss", "GLM-4",
            "DeepSeek-V3", "Phi")

WEATHER = {"id": "abcdefghi", "type": "function", "function": {"name": "get_weather", "arguments": {"unit": None, "city": "S\u00e3o Paulo"}}}
SUM = {"id": "jklmnopqr", "type": "function", "function": {"name": "rechne", "arguments": {"b": [1.5, 2, -0.0, 1e21], "a": 10}}}
SYSTEM = {"role": "system", "content": "Be brief."}
QUESTION = {"role": "user", "content": "What's the weather <here>?"}
DOCUMENTS = [{"title": "One", "text": "A text."}, {"title": "Two", "text": "Gr\u00fc\u00dfe."}]


def answer(call):
    return {"role": "tool", "content": '{"degrees": 21}', "tool_call_id": call["id"], "name": call["function"]["name"]}


# (messages, tools, documents, other arguments)
CASES = [
    ([SYSTEM, QUESTION], None, None, {}),
    ([QUESTION], TOOLS, None, {}),
    ([SYSTEM, QUESTION], TOOLS[:1], None, {"enable_thinking": False}),
    ([SYSTEM, QUESTION, {"role": "assistant", "content": "", "tool_calls": [WEATHER]}, answer(WEATHER)], TOOLS[:1], None, {}),
    ([QUESTION, {"role": "assistant", "tool_calls": [WEATHER]}, answer(WEATHER), {"role": "assistant", "content": "21"},
      {"role": "user", "content": "Thanks"}], TOOLS[:1], None, {}),
    ([QUESTION, {"role": "assistant", "content": None, "tool_calls": [WEATHER, SUM]}, answer(WEATHER), answer(SUM)], TOOLS, None, {}),
    ([QUESTION, {"role": "assistant", "content": "Fine.", "reasoning_content": "Let me see."}, {"role": "user", "content": "Thanks"}],
     None, None, {"enable_thinking": True}),
    ([QUESTION], None, DOCUMENTS, {}),
    ([SYSTEM, QUESTION], TOOLS, DOCUMENTS, {"thinking": True, "controls": {"length": "short"}, "citation_mode": "accurate"}),
    ([{"role": "user", "content": [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]}], None, None, {}),
    ([{"role": "developer", "content": "Be kind."}, QUESTION], TOOLS[1:], None, {"reasoning_effort": "low", "date_string": "26 Jul 2024"}),
]


def to_call(call):
    function = call["function"]
    return {"id": call.get("id", ""), "name": function["name"], "arguments_json": json.dumps(function["arguments"], ensure_ascii=False)}


def to_message(message):
    """A ChatMessage of a dict."""
    rest = {name: value for name, value in message.items() if value is not None}
    fields = {name: rest.pop(name) for name in ("role", "reasoning_content", "tool_call_id", "name") if isinstance(rest.get(name), str)}
    content = rest.get("content")
    if isinstance(content, str):
        fields["content"] = rest.pop("content")
    elif isinstance(content, list):
        fields["content_parts"] = {"parts": [{"text": part["text"]} for part in rest.pop("content")]}
    if rest.get("tool_calls"):
        fields["tool_calls"] = [to_call(call) for call in rest.pop("tool_calls")]
    return fields | ({"more_fields_json": json.dumps(rest)} if rest else {})


def to_chat(messages, tools=None, documents=None, variables=None):
    """The ChatInput of what apply_chat_template takes."""
    return {"messages": [to_message(message) for message in messages], "tools_json": [json.dumps(tool) for tool in tools or []],
            "documents_json": [json.dumps(document) for document in documents or []],
            "template_variables_json": json.dumps(variables) if variables else ""}


def in_order(message):
    """With its fields, and those of its calls, in the order in which templates see them."""
    names = ("role", "content", "reasoning_content", "tool_calls", "tool_call_id", "name")
    ordered = {name: message[name] for name in names if name in message}
    if "tool_calls" in ordered:
        ordered["tool_calls"] = [{name: call[name] for name in ("id", "type", "function") if name in call} for call in ordered["tool_calls"]]
    return ordered


class ConversationsTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.tokenizer = world().tokenizer

    def server_with(self, template):
        path = self.folder / "template.jinja"
        path.write_bytes(template.encode())
        return ServerProcess("--model", world().model, "--chat-template", path, "--threads", 1)

    def rendered(self, template, messages, tools=None, documents=None, variables=None):
        """What transformers renders; the exception where it raises one."""
        try:
            return self.tokenizer.apply_chat_template(messages, tools=tools, documents=documents, chat_template=template, tokenize=False,
                                                      add_generation_prompt=True, **(variables or {}))
        except Exception as error:
            return error

    def everything(self, seed, count):
        """Random conversations, as they are passed on."""
        for messages, options in conversations(random.Random(seed), count):
            extra = options["extra"]
            tools, documents = extra.pop("tools", None) or None, extra.pop("documents", None) or None
            yield [in_order(message) for message in messages] or [QUESTION], tools, documents, extra

    def test_a_template_sees_what_it_would_see_from_transformers(self):
        client = self.enterContext(self.server_with(EVERYTHING)).client()
        for arguments in [*self.everything("through gRPC", 300), *((list(map(in_order, case[0])), *case[1:]) for case in CASES)]:
            self.assertEqual(client.inference.Tokenize(chat=to_chat(*arguments)).text, self.rendered(EVERYTHING, *arguments))

    def test_the_command_line_sends_the_same(self):
        server = self.enterContext(self.server_with(EVERYTHING))
        for messages, tools, documents, variables in self.everything("from files", 40):
            arguments = ["--template-variables", json.dumps(variables)]
            for name, value in (("messages", messages), ("tools", tools), ("documents", documents)):
                if value:
                    (self.folder / name).write_text(json.dumps(value))
                    arguments += [f"--{name}", self.folder / name]
            out = shira_testutil.run_binary("shira", "tokenize", "--json", "--server", server.target, *arguments).stdout
            self.assertEqual(json.loads(out)["text"], self.rendered(EVERYTHING, messages, tools, documents, variables))

    def compare(self, template, least):
        """All cases with one template; `least` of them have to be rendered."""
        with self.server_with(template) as server:
            rendered = sum(self.compare_case(server.client(), template, case) for case in CASES)
        self.assertGreaterEqual(rendered, least)

    def compare_case(self, client, template, case):
        """Whether it is rendered, and not refused by both."""
        chat, expected = to_chat(*case), self.rendered(template, *case)
        if isinstance(expected, Exception):
            code, info, _, _ = error_of(lambda: client.inference.Tokenize(chat=chat))
            # Hermes' macro calls itself for ever where a type is a list.
            refused = ((grpc.StatusCode.RESOURCE_EXHAUSTED, "CHAT_TEMPLATE_TOO_EXPENSIVE") if isinstance(expected, RecursionError) else
                       (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PROMPT"))
            self.assertEqual((code, info.reason), refused, (case, expected))
            return False
        reply = client.inference.Tokenize(chat=chat)
        self.assertEqual(reply.text, expected, case)
        summary = client.inference.Generate(chat=chat, stop={"max_tokens": 1}).summary
        self.assertEqual(summary.prompt_token_ids, reply.ids)
        self.assertEqual(list(reply.ids), self.tokenizer(expected, add_special_tokens=False)["input_ids"])
        return True

    def test_templates_of_our_own_render_as_in_transformers(self):
        folder = JINJA_TESTS.parent.parent / "golden/chat_templates"
        for name in ("chatml_tools_thinking", "header_blocks_tools", "documents_and_tokens"):
            with self.subTest(name):
                self.compare((folder / f"{name}.jinja").read_bytes().decode(), 5)

    def test_templates_in_circulation_render_as_in_transformers(self):
        found = sorted((shira_testutil.deps() / "models/chat_templates").glob("*.jinja"))
        if not found:
            self.skipTest("SHIRA_TEST_MODELS=1 scripts/setup.sh gets them")
        for family in FAMILIES:
            paths = [path for path in found if family in path.name]
            self.assertTrue(paths, family)
            with self.subTest(paths[0].name):
                self.compare(paths[0].read_bytes().decode(), 3)


if __name__ == "__main__":
    unittest.main()
