"""A tiny random Llama, SHiRA adapters that PEFT made for it, and what PEFT and transformers say about both."""

import contextlib
import functools
import hashlib
import json
import pathlib
import shutil
import tempfile

import torch
from peft import PeftModel, ShiraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from shira_testutil import make_tiny_llama, parameter_hashes
from transformers import AutoModelForCausalLM, AutoTokenizer

from server_process import ServerProcess

CONTEXT = 16384
ADAPTERS = {"alpha": 1, "beta": 2, "gamma": 3}  # name: seed
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PROMPT = "A server keeps one model"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


class World:
    def __init__(self):
        self._folder = tempfile.TemporaryDirectory()
        root = pathlib.Path(self._folder.name)
        self.model = root / "model"
        self.adapters = root / "adapters"
        self.broken = self.adapters / "broken"
        make_tiny_llama(self.model, max_position_embeddings=CONTEXT)
        self.tokenizer = AutoTokenizer.from_pretrained(self.model)
        for name, seed in ADAPTERS.items():
            self._make_adapter(name, seed)
        self._break_adapters()

    def _make_adapter(self, name, seed):
        self.make_adapter(self.adapters / name, seed, mask_seed=seed % 2)

    def make_adapter(self, folder, seed, mask_seed, r=2):
        torch.manual_seed(seed)
        model = get_peft_model(self.base(), ShiraConfig(r=r, target_modules=TARGETS, random_seed=mask_seed))
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                if "shira" in parameter_name:
                    parameter.copy_(torch.randn(parameter.shape))
        model.save_pretrained(folder)

    def _break_adapters(self):
        self._copy_with("other_base", config={"base_model_name_or_path": "someone/another-model"})
        self._copy_with("other_format", config={"peft_type": "LORA"})

        def put_nan(tensors):
            next(t for n, t in tensors.items() if n.endswith("shira_weight"))[0] = float("nan")

        self._copy_with("nan", tensors=put_nan)
        (self.broken / "empty").mkdir()
        truncated = self.broken / "truncated"
        shutil.copytree(self.adapters / "alpha", truncated)
        weights = truncated / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])

    def _copy_with(self, name, config=None, tensors=None):
        folder = self.broken / name
        shutil.copytree(self.adapters / "alpha", folder)
        if config:
            path = folder / "adapter_config.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | config))
        if tensors:
            path = folder / "adapter_model.safetensors"
            loaded = load_file(path)
            tensors(loaded)
            save_file(loaded, path)

    @staticmethod
    def change_values(folder, seed):
        """Makes an adapter's content another one."""
        path = folder / "adapter_model.safetensors"
        tensors = load_file(path)
        next(t for n, t in tensors.items() if n.endswith("shira_weight"))[0] = float(seed + 1)
        save_file(tensors, path)

    def base(self, dtype=torch.float32):
        return AutoModelForCausalLM.from_pretrained(self.model, dtype=dtype)

    @functools.lru_cache
    def merged(self, name, dtype=torch.float32):
        """The base with one adapter merged by PEFT; name None is the base itself."""
        base = self.base(dtype)
        return base if name is None else PeftModel.from_pretrained(base, self.adapters / name).merge_and_unload()

    def merged_hashes(self, name, dtype):
        return parameter_hashes(self.merged(name, dtype))

    @functools.lru_cache
    def greedy(self, name, count, prompt=PROMPT):
        """What transformers generates in fp32, end-of-text ignored."""
        ids = self.tokenizer(prompt)["input_ids"]
        with torch.no_grad():
            for _ in range(count):
                logits = self.merged(name)(torch.tensor([ids])).logits[0, -1]
                ids = ids + [int(logits.argmax())]
        return ids[-count:]

    def flags(self, *adapters, dtype="float32"):
        flags = ["--model", self.model, "--dtype", dtype, "--adapter-root", self.adapters, "--threads", "1",
                 "--max-tokens", CONTEXT]
        for name in adapters:
            flags += ["--adapter", f"{name}={self.adapters / name}"]
        return flags

    @contextlib.contextmanager
    def server(self, *flags, adapters=tuple(ADAPTERS), dtype="float32", http=None, environment=None):
        """(server, client)"""
        with ServerProcess(*self.flags(*adapters, dtype=dtype), *flags, http=http, environment=environment) as server:
            yield server, server.client()


@functools.cache
def world():
    return World()


def select(*names, **weights):
    """An AdapterSelection: names with weight 1, and name=weight."""
    return {"adapters": [{"name": n} for n in names] + [{"name": n, "weight": w} for n, w in weights.items()]}


def upload_messages(folder, name, chunk=4096, **header):
    """The stream of an UploadAdapter call for PEFT's folder."""
    contents = [(file, (folder / file).read_bytes()) for file in ADAPTER_FILES]
    files = [{"name": file, "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for file, data in contents]
    yield {"header": {"name": name, "files": files, **header}}
    everything = b"".join(data for _, data in contents)
    for start in range(0, len(everything), chunk):
        yield {"data": everything[start : start + chunk]}
