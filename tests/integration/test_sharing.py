"""One client must not take what others need: memory for answers, memory for adapters, threads."""

import time
import unittest

import grpc

from fixtures import PROMPT, select, world
from server_process import error_of

Code = grpc.StatusCode
ENDLESS = {"max_tokens": 15000, "ignore_eos": True}


def wait_for(condition, what, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


class UnreadAnswersTest(unittest.TestCase):
    def test_an_answer_that_nobody_reads_ends_and_counts_until_it_is_read(self):
        with world().server("--max-unread-mb", 8, adapters=()) as (_, client):
            status = client.operations.GetServerStatus
            stream = client.stream(prompt=PROMPT, n=8, logprobs=20, stop={"max_tokens": 8000, "ignore_eos": True})
            next(stream)
            wait_for(lambda: status().generations.failed == 1, "the end of what nobody reads")
            code, info, retry, message = error_of(lambda: list(stream))
            self.assertEqual((code, info.reason), (Code.RESOURCE_EXHAUSTED, "ANSWER_NOT_READ"), message)
            self.assertEqual(info.metadata["limit_bytes"], str(1 << 20))
            self.assertGreater(retry.retry_delay.seconds, 0)
            # Whoever reads gets all of an answer of any size.
            self.assertEqual(sum(len(m.chunk.token_ids) for m in client.stream(
                prompt=PROMPT, n=4, stop={"max_tokens": 1000, "ignore_eos": True})), 4000)

    def test_a_large_answer_at_once_is_no_reason_to_refuse_it(self):
        with world().server("--max-unread-mb", 8, adapters=()) as (_, client):
            for _ in range(2):
                response = client.inference.Generate(prompt=PROMPT, n=4, logprobs=20,
                                                     stop={"max_tokens": 300, "ignore_eos": True})
                self.assertEqual(sum(len(choice.token_ids) for choice in response.choices), 1200)


class QueuedWeightsTest(unittest.TestCase):
    def test_requests_that_wait_hold_no_memory_for_their_weights(self):
        with world().server("--max-running", 1, adapters=("alpha",)) as (_, client):
            memory = lambda: client.operations.GetServerStatus().memory.adapter_bytes
            generate = lambda weight, **more: client.inference.Generate(
                prompt=PROMPT, adapter=select(alpha=weight), **more)
            before = memory()
            generate(0.5, stop={"max_tokens": 1})
            one = memory() - before
            running = client.stream(prompt=PROMPT, stop=ENDLESS)
            next(running)
            calls = [generate(1 + i / 1024, stop={"max_tokens": 1}, wait=False) for i in range(1, 61)]
            wait_for(lambda: client.operations.GetServerStatus().generations.queued == 60, "a full queue")
            self.assertLess(memory() - before, 12 * one)
            running.cancel()
            for call in calls:
                self.assertEqual(call.result().summary.usage.completion_tokens, 1)


class LargeTextsTest(unittest.TestCase):
    def test_health_answers_while_texts_are_tokenised(self):
        with world().server(adapters=()) as (_, client):
            text = "once upon a time " * 60_000
            calls = [client.inference.Tokenize(text=text, wait=False) for _ in range(6)]
            client.serving()
            self.assertLess(sum(call.done() for call in calls), 3)
            ids = {tuple(call.result().ids[:5]) for call in calls}
            self.assertEqual(len(ids), 1)

    def test_a_prompt_that_is_too_long_is_told_so_whatever_its_size(self):
        with world().server(adapters=()) as (_, client):
            for count in (20_000, 200_000):
                call = lambda: client.inference.Generate(prompt="once upon a time " * count, stop={"max_tokens": 1})
                code, info, _, message = error_of(call)
                self.assertEqual((code, info.reason), (Code.INVALID_ARGUMENT, "PROMPT_TOO_LONG"), message)
            small = client.inference.Generate(prompt="once upon a time " * 1100, stop={"max_tokens": 2, "ignore_eos": True})
            self.assertEqual(small.summary.usage.completion_tokens, 2)

    def test_a_call_that_is_gone_before_its_text_is_tokenised(self):
        with world().server(adapters=()) as (_, client):
            text = "once upon a time " * 60_000
            calls = [client.inference.Generate(prompt=text, stop={"max_tokens": 1}, wait=False) for _ in range(4)]
            for call in calls:
                call.cancel()
            client.inference.Generate(prompt=PROMPT, stop={"max_tokens": 1})
            wait_for(lambda: not client.operations.GetServerStatus().adapter_loads, "the end of the calls")


if __name__ == "__main__":
    unittest.main()
