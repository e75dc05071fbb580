"""Runs every test_*.py of this folder in one process: importing LibTorch and transformers takes longer than the tests."""

import pathlib
import sys
import unittest

if __name__ == "__main__":
    folder = str(pathlib.Path(__file__).parent)
    unittest.main(module=None, argv=[sys.argv[0], "discover", "-s", folder, "-p", "test_*.py", *sys.argv[1:]])
