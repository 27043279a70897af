"""What the server counts, as Prometheus reads it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import accumulate

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counters since the start."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._pictures: Counter[str] = Counter()
        self._within = [0] * (len(_SECONDS) + 1)
        self._seconds = 0.0

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A request; route: as the application names it, not as the client wrote it."""
        self._requests[route, status] += 1
        self._within[bisect_left(_SECONDS, seconds)] += 1
        self._seconds += seconds

    def judged(self, outcome: str) -> None:
        """A picture: "scored", or a refusal's code."""
        self._pictures[outcome] += 1

    def text(self, queue: int, describing: int, ready: bool) -> str:
        """All of them, with what is so just now."""
        lines = [
            *_named("artquant_requests_total", "counter", "Requests answered."),
            *(
                f'artquant_requests_total{{route="{route}",status="{status}"}} {count}'
                for (route, status), count in sorted(self._requests.items())
            ),
            *_named("artquant_pictures_total", "counter", "Pictures by what came of them."),
            *(f'artquant_pictures_total{{outcome="{name}"}} {count}' for name, count in sorted(self._pictures.items())),
            *_named("artquant_request_seconds", "histogram", "Seconds until a request was answered."),
            *(
                f'artquant_request_seconds_bucket{{le="{bound}"}} {count}'
                for bound, count in zip((*_SECONDS, "+Inf"), accumulate(self._within), strict=True)
            ),
            f"artquant_request_seconds_sum {self._seconds:.6f}",
            f"artquant_request_seconds_count {sum(self._within)}",
        ]
        now = {"queue": ("Pictures that wait.", queue), "describing": ("Descriptions begun.", describing)}
        now["ready"] = ("Whether models are loaded.", int(ready))
        for name, (help, value) in now.items():
            lines += [*_named(f"artquant_{name}", "gauge", help), f"artquant_{name} {value}"]
        return "\n".join(lines) + "\n"


def _named(name: str, kind: str, help: str) -> list[str]:
    return [f"# HELP {name} {help}", f"# TYPE {name} {kind}"]
