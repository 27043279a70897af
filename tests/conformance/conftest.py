"""The suite's own markers; they mean nothing here."""

import re

from suite import suite_folder


def pytest_configure(config):
    folder = suite_folder()
    if folder is not None:
        text = "".join(file.read_text(encoding="utf-8") for file in folder.rglob("*.py"))
        for name in sorted(set(re.findall(r"\bmark\.(\w+)", text))):
            config.addinivalue_line("markers", f"{name}: of transformers' common tests")
