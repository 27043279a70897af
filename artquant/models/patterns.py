"""Regular expressions over module names that come from outside, such as a downloaded adapter's `target_modules`.

Some never end: they go back over the same text in exponentially many ways. What is tried first in a process of its own,
which may compute for a second, ends here too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from artquant.errors import one_line

_TRIAL = """
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_CPU, (1, 2))
patterns, names = json.load(sys.stdin)
for pattern in patterns:
    found = re.compile(pattern)
    for name in names:
        found.match(name), found.fullmatch(name)
"""


def pattern_fault(patterns: Sequence[str], names: Sequence[str]) -> str | None:
    """Why patterns cannot be matched with module names in a second; None: they can."""
    if not patterns:
        return None
    tried = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _TRIAL],
        input=json.dumps([list(patterns), list(names)]),
        capture_output=True,
        encoding="utf-8",
    )
    if tried.returncode == 0:
        return None
    if tried.returncode < 0:
        return "takes over a second to match; write it without repetitions inside repetitions"
    return f"is no regular expression ({one_line(tried.stderr.strip().splitlines()[-1])})"
