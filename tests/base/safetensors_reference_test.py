"""base/safetensors.h against the reference implementation, in both directions."""

import pathlib
import tempfile
import unittest

import safetensors
import safetensors.torch
import torch

from shira_testutil import run_binary

DTYPES = [torch.bool, torch.uint8, torch.int8, torch.uint16, torch.int16, torch.uint32, torch.int32, torch.uint64,
          torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64]


class SafetensorsReferenceTest(unittest.TestCase):
    def test_the_reference_reads_back_what_we_read_and_wrote(self):
        torch.manual_seed(7)
        tensors = {f"t.{dtype}": torch.randint(0, 2, (3, 5)).to(dtype) for dtype in DTYPES}
        tensors |= {"odd \"name\" \u00fc": torch.ones(3, dtype=torch.uint8), "scalar": torch.tensor(2.5),
                    "empty": torch.zeros(0, 4)}
        metadata = {"format": "pt", "note": "line\nbreak"}
        for options in ([], ["--stream"]):
            with self.subTest(options), tempfile.TemporaryDirectory() as folder:
                source, copy = pathlib.Path(folder, "in"), pathlib.Path(folder, "out")
                safetensors.torch.save_file(tensors, source, metadata=metadata)
                run_binary("copy_safetensors", *options, source, copy)
                with safetensors.safe_open(copy, framework="pt") as opened:
                    self.assertEqual(opened.metadata(), metadata)
                    self.assertEqual(set(opened.keys()), set(tensors))
                    for name, tensor in tensors.items():
                        read = opened.get_tensor(name)
                        self.assertEqual((read.dtype, read.shape), (tensor.dtype, tensor.shape))
                        self.assertTrue(torch.equal(read, tensor), name)
                self.assertEqual(set(safetensors.torch.load(copy.read_bytes())), set(tensors))
                self.assertEqual(int.from_bytes(copy.read_bytes()[:8], "little") % 8, 0, "the data is not aligned")


if __name__ == "__main__":
    unittest.main()
