"""The demo model, or another one, as transformers sees it: loading from GGUF or a folder, its chat prompt, greedy answers."""

import json
import pathlib
import warnings

import torch
import transformers
from tokenizers import pre_tokenizers

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
DEFAULT_MODEL = REPOSITORY / ".deps/models/smollm2-135m-instruct-q4_1.gguf"
ADAPTERS = REPOSITORY / "examples/adapters"
BASE_MODEL_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"


def use_repeatable_arithmetic(threads):
    """The same machine then gives the same bits; another number of threads sums in another order."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    warnings.filterwarnings("ignore", message="Sparse invariant checks")
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


def load_model(path, dtype=torch.float32):
    """A Hugging Face folder; or a GGUF's weights, dequantised, with rows in Hugging Face order (the loader undoes GGUF's permutation)."""
    path = pathlib.Path(path)
    if path.is_dir():
        return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=dtype).eval()
    return transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=dtype).eval()


def load_tokenizer(path):
    """The folder's tokenizer, or the GGUF's vocabulary. `tokenizer.ggml.pre = smollm` splits digits one by one; the conversion drops
    that, so put it back."""
    path = pathlib.Path(path)
    if path.is_dir():
        return transformers.AutoTokenizer.from_pretrained(path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    if path.resolve() == DEFAULT_MODEL.resolve():
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ])
    return tokenizer


def base_name(path):
    """What adapters for this model call their base: ORG/NAME where that is known, else the path, which says nothing about the model."""
    path = pathlib.Path(path).absolute()
    if path.resolve() == DEFAULT_MODEL.resolve():
        return BASE_MODEL_NAME
    for part in path.parts:  # the hub's cache: models--ORG--NAME/snapshots/REVISION
        if part.startswith("models--"):
            return part.removeprefix("models--").replace("--", "/")
    config = path / "config.json"
    name = json.loads(config.read_text(encoding="utf-8")).get("_name_or_path", "") if config.is_file() else ""
    return name if name.count("/") == 1 and not name.startswith((".", "/")) else str(path)


def prompt_ids(tokenizer, question):
    """Token ids of a one-message chat, rendered with the model's own template up to the assistant's turn; of the question and the end
    of its line, where the model has none."""
    if not tokenizer.chat_template:
        return tokenizer(question + "\n").input_ids
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False)
    return tokenizer(text, add_special_tokens=False).input_ids


@torch.inference_mode()
def greedy_answer(model, tokenizer, question, max_tokens=48):
    """Returns (text, whether the model ended it before max_tokens)."""
    ids = torch.tensor([prompt_ids(tokenizer, question)])
    reply = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_tokens, do_sample=False)
    new_ids = reply[0, ids.shape[1]:].tolist()
    ended = new_ids[-1] == tokenizer.eos_token_id
    return tokenizer.decode(new_ids, skip_special_tokens=True), ended
