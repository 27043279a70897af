"""Pictures of a collection that a report shows, drawn by their names: neither the first ones nor picked by anyone."""

from __future__ import annotations

import hashlib
import heapq
from dataclasses import dataclass, field

from artquant.rad.outcome import Entry, Outcome

KINDS = {
    "kept": "Kept as first written",
    "repaired": "Repaired: rejected, written anew, kept",
    "partly": "Kept in part",
    "dropped": "Dropped",
}
LOST = ("failed", "unreadable")
_MOST_LOST = 50  # that are listed


@dataclass
class Examples:
    """A few of each kind, and the first that were lost."""

    most: int  # of a kind
    lost: list[Outcome] = field(default_factory=list)
    _drawn: dict[str, list[tuple[int, str, Entry, Outcome]]] = field(default_factory=dict)

    def add(self, entry: Entry, outcome: Outcome) -> None:
        """Another picture."""
        if outcome.state in LOST:
            self.lost += [outcome] if len(self.lost) < _MOST_LOST else []
            return
        drawn = self._drawn.setdefault(_kind(outcome), [])
        name = entry.image.encode("utf-8", "surrogatepass")
        number = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big")
        heapq.heappush(drawn, (-number, entry.image, entry, outcome))
        if len(drawn) > self.most:
            heapq.heappop(drawn)

    def of(self, kind: str) -> list[tuple[Entry, Outcome]]:
        """Those drawn of a kind, the highest score first."""
        found = [(entry, outcome) for _, _, entry, outcome in self._drawn.get(kind, ())]
        return sorted(found, key=lambda pair: (-pair[0].score, pair[0].image))


def _kind(outcome: Outcome) -> str:
    if outcome.state == "kept" and any(not draft.kept for draft in outcome.drafts):
        return "repaired"
    return outcome.state
