"""OpenAI's API over HTTP, by OpenAI's own client, against gRPC, transformers and PEFT."""

import asyncio
import json
import pathlib
import tempfile
import time
import unittest

import httpx2 as httpx  # comes with openai
import openai

from fixtures import ADAPTERS, PROMPT, select, world
from scraping import free_port, scrape, value
from server_process import collect

COUNT = 24
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a server?"}]
# Of an answer of COUNT tokens.
PLAIN = {"max_tokens": COUNT, "extra_body": {"ignore_eos": True}}
GRPC_PLAIN = {"max_tokens": COUNT, "ignore_eos": True}
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "The weather <now>", "parameters": {
    "type": "object", "properties": {"unit": {"type": "string"}, "city": {"type": "string"}}, "required": ["city"]}}}


def plain(**body):
    """PLAIN, with more that OpenAI's API does not have."""
    return {**PLAIN, "extra_body": PLAIN["extra_body"] | body}


class HttpTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = world()
        cls.server, cls.grpc = cls.enterClassContext(cls.world.server("--max-choices", 4, http="127.0.0.1:0"))
        cls.url = f"http://127.0.0.1:{cls.server.http_port()}"
        cls.openai = openai.OpenAI(base_url=f"{cls.url}/v1", api_key="none", max_retries=0)
        cls.addClassCleanup(cls.openai.close)
        cls.base = cls.grpc.inference.GetModel().name

    def complete(self, prompt=PROMPT, model=None, **options):
        return self.openai.completions.create(model=model or self.base, prompt=prompt, **{"temperature": 0, **PLAIN, **options})

    def chat(self, model=None, messages=MESSAGES, **options):
        return self.openai.chat.completions.create(model=model or self.base, messages=messages, **{"temperature": 0, **PLAIN, **options})

    def tokens(self, *ids):
        return self.world.tokenizer.decode(ids, skip_special_tokens=True)

    def post(self, path, **body):
        return httpx.post(self.url + path, json=body, timeout=60)

    def error(self, call):
        """(status, error object) that a call of OpenAI's client ends with."""
        with self.assertRaises(openai.APIStatusError) as raised:
            call()
        return raised.exception.status_code, raised.exception.body


class CompletionsTest(HttpTest):
    def test_greedy_answers_are_those_of_peft_and_transformers(self):
        for name in (None, *ADAPTERS):
            reply = self.complete(model=name)
            self.assertEqual(reply.choices[0].text, self.tokens(*self.world.greedy(name, COUNT)))
            self.assertEqual(reply.choices[0].finish_reason, "length")
            self.assertEqual(reply.model, name or self.base)
            made_by = [(adapter["name"], adapter["version"]) for adapter in reply.model_extra["shira"]["adapters"]]
            self.assertEqual(made_by, [(name, 1)] if name else [])

    def test_a_model_is_an_adapter_a_version_an_alias_a_mixture_or_the_base(self):
        self.grpc.admin.SetAlias(name="prod", target="beta@1")
        self.addCleanup(lambda: self.grpc.admin.DeleteAlias(name="prod"))
        mixture = self.grpc.inference.Generate(prompt=PROMPT, adapter=select(alpha=0.5, beta=0.25), stop=GRPC_PLAIN).text
        for model, expected in (("beta@1", self.tokens(*self.world.greedy("beta", COUNT))),
                                ("prod", self.tokens(*self.world.greedy("beta", COUNT))),
                                ("alpha:0.5+beta:0.25", mixture),
                                ("base", self.tokens(*self.world.greedy(None, COUNT)))):
            self.assertEqual(self.complete(model=model).choices[0].text, expected, model)

    def test_without_a_model_the_default_answers(self):
        self.grpc.admin.ApplyAdapter(adapters=[{"name": "gamma", "weight": 1}])
        self.addCleanup(self.grpc.admin.RevertAdapter)
        reply = self.post("/v1/completions", prompt=PROMPT, temperature=0, max_tokens=COUNT, ignore_eos=True).json()
        self.assertEqual(reply["choices"][0]["text"], self.tokens(*self.world.greedy("gamma", COUNT)))
        self.assertEqual(self.complete().choices[0].text, self.tokens(*self.world.greedy(None, COUNT)))

    def test_every_option_of_sampling_gives_the_tokens_of_grpc(self):
        cases = [
            ({"temperature": 0.8, "seed": 7}, {}, {"temperature": 0.8, "seed": 7}),
            ({"temperature": 1.2, "seed": 8, "top_p": 0.7}, {"top_k": 20, "min_p": 0.02},
             {"temperature": 1.2, "seed": 8, "top_p": 0.7, "top_k": 20, "min_p": 0.02}),
            ({"presence_penalty": 0.5, "frequency_penalty": 0.25}, {"repetition_penalty": 1.2},
             {"presence_penalty": 0.5, "frequency_penalty": 0.25, "repetition_penalty": 1.2}),
            ({"logit_bias": {"70": 100, "71": -100}}, {}, {"logit_bias": {70: 100, 71: -100}}),
        ]
        for options, extra, sampling in cases:
            reply = self.complete(model="alpha", n=2, **options, **plain(**extra))
            expected = self.grpc.inference.Generate(prompt=PROMPT, adapter=select("alpha"), sampling=sampling, stop=GRPC_PLAIN, n=2)
            self.assertEqual([choice.text for choice in reply.choices], [choice.text for choice in expected.choices], options)

    def test_a_seed_repeats_an_answer_and_is_told(self):
        first = self.complete(temperature=1)
        seed = first.model_extra["shira"]["seeds"][0]
        self.assertEqual(self.complete(temperature=1, seed=seed).choices[0].text, first.choices[0].text)
        # OpenAI's default is to sample.
        replies = {self.post("/v1/completions", prompt=PROMPT, ignore_eos=True).json()["choices"][0]["text"] for _ in range(4)}
        self.assertGreater(len(replies), 1)

    def test_prompts_may_be_texts_or_token_ids_or_lists_of_them(self):
        ids = self.world.tokenizer(PROMPT)["input_ids"]
        one = self.complete().choices[0].text
        other = self.complete(prompt="12 pirates").choices[0].text
        self.assertEqual(self.complete(prompt=ids).choices[0].text, one)
        reply = self.complete(prompt=[PROMPT, "12 pirates"], n=2, temperature=0)
        self.assertEqual([(choice.index, choice.text) for choice in reply.choices], [(0, one), (1, one), (2, other), (3, other)])
        self.assertEqual(reply.usage.completion_tokens, 4 * COUNT)
        reply = self.complete(prompt=[ids, self.world.tokenizer("12 pirates")["input_ids"]])
        self.assertEqual([choice.text for choice in reply.choices], [one, other])

    def test_a_list_of_prompts_is_streamed_side_by_side(self):
        whole = self.complete(prompt=[PROMPT, "12 pirates"], n=2)
        texts, reasons = [""] * 4, [None] * 4
        for chunk in self.complete(prompt=[PROMPT, "12 pirates"], n=2, stream=True):
            for choice in chunk.choices:
                texts[choice.index] += choice.text
                reasons[choice.index] = choice.finish_reason or reasons[choice.index]
        self.assertEqual(texts, [choice.text for choice in whole.choices])
        self.assertEqual(reasons, ["length"] * 4)

    def test_echo_repeats_the_prompt(self):
        answer = self.complete().choices[0].text
        ids = self.world.tokenizer(PROMPT)["input_ids"]
        self.assertEqual(self.complete(echo=True).choices[0].text, PROMPT + answer)
        self.assertEqual(self.complete(prompt=ids, echo=True).choices[0].text, PROMPT + answer)
        self.assertEqual("".join(chunk.choices[0].text for chunk in self.complete(echo=True, stream=True)), PROMPT + answer)

    def test_stop_strings_and_tokens_end_the_answer_and_are_told(self):
        whole = self.complete().choices[0].text
        stop = whole[len(whole) // 2:][:3]
        for stops in (stop, ["never occurs", stop]):
            choice = self.complete(stop=stops).choices[0]
            self.assertEqual((choice.text, choice.finish_reason), (whole[:whole.index(stop)], "stop"))
            self.assertEqual(choice.model_extra["stop_reason"], stop)
        kept = self.complete(stop=stop, **plain(include_stop_str_in_output=True)).choices[0]
        self.assertEqual(kept.text, whole[:whole.index(stop)] + stop)
        ids = self.world.greedy(None, COUNT)
        choice = self.complete(**plain(stop_token_ids=[ids[5]])).choices[0]
        self.assertEqual(choice.text, self.tokens(*ids[:ids.index(ids[5])]))
        self.assertEqual(choice.model_extra["stop_reason"], ids[5])

    def test_logprobs_are_those_of_grpc(self):
        reply = self.complete(model="alpha", logprobs=3).choices[0]
        expected = self.grpc.inference.Generate(prompt=PROMPT, adapter=select("alpha"), stop=GRPC_PLAIN, logprobs=3).logprobs
        self.assertEqual(reply.logprobs.token_logprobs, [entry.chosen.logprob for entry in expected])
        for top, entry in zip(reply.logprobs.top_logprobs, expected, strict=True):
            self.assertEqual(sorted(top.values()), sorted({token.logprob for token in entry.top}))
        self.assertEqual(len(reply.logprobs.text_offset), COUNT)
        self.assertEqual(reply.logprobs.text_offset[0], 0)
        streamed = [chunk.choices[0].logprobs for chunk in self.complete(model="alpha", logprobs=3, stream=True)]
        self.assertEqual([p for part in streamed if part for p in part.token_logprobs], reply.logprobs.token_logprobs)
        self.assertEqual([o for part in streamed if part for o in part.text_offset], reply.logprobs.text_offset)

    def test_max_tokens_is_16_as_openais(self):
        reply = self.post("/v1/completions", prompt=PROMPT, ignore_eos=True).json()
        self.assertEqual(reply["usage"]["completion_tokens"], 16)


class ChatTest(HttpTest):
    def rendered(self, messages=MESSAGES, **arguments):
        return self.world.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **arguments)

    def test_a_conversation_is_what_its_template_makes_of_it(self):
        for name in (None, "alpha"):
            reply = self.chat(model=name)
            prompt = self.rendered()
            expected = self.grpc.inference.Generate(chat={"messages": MESSAGES}, adapter=select(*[name] if name else ["base"]),
                                                    stop=GRPC_PLAIN)
            self.assertEqual(reply.choices[0].message.content, expected.text)
            self.assertEqual(reply.choices[0].message.content, self.tokens(*self.world.greedy(name, COUNT, prompt)))
            self.assertEqual(reply.choices[0].message.role, "assistant")
            self.assertEqual((reply.usage.prompt_tokens, reply.usage.completion_tokens),
                             (len(self.world.tokenizer(prompt)["input_ids"]), COUNT))
            self.assertRegex(reply.id, "^chatcmpl-")

    def test_a_stream_is_the_answer_and_ends_with_usage(self):
        whole = self.chat(n=2, temperature=1, seed=3)
        texts, reasons, roles, usage = [""] * 2, [None] * 2, [], None
        for chunk in self.chat(n=2, temperature=1, seed=3, stream=True, stream_options={"include_usage": True}):
            self.assertIsNone(usage, "usage is in the last chunk")
            self.assertEqual(chunk.object, "chat.completion.chunk")
            usage = chunk.usage
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
                reasons[choice.index] = choice.finish_reason or reasons[choice.index]
                roles += [choice.delta.role] if choice.delta.role else []
        self.assertEqual(texts, [choice.message.content for choice in whole.choices])
        self.assertEqual((reasons, roles), (["length"] * 2, ["assistant"] * 2))
        self.assertEqual((usage.prompt_tokens, usage.completion_tokens), (whole.usage.prompt_tokens, 2 * COUNT))

    def test_without_being_asked_a_stream_says_no_usage(self):
        self.assertEqual([chunk.usage for chunk in self.chat(stream=True) if chunk.usage], [])

    def test_streams_of_random_tokens_are_those_of_grpc(self):
        for seed in range(4):
            sampling = {"temperature": 2, "seed": seed}
            streamed = self.chat(**sampling, stream=True, max_tokens=200)
            text = "".join(chunk.choices[0].delta.content or "" for chunk in streamed)
            expected, _, _ = collect(self.grpc.stream(chat={"messages": MESSAGES}, sampling=sampling,
                                                      stop={"max_tokens": 200, "ignore_eos": True}))
            self.assertEqual(text, expected)

    def test_logprobs_are_those_of_grpc(self):
        reply = self.chat(logprobs=True, top_logprobs=2, temperature=1.5, seed=5).choices[0].logprobs.content
        expected = self.grpc.inference.Generate(chat={"messages": MESSAGES}, sampling={"temperature": 1.5, "seed": 5},
                                                stop=GRPC_PLAIN, logprobs=2).logprobs
        for got, entry in zip(reply, expected, strict=True):
            self.assertEqual((bytes(got.bytes), got.logprob), (entry.chosen.token, entry.chosen.logprob))
            self.assertEqual([(bytes(top.bytes), top.logprob) for top in got.top_logprobs],
                             [(token.token, token.logprob) for token in entry.top])
        chosen = self.chat(logprobs=True).choices[0].logprobs.content
        self.assertEqual([token.top_logprobs for token in chosen], [[]] * COUNT)
        self.assertIsNone(self.chat().choices[0].logprobs)

    def test_the_asynchronous_client_has_many_streams_at_a_time(self):
        async def stream(client, seed):
            answer = await client.chat.completions.create(model=list(ADAPTERS)[seed % 3], messages=MESSAGES, temperature=1, seed=seed,
                                                          stream=True, **PLAIN)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in answer])

        async def run():
            async with openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0) as client:
                return await asyncio.gather(*(stream(client, seed) for seed in range(12)))

        for seed, text in enumerate(asyncio.run(run())):
            self.assertEqual(text, self.chat(model=list(ADAPTERS)[seed % 3], temperature=1, seed=seed).choices[0].message.content)

    def test_unanswered_options_are_refused_by_name(self):
        for name, options in (("response_format", {"response_format": {"type": "json_object"}}),
                              ("tool_choice", {"tools": [WEATHER], "tool_choice": "required"}),
                              ("n", {"n": 5}), ("max_tokens", {"max_tokens": 10**6}), ("model", {"model": "alpha:x"}),
                              ("messages[0].content[0]", {"messages": [{"role": "user", "content": [
                                  {"type": "image_url", "image_url": {"url": "data:"}}]}]})):
            status, error = self.error(lambda options=options: self.chat(**options))
            self.assertEqual((status, error["param"], error["code"], error["type"]),
                             (400, name, "INVALID_REQUEST", "invalid_request_error"), error)
        reply = self.post("/v1/chat/completions", messages=MESSAGES, temprature=1)
        self.assertEqual((reply.status_code, reply.json()["error"]["param"]), (400, "temprature"))
        reply = httpx.post(f"{self.url}/v1/chat/completions", content=b"{", timeout=60)
        self.assertEqual((reply.status_code, reply.json()["error"]["code"]), (400, "INVALID_REQUEST"))

    def test_an_adapter_that_is_not_there_is_not_found(self):
        for stream in (False, True):
            status, error = self.error(lambda stream=stream: self.chat(model="nobody", stream=stream))
            self.assertEqual((status, error["code"]), (404, "ADAPTER_NOT_FOUND"))

    def test_a_request_has_the_id_that_its_header_says(self):
        reply = httpx.post(f"{self.url}/v1/completions", json={"prompt": "x"}, headers={"X-Request-Id": "r-17"}, timeout=60)
        self.assertEqual((reply.headers["X-Request-Id"], reply.json()["id"]), ("r-17", "cmpl-r-17"))
        deadline = time.monotonic() + 60
        while "request=r-17" not in self.server.log():  # whose lines are written by a thread of its own
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)


class ConversationTest(unittest.TestCase):
    """What a template sees."""

    EVERYTHING = "{{ messages|tojson }}\n{{ tools|tojson }}\n{{ documents|tojson }}\n{{ [enable_thinking, reasoning_effort]|string }}"

    def test_a_template_sees_what_it_would_see_from_transformers(self):
        template = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "template.jinja"
        template.write_text(self.EVERYTHING)
        call = {"id": "call_1", "type": "function",
                "function": {"name": "get_weather", "arguments": {"unit": "C", "city": "S\u00e3o Paulo"}}}
        sent = call | {"function": call["function"] | {"arguments": json.dumps(call["function"]["arguments"])}}
        messages = [{"role": "system", "content": [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]},
                    {"role": "user", "content": "What's the weather <here>?", "name": "me"},
                    {"role": "assistant", "content": "", "tool_calls": [call]},
                    {"role": "tool", "content": "21", "tool_call_id": "call_1"},
                    {"role": "assistant", "content": "Fine.", "reasoning_content": "Let me see."}]
        with world().server("--chat-template", template, http="127.0.0.1:0") as (server, _):
            body = {"messages": [m if "tool_calls" not in m else m | {"tool_calls": [sent]} for m in messages], "tools": [WEATHER],
                    "documents": [{"title": "One", "text": "A text."}], "reasoning_effort": "low",
                    "chat_template_kwargs": {"enable_thinking": False}}
            reply = httpx.post(f"http://127.0.0.1:{server.http_port()}/tokenize", json=body, timeout=60).json()
        tokenizer = world().tokenizer
        expected = tokenizer.apply_chat_template(messages, tools=body["tools"], documents=body["documents"], chat_template=self.EVERYTHING,
                                                 tokenize=False, add_generation_prompt=True, enable_thinking=False, reasoning_effort="low")
        self.assertEqual(reply["tokens"], tokenizer(expected, add_special_tokens=False)["input_ids"])


class OtherRoutesTest(HttpTest):
    def test_health_version_and_models(self):
        self.assertEqual(httpx.get(f"{self.url}/health").status_code, 200)
        self.assertRegex(httpx.get(f"{self.url}/version").json()["version"], r"^\d+\.\d+\.\d+$")
        self.grpc.admin.SetAlias(name="org/prod", target="beta@1")
        self.addCleanup(lambda: self.grpc.admin.DeleteAlias(name="org/prod"))
        models = {model.id: model for model in self.openai.models.list()}
        self.assertEqual(set(models), {self.base, *ADAPTERS, "org/prod"})
        self.assertEqual((models["alpha"].model_extra["parent"], models["alpha"].model_extra["root"]),
                         (self.base, str(self.world.adapters / "alpha")))
        self.assertEqual(models["org/prod"].model_extra["root"], "beta@1")
        self.assertIsNone(models[self.base].model_extra["parent"])
        for name in ("alpha", "org/prod"):
            self.assertEqual(self.openai.models.retrieve(name), models[name])
        status, error = self.error(lambda: self.openai.models.retrieve("nobody"))
        self.assertEqual((status, error["code"]), (404, "ADAPTER_NOT_FOUND"))

    def test_adapters_are_loaded_replaced_and_unloaded_as_with_vllm(self):
        load = self.post("/v1/load_lora_adapter", lora_name="new", lora_path="alpha")
        self.assertEqual((load.status_code, load.text), (200, "Success: LoRA adapter 'new' added successfully."))
        self.assertEqual(self.complete(model="new").choices[0].text, self.tokens(*self.world.greedy("alpha", COUNT)))
        self.assertEqual(self.post("/v1/load_lora_adapter", lora_name="new", lora_path="alpha").status_code, 200)
        other = self.post("/v1/load_lora_adapter", lora_name="new", lora_path="beta")
        self.assertEqual((other.status_code, other.json()["error"]["code"]), (409, "ADAPTER_ALREADY_EXISTS"))
        self.assertEqual(self.post("/v1/load_lora_adapter", lora_name="new", lora_path="beta", load_inplace=True).status_code, 200)
        self.assertEqual(self.complete(model="new").choices[0].text, self.tokens(*self.world.greedy("beta", COUNT)))
        unload = self.post("/v1/unload_lora_adapter", lora_name="new")
        self.assertEqual((unload.status_code, unload.text), (200, "Success: LoRA adapter 'new' removed successfully."))
        again = self.post("/v1/unload_lora_adapter", lora_name="new")
        self.assertEqual((again.status_code, again.json()["error"]["code"]), (404, "ADAPTER_NOT_FOUND"))
        outside = self.post("/v1/load_lora_adapter", lora_name="new", lora_path="/etc")
        self.assertEqual((outside.status_code, outside.json()["error"]["code"]), (403, "ADAPTER_PATH_OUTSIDE_ROOTS"))
        missing = self.post("/v1/load_lora_adapter", lora_name="new")
        self.assertEqual((missing.status_code, missing.json()["error"]["param"]), (400, "lora_path"))

    def test_tokenize_and_detokenize_are_those_of_the_tokenizer(self):
        for text in (PROMPT, "Gr\u00fc\u00dfe \U0001f600 <|im_end|>", "x" * 40_000):
            reply = self.post("/tokenize", prompt=text).json()
            ids = self.world.tokenizer(text)["input_ids"]
            self.assertEqual((reply["tokens"], reply["count"]), (ids, len(ids)))
            self.assertEqual(self.post("/detokenize", tokens=ids).json(), {"prompt": self.world.tokenizer.decode(ids)})
        chat = self.post("/tokenize", messages=MESSAGES, return_token_strs=True).json()
        rendered = self.world.tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
        self.assertEqual(chat["tokens"], self.world.tokenizer(rendered, add_special_tokens=False)["input_ids"])
        self.assertEqual(chat["token_strs"][0], "<|im_start|>")
        self.assertEqual(self.post("/tokenize").status_code, 400)
        self.assertEqual(self.post("/detokenize", tokens=[10**6]).status_code, 400)
        self.assertEqual(self.post("/detokenize", tokens=["x"]).json()["error"]["param"], "tokens")

    def test_paths_and_verbs_that_are_not_served(self):
        self.assertEqual(self.post("/v1/embeddings", input="x").json()["error"]["code"], "UNKNOWN_PATH")
        self.assertEqual(httpx.get(f"{self.url}/").status_code, 404)
        reply = httpx.get(f"{self.url}/v1/completions")
        self.assertEqual((reply.status_code, reply.headers["Allow"], reply.json()["error"]["code"]), (405, "POST", "METHOD_NOT_ALLOWED"))

    def test_calls_are_in_the_log_and_in_the_metrics(self):
        port = free_port()
        with self.world.server("--metrics-listen", port, http="127.0.0.1:0") as (server, _):
            url = f"http://127.0.0.1:{server.http_port()}"
            body = {"prompt": [PROMPT, "12 pirates"], "model": "alpha", "max_tokens": 3, "ignore_eos": True}
            httpx.post(f"{url}/v1/completions", json=body, timeout=60)
            httpx.post(f"{url}/v1/completions", json=body | {"model": "nobody"}, timeout=60)
            httpx.get(f"{url}/nothing")
            samples = scrape(port)
            server.terminate()
            self.assertEqual(server.wait(), 0)
            lines = [line for line in server.log().splitlines() if "method=/v1/completions" in line]
        self.assertEqual(len(lines), 2)
        for field in ("peer=ipv4:127.0.0.1:", "status=OK", "adapter=alpha@1", "completion_tokens=6", "finish=FINISH_REASON_LENGTH"):
            self.assertEqual(lines[0].count(field), 1, field)
        for field in ("status=NOT_FOUND", "reason=ADAPTER_NOT_FOUND", "adapter=nobody"):
            self.assertEqual(lines[1].count(field), 1, field)
        for method, code in (("/v1/completions", "ok"), ("/v1/completions", "not_found"), ("other", "not_found")):
            self.assertEqual(value(samples, "shira_calls_total", method=method, code=code), 1)
        self.assertEqual(value(samples, "shira_requests_total", adapter="alpha", outcome="length"), 2)
        self.assertGreater(value(samples, "shira_connections_accepted_total"), 1)


if __name__ == "__main__":
    unittest.main()
