"""base/gguf_file.h against the gguf package: a file that its writer made, and the demo model."""

import hashlib
import json
import pathlib
import tempfile
import unittest

import gguf
import numpy as np

from shira_testutil import demo_model, run_binary


class GgufReferenceTest(unittest.TestCase):
    def check(self, path):
        """Every name, value, type, shape and byte is what the package's reader sees."""
        ours = json.loads(run_binary("print_gguf", path).stdout)
        reader = gguf.GGUFReader(path)
        metadata = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
        self.assertEqual(ours["metadata"], metadata)
        tensors = {
            tensor.name: {
                "type": tensor.tensor_type.name,
                "shape": [int(size) for size in reversed(tensor.shape)],
                "sha256": hashlib.sha256(tensor.data.tobytes()).hexdigest(),
            }
            for tensor in reader.tensors
        }
        self.assertEqual(ours["tensors"], tensors)

    def test_a_written_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "written.gguf")
            writer = gguf.GGUFWriter(path, "llama")
            writer.add_uint32("some.number", 7)
            writer.add_int64("some.negative", -7)
            writer.add_float32("some.float", 0.1)
            writer.add_bool("some.bool", True)
            writer.add_string("some.text", "gr\u00fc\u00df")
            writer.add_array("some.texts", ["a", "", "c"])
            writer.add_array("some.numbers", [1, -2, 3])
            writer.add_array("some.floats", [0.5, 0.25])
            writer.add_tensor("f32", np.arange(6, dtype=np.float32).reshape(2, 3))
            writer.add_tensor("f16", np.arange(5, dtype=np.float16))
            rng = np.random.default_rng(1)
            for kind in (gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_1):
                blocks = gguf.quants.quantize(rng.standard_normal((4, 64), dtype=np.float32), kind)
                writer.add_tensor(kind.name, blocks, raw_dtype=kind)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
            self.check(path)

    def test_the_demo_model(self):
        self.check(demo_model())


if __name__ == "__main__":
    unittest.main()
