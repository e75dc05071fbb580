"""Blends through the real server, with PEFT's merge utilities and a plain merge as the oracle for the weights."""

import shutil
import unittest

import grpc
import torch
from peft import PeftModel
from peft.utils import merge_utils
from safetensors.torch import load_file
from shira_testutil import parameter_hashes

from fixtures import PROMPT, select, world
from server_process import error_of

PLAIN = {"max_tokens": 16, "ignore_eos": True}


def parts(**weights):
    return [{"name": name, "weight": weight} for name, weight in weights.items()]


def dense_deltas(name):
    """The adapter as dense fp64 matrices by parameter."""
    tensors = load_file(world().adapters / name / "adapter_model.safetensors")
    shapes = {n: p.shape for n, p in world().base().named_parameters()}
    deltas = {}
    for tensor_name, values in tensors.items():
        if tensor_name.endswith(".shira_weight"):
            parameter = tensor_name.removeprefix("base_model.model.").removesuffix(".shira_weight") + ".weight"
            rows, cols = tensors[tensor_name.replace("shira_weight", "shira_indices")].long()
            deltas[parameter] = torch.zeros(shapes[parameter], dtype=torch.float64).index_put((rows, cols), values.double())
    return deltas


def blended_hashes(merge, weights):
    """The base plus what `merge` makes of the deltas, in fp32."""
    model = world().base()
    operands = [dense_deltas(name) for name in weights]
    factors = torch.tensor(list(weights.values()), dtype=torch.float64)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in operands[0]:
                parameter += merge([operand[name] for operand in operands], factors).float()
    return parameter_hashes(model)


class BlendTest(unittest.TestCase):
    def setUp(self):
        self.server, self.client = self.enterContext(world().server())
        self.admin = self.client.admin

    def check_weights(self, name, expected):
        self.admin.ApplyAdapter(**select(name))
        report = self.admin.VerifyWeights()
        self.assertTrue(report.matches_expected)
        self.assertEqual({p.name: p.sha256 for p in report.parameters}, expected)
        self.admin.RevertAdapter()

    def test_a_blend_has_the_weights_that_peft_merges(self):
        weights = {"alpha": 0.5, "beta": -0.25}
        self.admin.CreateBlend(name="sum", parts=parts(**weights))
        self.check_weights("sum", blended_hashes(merge_utils.task_arithmetic, weights))
        self.admin.CreateBlend(name="ties", parts=parts(**weights), rule="FUSION_RULE_TIES", density=1)
        self.check_weights("ties", blended_hashes(lambda *args: merge_utils.ties(*args, density=1), weights))

    def test_a_blend_is_served_and_needs_its_parts_no_more(self):
        created = self.admin.CreateBlend(name="team/blend", parts=parts(alpha=0.5, gamma=0.5))
        adapter, total = created.adapter, created.total
        self.assertEqual((adapter.name, adapter.version, adapter.format, adapter.path), ("team/blend", 1, "blend", ""))
        self.assertEqual(adapter.entries, total.blend_entries)
        # PEFT made both with one mask seed, so they touch the same elements.
        self.assertEqual(total.shared_entries, total.union_entries)
        self.assertEqual(total.part_entries, 2 * total.union_entries)
        self.assertTrue(0 < total.sign_conflicts < total.shared_entries)
        self.assertEqual(sum(p.overlap.sign_conflicts for p in created.parameters), total.sign_conflicts)

        ask = lambda: self.client.inference.Generate(prompt=PROMPT, stop=PLAIN, adapter=select("team/blend"))
        reply = ask()
        self.assertEqual(reply.summary.adapter[0].sha256, adapter.sha256)
        for name in ("alpha", "gamma"):
            self.admin.UnloadAdapter(name=name)
        self.assertEqual(ask().token_ids, reply.token_ids)
        shown = self.admin.GetAdapter(name="team/blend")
        self.assertEqual(sum(p.entries for p in shown.parameters), adapter.entries)
        self.admin.UnloadAdapter(name="team/blend")
        self.assertEqual([a.name for a in self.admin.ListAdapters().adapters], ["beta"])

    def test_a_saved_blend_can_be_loaded_again(self):
        folder = world().adapters / "saved"
        folder.mkdir()
        self.addCleanup(shutil.rmtree, folder)
        ask = lambda name: self.client.inference.Generate(prompt=PROMPT, stop=PLAIN, adapter=select(name)).token_ids
        for path in ("saved/blend.shira", "saved/blend"):
            created = self.admin.CreateBlend(name="blend", parts=parts(alpha=0.5, beta=0.5), save_path=path)
            self.assertEqual(created.adapter.path, str(world().adapters / path))
            tokens = ask("blend")
            self.admin.UnloadAdapter(name="blend")
            loaded = self.admin.LoadAdapter(name="again", path=path)
            self.assertNotEqual(loaded.adapter.format, "blend")
            self.assertEqual(ask("again"), tokens)
            self.admin.UnloadAdapter(name="again")
        # PEFT loads what the server wrote.
        merged = PeftModel.from_pretrained(world().base(), folder / "blend").merge_and_unload()
        weights = {"alpha": 0.5, "beta": 0.5}
        self.assertEqual(parameter_hashes(merged), blended_hashes(merge_utils.task_arithmetic, weights))
        code, info, _, _ = error_of(lambda: self.admin.CreateBlend(name="blend", parts=parts(alpha=1), save_path="../../x.shira"))
        self.assertEqual((code, info.reason), (grpc.StatusCode.PERMISSION_DENIED, "ADAPTER_PATH_OUTSIDE_ROOTS"))

    def test_equal_blends_are_one_blend(self):
        request = {"rule": "FUSION_RULE_DARE", "density": 0.5, "seed": 7}
        first = self.admin.CreateBlend(name="blend", parts=parts(alpha=1, beta=2), **request)
        again = self.admin.CreateBlend(name="blend", parts=parts(beta=2, alpha=1), **request)
        self.assertFalse(first.already_created)
        self.assertTrue(again.already_created)
        self.assertEqual(again.adapter.sha256, first.adapter.sha256)
        self.assertEqual(again.parameters, first.parameters)
        other = self.admin.CreateBlend(name="other", parts=parts(alpha=1, beta=2), **{**request, "seed": 8})
        self.assertNotEqual(other.adapter.sha256, first.adapter.sha256)
        code, info, _, _ = error_of(lambda: self.admin.CreateBlend(name="other", parts=parts(alpha=1, beta=2), **request))
        self.assertEqual((code, info.reason), (grpc.StatusCode.ALREADY_EXISTS, "ADAPTER_ALREADY_EXISTS"))

    def test_errors_say_what_is_wrong(self):
        def refused(code, reason, **request):
            found, info, _, message = error_of(lambda: self.admin.CreateBlend(**{"name": "blend", "parts": parts(alpha=1)} | request))
            self.assertEqual((found, info.reason), (code, reason), message)
            if reason == "ADAPTER_NOT_FOUND":
                self.assertEqual(dict(info.metadata), {"name": "blend", "part": "missing"})
            return message

        invalid = grpc.StatusCode.INVALID_ARGUMENT
        refused(invalid, "INVALID_REQUEST", parts=[])
        refused(invalid, "INVALID_REQUEST", parts=[{"name": "base"}])
        refused(invalid, "INVALID_REQUEST", rule=99)
        message = refused(invalid, "INVALID_REQUEST", parts=parts(alpha=1) * 2, rule="FUSION_RULE_TIES", seed=1)
        for field in ("parts", "density", "seed"):
            self.assertIn(field, message)
        refused(invalid, "INVALID_REQUEST", density=0.5)
        refused(invalid, "INVALID_REQUEST", rule="FUSION_RULE_PRUNED", density=1.5)
        refused(invalid, "INVALID_BLEND", name="base")
        refused(grpc.StatusCode.NOT_FOUND, "ADAPTER_NOT_FOUND", parts=parts(missing=1))
        self.assertEqual(sorted(a.name for a in self.admin.ListAdapters().adapters), ["alpha", "beta", "gamma"])
        refused(invalid, "INVALID_BLEND", rule="FUSION_RULE_PRUNED", density=1e-9)
        self.assertIn("leaves no entry", self.admin.GetAdapter(name="blend").adapter.error)
