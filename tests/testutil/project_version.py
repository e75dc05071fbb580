"""The project's version, from its one source: project(... VERSION) of CMakeLists.txt."""

import pathlib
import re


def project_version():
    text = (pathlib.Path(__file__).resolve().parents[2] / "CMakeLists.txt").read_text()
    return re.search(r"^project\(shira VERSION (\d+\.\d+\.\d+)", text, re.M).group(1)
