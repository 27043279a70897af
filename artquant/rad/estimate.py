"""What a run will cost, before it is begun."""

from __future__ import annotations

from dataclasses import dataclass

from artquant.rad.chat import Usage
from artquant.rad.collection import Collection
from artquant.rad.money import cost_of
from artquant.rad.settings import EndpointSettings, RoleSettings

# Where nothing is known of this collection yet: tokens of a prompt with and without a picture, share of max_tokens that
# a reply takes, calls of a role for one picture.
_TOKENS_BLIND, _TOKENS_SEEING, _REPLY_SHARE = 700, 1_700, 0.3
_CALLS = {"writer": 1.5, "judge": 1.5, "reader": 1.1, "witness": 1.1, "leaks": 1.1}
_SEEING = ("writer", "witness")
_ENOUGH = 20  # pictures with an outcome, from which what they took is taken for the others


@dataclass(frozen=True)
class Estimate:
    """Of what is still to do. `is_measured`: from this collection's own pictures."""

    pictures: int
    calls: float
    cost: float
    is_measured: bool

    @property
    def line(self) -> str:
        """For people."""
        basis = "as those so far" if self.is_measured else "a guess, until some are done"
        money = f", {self.cost:.2f} in the prices' currency" if self.cost else ", nothing where no prices are set"
        return f"{self.pictures:,} pictures to collect: about {self.calls:,.0f} calls{money} ({basis})"


def estimate(collection: Collection) -> Estimate:
    """Calls and cost of the pictures that wait."""
    states = collection.store.states()
    waiting = states.get("waiting", 0)
    done = sum(count for state, count in states.items() if state not in ("waiting", "unreadable"))
    totals = collection.store.totals().values()
    if done >= _ENOUGH:
        calls, cost = (
            sum(figures) / done for figures in zip(*((one.attempts, one.cost) for one in totals), strict=True)
        )
        return Estimate(waiting, waiting * calls, waiting * cost, True)
    roles = collection.config.roles.chosen()
    calls = sum(_CALLS[name] for name in roles)
    cost = sum(
        _CALLS[name] * _guess(name, role, collection.config.endpoints[role.endpoint]) for name, role in roles.items()
    )
    return Estimate(waiting, waiting * calls, waiting * cost, False)


def _guess(name: str, role: RoleSettings, endpoint: EndpointSettings) -> float:
    read = _TOKENS_SEEING if name in _SEEING else _TOKENS_BLIND
    return cost_of(Usage(read, round(_REPLY_SHARE * role.max_tokens)), endpoint)
