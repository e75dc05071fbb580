"""What the model says with any adapters: the adapters on disk, and PyTorch's answers with them, apart from the server."""

import collections
import contextlib
import hashlib

import torch
from safetensors.torch import load_file, save_file

# Two choices whose logits are closer than this may swap places when the order of a sum differs.
TIE = 1e-4


class Reference:
    def __init__(self, world, adapters, contents):
        """Makes `contents` different contents for each of `adapters` adapters, below the world's adapter root."""
        self.world = world
        self.model = world.base()
        self.pristine = {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}
        self.paths = {}  # (adapter, content): path below the root
        self.digests = {}  # path: sha256
        self.deltas = {}  # sha256: {parameter: (rows, columns, values)}
        for adapter in range(adapters):
            for content in range(contents):
                self._make(adapter, content, seed=adapter * contents + content)

    def _make(self, adapter, content, seed):
        # Half of the adapters share one mask, as PEFT makes them by default; the others share another one.
        template = self.world.adapters / ("alpha", "beta")[adapter % 2]
        self.paths[adapter, content] = path = f"soak/{adapter}.{content}"
        folder = self.world.adapters / path
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_bytes((template / "adapter_config.json").read_bytes())
        generator = torch.Generator().manual_seed(seed)
        tensors = {name: torch.randn(tensor.shape, generator=generator) if name.endswith("shira_weight") else tensor
                   for name, tensor in load_file(template / "adapter_model.safetensors").items()}
        file = folder / "adapter_model.safetensors"
        save_file(tensors, file)
        self.digests[path] = digest = hashlib.sha256(file.read_bytes()).hexdigest()
        self.deltas[digest] = {
            name.removeprefix("base_model.model.").removesuffix(".shira_weight") + ".weight":
                (*tensors[name.replace("_weight", "_indices")].long(), values)
            for name, values in tensors.items() if name.endswith("shira_weight")}

    def wrong(self, answers):
        """Those of (terms, prompt, tokens) that are not the greedy answer, each with what the model would have said at each place."""
        by_terms = collections.defaultdict(lambda: collections.defaultdict(list))
        for terms, prompt, tokens in answers:
            by_terms[terms][prompt, len(tokens)].append(tokens)
        for terms, by_prompt in by_terms.items():
            with self._state(terms):
                for (prompt, _), batch in by_prompt.items():
                    for tokens, best in self._disagreements(prompt, batch):
                        yield terms, prompt, tokens, best

    @contextlib.contextmanager
    def _state(self, terms):
        """The model has the weights of a set of (sha256, weight)."""
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for sha256, weight in terms:
                for name, (rows, columns, values) in self.deltas[sha256].items():
                    parameters[name].index_put_((rows, columns), values * weight, accumulate=True)
            yield
            for name, parameter in parameters.items():
                parameter.copy_(self.pristine[name])

    def _disagreements(self, prompt, batch):
        """What the model says after the prompt and each answer's own tokens so far: from a tie on, both ways are right."""
        ids = self.world.tokenizer(prompt)["input_ids"]
        answers = torch.tensor(batch)
        logits = self.model(torch.cat([torch.tensor([ids]).expand(len(batch), -1), answers], 1)).logits[:, len(ids) - 1:-1]
        chosen = logits.gather(2, answers[..., None])[..., 0]
        right = (chosen > logits.amax(2) - TIE).all(1)
        return [(batch[i], logits[i].argmax(1).tolist()) for i in torch.nonzero(~right).flatten().tolist()]

