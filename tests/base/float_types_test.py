"""base/float_types.h against torch: every 16-bit value, and floats of every exponent with the ties between their neighbours."""

import pathlib
import tempfile
import unittest

import numpy as np
import torch

from shira_testutil import run_binary


def convert(direction: str, values: np.ndarray, out_type) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder, "in"), pathlib.Path(folder, "out")
        values.tofile(source)
        run_binary("convert_floats", direction, source, target)
        return np.fromfile(target, dtype=out_type)


def float_bits() -> np.ndarray:
    """Bits of floats: per sign and exponent the mantissas at and next to every tie of bf16 and f16 that matters, then random ones."""
    rng = np.random.default_rng(20240621)
    heads = np.arange(1 << 16, dtype=np.uint32) << 16  # sign, exponent, 7 mantissa bits: every bf16
    tails = [0x0000, 0x0001, 0x7FFF, 0x8000, 0x8001, 0xFFFF]  # around the tie between two bf16
    tails += [0x0FFF, 0x1000, 0x1001, 0x2FFF, 0x3000, 0x3001]  # around ties between two f16
    near = np.concatenate([heads | np.uint32(tail) for tail in tails])
    # Subnormal halves: ties are at odd multiples of 2^-25.
    ties = (np.arange(0, 4096, dtype=np.float64) * 2.0**-25).astype(np.float32).view(np.uint32)
    subnormal = np.concatenate([ties, ties[1:] - 1, ties + 1])
    random = rng.integers(0, 1 << 32, size=4_000_000, dtype=np.uint32)
    return np.concatenate([near, subnormal, subnormal | np.uint32(1 << 31), random])


class FloatTypesTest(unittest.TestCase):
    def check(self, direction, source, expected, bits):
        """Bits are equal; where torch gives a NaN, any NaN."""
        ours = convert(direction, source, bits)
        theirs = expected.view(torch.int32 if bits is np.uint32 else torch.int16).numpy().view(bits)
        nan = torch.isnan(expected).numpy()
        np.testing.assert_array_equal(ours[~nan], theirs[~nan])
        ours_as_torch = torch.from_numpy(ours.view(np.int32 if bits is np.uint32 else np.int16))
        self.assertTrue(torch.isnan(ours_as_torch.view(expected.dtype)[torch.from_numpy(nan)]).all())

    def test_every_half_widens_as_torch(self):
        every = np.arange(1 << 16, dtype=np.uint16)
        source = torch.from_numpy(every.view(np.int16))
        self.check("f16-f32", every, source.view(torch.float16).float(), np.uint32)
        self.check("bf16-f32", every, source.view(torch.bfloat16).float(), np.uint32)

    def test_floats_narrow_as_torch(self):
        bits = float_bits()
        source = torch.from_numpy(bits.view(np.int32)).view(torch.float32)
        self.check("f32-f16", bits, source.half(), np.uint16)
        self.check("f32-bf16", bits, source.bfloat16(), np.uint16)


if __name__ == "__main__":
    unittest.main()
