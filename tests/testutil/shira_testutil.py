"""What the Python tests share: where things are, how to run our programs, and a tiny model with its tokenizer."""

import hashlib
import os
import pathlib
import subprocess

import torch


def deps() -> pathlib.Path:
    """What scripts/setup.sh made."""
    return pathlib.Path(os.environ["SHIRA_DEPS"])


def demo_model() -> pathlib.Path:
    return deps() / "models" / "smollm2-135m-instruct-q4_1.gguf"


def binary(name: str) -> str:
    return str(pathlib.Path(os.environ["SHIRA_BIN"]) / name)


def run_binary(name: str, *args, check: bool = True) -> subprocess.CompletedProcess:
    """Runs one of our programs to its end; output as text. With check, a failure raises with what it said."""
    result = subprocess.run([binary(name), *map(str, args)], capture_output=True, text=True)
    if check and result.returncode != 0:
        raise AssertionError(f"{name} ended with {result.returncode}: {result.stderr}")
    return result


def tensor_bytes(tensor: torch.Tensor) -> bytes:
    """Row-major bytes in the tensor's own dtype."""
    return tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def tensor_sha256(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor_bytes(tensor)).hexdigest()


def parameter_hashes(model: torch.nn.Module) -> dict[str, str]:
    """SHA-256 per parameter; a tied weight appears once, under the name of its first owner."""
    return {name: tensor_sha256(parameter) for name, parameter in model.named_parameters()}


CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

_CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the dog does not mind.",
    "A server keeps one model in memory and switches its adapters in place.",
    "Ask a question and read the answer: 12 pirates, 345 ships and 6789 coins.",
    "Gr\u00fc\u00dfe aus K\u00f6ln, \u4f60\u597d, \U0001f600",
]


def tiny_tokenizer():
    """Byte-level BPE with single digits, like SmolLM2's: <|endoftext|> is 0, <|im_start|> 1 and <|im_end|>, the end of text, 2."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS * 4, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        unk_token="<|endoftext|>",
        pad_token="<|im_end|>",
        chat_template=CHATML,
    )


def make_tiny_model(folder, model_type, seed=0, dtype=torch.float32, max_shard_size="1GB", **overrides):
    """Saves a tiny random model of a family with its tokenizer as a Hugging Face folder and returns it.

    Overrides go to the family's configuration. Norms and biases are random too, so that nothing cancels.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = tiny_tokenizer()
    config = AutoConfig.for_model(model_type, **{
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 256,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
        **overrides,
    })
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator) * 0.1
            # Norms are about 1, or 0 where the model adds 1, and multiples of 2^-10: one more is a float32 too.
            middle = 0 if model_type.startswith("gemma") else 1
            parameter.copy_(((noise + middle) * 1024).round() / 1024 + 0.0 if "norm" in name else noise)
    model = model.to(dtype)
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    tokenizer.save_pretrained(folder)
    return model


def make_tiny_llama(folder, tie=True, bias=False, **overrides):
    """A tiny Llama, see make_tiny_model; bias gives biases to attention and MLP."""
    return make_tiny_model(folder, "llama", tie_word_embeddings=tie, attention_bias=bias, mlp_bias=bias, **overrides)
