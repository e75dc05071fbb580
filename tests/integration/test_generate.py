"""Generation through the real server against PEFT and transformers."""

import unittest

import grpc

from fixtures import ADAPTERS, PROMPT, select, world
from server_process import collect

COUNT = 24
PLAIN = {"max_tokens": COUNT, "ignore_eos": True}


class GenerateTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = world()
        cls.server, cls.client = cls.enterClassContext(cls.world.server())

    def generate(self, **fields):
        return self.client.inference.Generate(**{"prompt": PROMPT, "stop": PLAIN} | fields)

    def test_greedy_tokens_equal_transformers_with_the_adapter_merged_by_peft(self):
        for name in (None, *ADAPTERS):
            adapter = select(name) if name else select()
            reply = self.generate(adapter=adapter)
            self.assertEqual(list(reply.token_ids), self.world.greedy(name, COUNT), name)
            self.assertEqual(reply.text, self.world.tokenizer.decode(reply.token_ids, skip_special_tokens=True))
            self.assertEqual([a.name for a in reply.summary.adapter], [name] if name else [])
            self.assertEqual(list(reply.summary.prompt_token_ids), self.world.tokenizer(PROMPT)["input_ids"])
        answers = {tuple(self.world.greedy(name, COUNT)) for name in (None, *ADAPTERS)}
        self.assertEqual(len(answers), 4, "the adapters change nothing, so nothing was compared")

    def test_a_stream_says_what_the_unary_call_says(self):
        unary = self.generate(adapter=select("alpha"))
        text, ids, summary = collect(self.client.stream(prompt=PROMPT, stop=PLAIN, adapter=select("alpha")))
        self.assertEqual((text, ids), (unary.text, list(unary.token_ids)))
        self.assertEqual(summary.usage.prompt_tokens, unary.summary.usage.prompt_tokens)
        self.assertEqual(summary.usage.completion_tokens, COUNT)
        self.assertEqual(summary.finish_reason, 2)  # LENGTH

    def test_concurrent_streams_of_mixed_adapters_equal_their_single_runs(self):
        names = [None, "alpha", "beta", "gamma"] * 4
        streams = [self.client.stream(prompt=PROMPT, stop=PLAIN, adapter=select(n) if n else select()) for n in names]
        for name, stream in zip(names, streams):
            self.assertEqual(collect(stream)[1], self.world.greedy(name, COUNT), name)

    def test_weights_of_a_set_do_not_depend_on_its_order(self):
        one = self.generate(adapter=select(alpha=0.5, beta=-1.5))
        other = self.generate(adapter=select(beta=-1.5, alpha=0.5))
        self.assertEqual(one.token_ids, other.token_ids)
        self.assertEqual(one.summary.adapter, other.summary.adapter)
        self.assertNotEqual(list(one.token_ids), self.world.greedy("alpha", COUNT))

    def test_every_kind_of_input_reaches_the_model(self):
        ids = self.world.tokenizer(PROMPT)["input_ids"]
        by_ids = self.client.inference.Generate(token_ids={"ids": ids}, stop=PLAIN)
        self.assertEqual(by_ids.token_ids, self.generate().token_ids)
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Gr\u00fc\u00dfe?"}]
        chat = self.client.inference.Generate(chat={"messages": messages}, stop=PLAIN)
        expected = self.world.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        self.assertEqual(list(chat.summary.prompt_token_ids), expected)
        messages.append({"role": "assistant", "content": "The answer is "})
        open_turn = self.client.inference.Tokenize(chat={"messages": messages, "omit_generation_prompt": True})
        self.assertEqual(list(open_turn.ids), self.world.tokenizer.apply_chat_template(messages, continue_final_message=True, return_dict=False))

    def test_sampling_is_reproducible_from_the_reported_seed(self):
        sampling = {"temperature": 1.5, "top_p": 0.95}
        first = self.generate(sampling=sampling)
        self.assertTrue(first.summary.HasField("seed"))
        # Programs that read JSON's numbers as doubles (jq, JavaScript) keep it exactly, also that of the last of several answers.
        for _ in range(4):
            several = self.generate(sampling=sampling, n=2, stop={"max_tokens": 1})
            for choice in several.choices:
                self.assertLess(choice.end.seed, 2**53)
        again = self.generate(sampling=sampling | {"seed": first.summary.seed})
        other = self.generate(sampling=sampling | {"seed": first.summary.seed ^ 1})
        self.assertEqual(again.token_ids, first.token_ids)
        self.assertNotEqual(other.token_ids, first.token_ids)
        self.assertFalse(self.generate().summary.HasField("seed"))

    def test_several_answers_are_those_of_the_following_seeds(self):
        sampling = {"temperature": 1.5, "seed": 2**64 - 2}
        reply = self.generate(sampling=sampling, n=4, adapter=select("beta"))
        self.assertEqual([c.end.index for c in reply.choices], [0, 1, 2, 3])
        self.assertEqual(reply.token_ids, reply.choices[0].token_ids)
        self.assertEqual(reply.text, reply.choices[0].text)
        self.assertEqual(reply.summary.usage.completion_tokens, 4 * COUNT)
        for i, choice in enumerate(reply.choices):
            alone = self.generate(sampling=sampling | {"seed": (2**64 - 2 + i) % 2**64}, adapter=select("beta"))
            self.assertEqual(choice.token_ids, alone.token_ids, i)
            self.assertEqual(choice.text, alone.text)
            self.assertEqual(choice.end.seed, alone.summary.seed)
            self.assertFalse(alone.choices)
        self.assertEqual(len({tuple(c.token_ids) for c in reply.choices}), 4)
        ids = [[] for _ in reply.choices]
        ends = {}
        for event in self.client.stream(prompt=PROMPT, stop=PLAIN, sampling=sampling, n=4, adapter=select("beta")):
            if event.HasField("chunk"):
                self.assertNotIn(event.chunk.choice, ends)
                ids[event.chunk.choice] += event.chunk.token_ids
                if event.chunk.finish_reason:
                    ends[event.chunk.choice] = event.chunk.finish_reason
        self.assertEqual(ids, [list(c.token_ids) for c in reply.choices])
        self.assertEqual(ends, dict.fromkeys(range(4), 2))  # LENGTH
        with self.assertRaises(grpc.RpcError) as refused:
            self.generate(n=9)
        self.assertIn("n: is 9, must be within [1, 8]", refused.exception.details())

    def test_a_prompt_is_run_once_for_each_state(self):
        ids = self.world.tokenizer(PROMPT * 20)["input_ids"]
        answers = {}
        for name in ("alpha", "beta", "alpha", "beta"):
            reply = self.client.inference.Generate(token_ids={"ids": ids}, stop=PLAIN, adapter=select(name))
            cached = reply.summary.usage.cached_prompt_tokens
            if name not in answers:
                answers[name] = reply.token_ids
                self.assertEqual(cached, 0, name)
            else:
                self.assertEqual(reply.token_ids, answers[name])
                self.assertGreater(cached, len(ids) // 2)
                self.assertLess(cached, len(ids))
        self.assertNotEqual(answers["alpha"], answers["beta"])

    def test_a_bias_decides_and_penalties_forbid_repetition(self):
        forced = self.generate(sampling={"logit_bias": {65: 100.0}})
        self.assertEqual(set(forced.token_ids), {65})
        varied = self.generate(sampling={"presence_penalty": 2.0, "frequency_penalty": 2.0, "logit_bias": {65: 10.0}})
        self.assertEqual(varied.token_ids[0], 65)
        self.assertGreater(len(set(varied.token_ids)), 3)

    def test_drafts_change_nothing_but_the_counts(self):
        text = "One fish, two fish, red fish, blue fish. " * 6
        for sampling in ({}, {"temperature": 0.3, "seed": 3}, {"presence_penalty": 0.1}):
            fields = {"prompt": text, "sampling": sampling, "stop": {"max_tokens": 60, "ignore_eos": True}, "logprobs": 2, "n": 2}
            without = self.generate(speculate=False, **fields)
            self.assertEqual((without.summary.usage.drafted_tokens, without.summary.usage.accepted_tokens), (0, 0))
            drafted = self.generate(speculate=True, **fields)
            self.assertEqual((drafted.choices, drafted.logprobs), (without.choices, without.logprobs))
            usage = drafted.summary.usage
            self.assertLessEqual(usage.accepted_tokens, usage.drafted_tokens)
            self.assertEqual(usage.completion_tokens, without.summary.usage.completion_tokens)

    def test_random_tokens_are_valid_utf8_in_every_chunk(self):
        for seed in range(5):
            sampling = {"temperature": 2, "seed": seed}
            # protobuf refuses invalid UTF-8 in a string, so reading the chunk is the check.
            text, ids, _ = collect(self.client.stream(prompt=PROMPT, sampling=sampling,
                                                      stop={"max_tokens": 300, "ignore_eos": True}))
            self.assertEqual(text, self.world.tokenizer.decode(ids, skip_special_tokens=True))

    def test_a_stop_string_cuts_the_text_before_it(self):
        whole = self.generate().text
        stop = whole[len(whole) // 2 :][:3]
        cut = whole[: whole.index(stop)]
        reply = self.generate(stop=PLAIN | {"stop_strings": ["never occurs", stop]})
        self.assertEqual((reply.text, reply.summary.stop_string), (cut, stop))
        self.assertEqual(reply.summary.finish_reason, 1)  # STOP
        self.assertLessEqual(len(reply.token_ids), COUNT)
        text, _, _ = collect(self.client.stream(prompt=PROMPT, stop=PLAIN | {"stop_strings": [stop]}))
        self.assertEqual(text, cut)
        kept = self.generate(stop=PLAIN | {"stop_strings": [stop], "include_stop_string": True})
        self.assertEqual(kept.text, cut + stop)

    def test_a_stop_token_ends_the_answer_and_is_not_part_of_it(self):
        ids = self.world.greedy(None, COUNT)
        reply = self.generate(adapter=select(), stop=PLAIN | {"stop_token_ids": [ids[5]]})
        first = ids.index(ids[5])
        self.assertEqual(list(reply.token_ids), ids[:first])
        self.assertEqual(reply.summary.stop_token_id, ids[5])

    def test_logprobs_are_the_models_own(self):
        import torch

        reply = self.generate(adapter=select("alpha"), logprobs=3)
        self.assertEqual(len(reply.logprobs), COUNT)
        prompt = self.world.tokenizer(PROMPT)["input_ids"]
        with torch.no_grad():
            logits = self.world.merged("alpha")(torch.tensor([prompt + list(reply.token_ids)])).logits[0]
        expected = torch.log_softmax(logits, -1)[len(prompt) - 1 : -1]
        for row, got, token in zip(expected, reply.logprobs, reply.token_ids):
            top = torch.topk(row, 3)
            self.assertEqual(got.chosen.token_id, token)
            self.assertAlmostEqual(got.chosen.logprob, float(row[token]), places=3)
            self.assertEqual([t.token_id for t in got.top], top.indices.tolist())
        chosen_only = self.generate(logprobs=0)
        self.assertEqual([len(entry.top) for entry in chosen_only.logprobs], [0] * COUNT)
        self.assertFalse(self.generate().logprobs)

    def test_tokenize_and_detokenize_agree_with_transformers(self):
        for text in (PROMPT, "Gr\u00fc\u00dfe aus K\u00f6ln, \u4f60\u597d \U0001f600 <|im_end|> 123"):
            reply = self.client.inference.Tokenize(text=text)
            self.assertEqual(list(reply.ids), self.world.tokenizer(text)["input_ids"])
            back = self.client.inference.Detokenize(ids=reply.ids)
            self.assertEqual(back.text, self.world.tokenizer.decode(reply.ids))
        special = self.world.tokenizer.convert_tokens_to_ids("<|im_end|>")
        self.assertIn(special, self.client.inference.Tokenize(text="<|im_end|>").ids)
        self.assertNotIn(special, self.client.inference.Tokenize(text="<|im_end|>", plain_text=True).ids)
        self.assertEqual(self.client.inference.Detokenize(ids=[special], skip_special_tokens=True).text, "")

    def test_get_model_describes_the_model(self):
        model = self.client.inference.GetModel()
        base = self.world.base()
        self.assertEqual(model.parameter_count, sum(p.numel() for p in base.parameters()))
        self.assertEqual(model.weight_bytes, 4 * model.parameter_count)
        self.assertEqual((model.dtype, model.architecture), ("float32", "llama"))
        self.assertEqual((model.vocab_size, model.num_layers, model.hidden_size),
                         (base.config.vocab_size, base.config.num_hidden_layers, base.config.hidden_size))
        self.assertEqual(model.context_length, base.config.max_position_embeddings)
        self.assertEqual(list(model.eos_token_ids), [base.config.eos_token_id])
        self.assertTrue(model.has_chat_template)
        self.assertRegex(model.base_sha256, "^[0-9a-f]{64}$")
