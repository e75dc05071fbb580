"""Real models of several families, as GGUF files in k-quants, against transformers in float32: what a prompt becomes, greedy tokens of
the base and under a SHiRA adapter, and every parameter by SHA-256. A model that scripts/setup.sh could not get is skipped."""

import concurrent.futures
import dataclasses
import pathlib
import tempfile
import unittest

import gguf
import torch
import transformers
from peft import ShiraConfig, get_peft_model
from transformers.utils.chat_template_utils import render_jinja_template

from fixtures import TARGETS, select
from server_process import ServerProcess
from shira_testutil import deps, parameter_hashes

transformers.utils.logging.disable_progress_bar()

TOKENS = 64
# A token may differ from transformers' where its best logit is no further above that of ours: float32 adds up in another order.
TIE = 1e-3

PROMPTS = [
    "The capital of France is Paris, and the capital of", "Water boils at a hundred degrees when the pressure is",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return", "In 1969 two astronauts landed on the moon and then",
    "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(", "Dear Sir or Madam, I am writing to ask",
    "SELECT name, age FROM users WHERE age > 30 ORDER BY", "A prime number is a number greater than one that",
    "#include <iostream>\n\nint main() {\n  for (int i = 0; i < 10; ++i) {\n", "The three states of matter are solid, liquid and",
    "for file in *.txt; do\n  echo \"$file\" | sed 's/", "Shakespeare wrote many plays, among them Hamlet, Macbeth and the",
    "import numpy as np\n\ndef softmax(x):\n    \"\"\"Numerically stable.\"\"\"\n    x = ", "It was raining so hard that the streets of the",
    "{\"name\": \"Ada\", \"born\": 1815, \"languages\": [", "The human heart has four chambers, two atria and two",
    "function debounce(callback, delay) {\n  let timer = null;\n  return", "Gr\u00fc\u00dfe aus K\u00f6ln! Die Stadt liegt am",
    "fn main() {\n    let numbers = vec![1, 2, 3];\n    let sum: i32 =", "\u4eca\u5929\u7684\u5929\u6c14\u5f88\u597d\uff0c\u6211\u4eec",
]


@dataclasses.dataclass(frozen=True)
class RealModel:
    file: str
    architecture: str
    question: str = ""  # for a model that converses
    answer: str = ""    # what its greedy answer holds


MODELS = [
    RealModel("gemma-3-270m-q4_k_m.gguf", "gemma3"),
    RealModel("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", "qwen2", "Write a Python function that adds two numbers.", "def "),
]


class Reference:
    """transformers' float32 model of a GGUF file."""

    def __init__(self, path):
        self.model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()

    def adapt(self, folder):
        """Saves a random adapter in `folder` and becomes the model with it merged."""
        torch.manual_seed(5)
        adapted = get_peft_model(self.model, ShiraConfig(r=2, target_modules=TARGETS, random_seed=1, init_weights=False))
        with torch.no_grad():
            for name, parameter in adapted.named_parameters():
                if "shira" in name:
                    parameter.mul_(0.03)  # about as much as training changes
        adapted.save_pretrained(folder)
        self.model = adapted.merge_and_unload()

    @torch.inference_mode()
    def shortfalls(self, prompts, answers):
        """[answers, TOKENS]: how far the logit of each answer's token is below the best one."""
        texts = [prompt + answer for prompt, answer in zip(prompts, answers)]
        longest = max(map(len, texts))
        # What is behind a text changes nothing before it.
        hidden = self.model.model(torch.tensor([text + [0] * (longest - len(text)) for text in texts]), use_cache=False)[0]
        rows = []
        for prompt, answer, states in zip(prompts, answers, hidden):
            logits = self.model.lm_head(states[len(prompt) - 1 : len(prompt) - 1 + len(answer)])
            rows.append(logits.max(-1).values - logits.gather(-1, torch.tensor(answer).unsqueeze(-1)).squeeze(-1))
        return torch.stack(rows)


def answers_of(client, prompts, name):
    """Greedy tokens of all prompts, which run at the same time."""
    def generate(prompt):
        adapter = select(name) if name else select()
        stop = {"max_tokens": TOKENS, "ignore_eos": True}
        return list(client.inference.Generate(token_ids={"ids": prompt}, adapter=adapter, stop=stop, timeout=600).token_ids)

    with concurrent.futures.ThreadPoolExecutor(len(prompts)) as pool:
        return list(pool.map(generate, prompts))


class RealModelTest(unittest.TestCase):
    def for_each_model(self, check):
        for model in MODELS:
            with self.subTest(model.file):
                path = deps() / "models" / model.file
                if not path.is_file():
                    self.skipTest(f"{path} is missing: SHIRA_TEST_MODELS=1 scripts/setup.sh gets it")
                check(model, path)

    def check_answers(self, title, reference, prompts, answers):
        shortfalls = reference.shortfalls(prompts, answers)
        print(f"{title}: {int((shortfalls == 0).sum())} of {shortfalls.numel()} tokens are transformers', "
              f"the others' logits are below by at most {shortfalls.max().item():.2g}")
        self.assertEqual(shortfalls.shape, (len(prompts), TOKENS))
        self.assertLess(shortfalls.max().item(), TIE, title)

    def check_weights(self, client, reference, name):
        report = client.admin.VerifyWeights(timeout=600)
        self.assertEqual((report.matches_expected, report.matches_base), (True, name is None))
        self.assertEqual({p.name: p.sha256 for p in report.parameters}, parameter_hashes(reference.model))

    def test_tokens_and_weights_equal_transformers_and_peft(self):
        def check(model, path):
            reference = Reference(path)
            adapters = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
            with ServerProcess("--model", path, "--dtype", "float32", "--adapter-root", adapters) as server:
                client = server.client()
                self.assertEqual(client.inference.GetModel().architecture, model.architecture)
                prompts = [list(client.inference.Tokenize(text=text).ids) for text in PROMPTS]
                base = answers_of(client, prompts, None)
                self.check_answers(f"{model.file}, base", reference, prompts, base)
                self.check_weights(client, reference, None)

                reference.adapt(adapters / "random")
                client.admin.LoadAdapter(name="random", path="random", timeout=600)
                adapted = answers_of(client, prompts, "random")
                self.check_answers(f"{model.file}, adapted", reference, prompts, adapted)
                self.assertGreater(sum(a != b for a, b in zip(base, adapted)), len(PROMPTS) // 2)
                client.admin.ApplyAdapter(**select("random"))
                self.check_weights(client, reference, "random")
                client.admin.ApplyAdapter(**select())
                self.assertTrue(client.admin.VerifyWeights(timeout=600).matches_base)
                self.assertEqual(answers_of(client, prompts[:4], None), base[:4])

        self.for_each_model(check)

    def test_prompts_equal_transformers_and_conversations_work(self):
        def check(model, path):
            tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
            template = gguf.GGUFReader(path).fields.get("tokenizer.chat_template")
            self.assertEqual(template is None, model.question == "")
            with ServerProcess("--model", path) as server:
                client = server.client()
                for text in PROMPTS:
                    self.assertEqual(list(client.inference.Tokenize(text=text).ids), tokenizer(text)["input_ids"], text)
                if template is None:
                    return
                messages = [{"role": "user", "content": model.question}]
                (expected,), _ = render_jinja_template([messages], chat_template=template.contents(), add_generation_prompt=True)
                prompt = client.inference.Tokenize(chat={"messages": messages})
                self.assertEqual((prompt.text, list(prompt.ids)), (expected, tokenizer(expected, add_special_tokens=False)["input_ids"]))
                answer = client.inference.Generate(chat={"messages": messages}, stop={"max_tokens": TOKENS})
                self.assertIn(model.answer, answer.text)

        self.for_each_model(check)


if __name__ == "__main__":
    unittest.main()
