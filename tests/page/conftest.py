"""A browser, where there is one."""

import pytest
from browser import Browser, find_chromium


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium: set CHROMIUM to its program")
    started = Browser(program, tmp_path_factory.mktemp("chromium"))
    yield started
    started.close()
