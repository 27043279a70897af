"""Several prompts about one picture in one forward pass.

The prompts share their beginning - picture, question, the first words of the answer - which is read once; their endings
follow one after the other. An attention mask keeps the endings from seeing each other and the positions of each count
on from the shared beginning, so that every prompt's result is what it would be alone. Scoring reads a total and its
attributes so, and training learns them so.

Shape legend: B rows, N prompts, T packed positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch.nn.functional import pad

from artquant.errors import ArtQuantError
from artquant.models.family import NetworkInputs, Row

MASKING_ATTENTIONS = ("eager", "sdpa")  # the kernels that take a mask of every pair of positions
_BLOCKED = torch.finfo(torch.bfloat16).min  # added where nothing is seen; finite in float32 too


def shared_length(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with; of a single one all but the last."""
    shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*prompts, strict=False)))
    return max(0, shared - 1) if len(prompts) == 1 else shared


def packed_length(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens of all prompts, what they begin with counted once."""
    return sum(map(len, prompts)) - (len(prompts) - 1) * shared_length(prompts)


@dataclass(frozen=True)
class PackedPrompts:
    """N prompts as one sequence."""

    input_ids: torch.Tensor  # [T]
    position_ids: torch.Tensor  # [T], each prompt's own count
    visible: torch.Tensor  # [T, T], True where the row's position may attend to the column's
    last: torch.Tensor  # [N], where each prompt ends in the packed sequence
    shared: int  # how many positions all begin with

    @classmethod
    def from_prompts(cls, prompts: Sequence[Sequence[int]]) -> PackedPrompts:
        """Pack the token ids of one or more prompts; pictures must lie in what they share.

        Raises:
            ArtQuantError: a prompt is empty, two are equal, or one is what all begin with.
        """
        if len({tuple(prompt) for prompt in prompts}) < len(prompts):
            raise ArtQuantError("two prompts that are read together are equal; name each once")
        shared = shared_length(prompts)
        endings = [list(prompt[shared:]) for prompt in prompts]
        if not all(endings):
            raise ArtQuantError("prompts that are read together must each have an ending of their own")
        owner = torch.tensor([-1] * shared + [index for index, ending in enumerate(endings) for _ in ending])
        position_ids = list(range(shared)) + [shared + place for ending in endings for place in range(len(ending))]
        causal = torch.ones(len(owner), len(owner), dtype=torch.bool).tril()
        same = owner[:, None] == owner
        return cls(
            input_ids=torch.tensor([*prompts[0][:shared], *(token for ending in endings for token in ending)]),
            position_ids=torch.tensor(position_ids),
            visible=causal & (same | (owner == -1)),
            last=shared - 1 + torch.tensor([len(ending) for ending in endings]).cumsum(0),
            shared=shared,
        )

    @property
    def begins(self) -> list[int]:
        """[N], where each ending begins in the packed sequence."""
        return [self.shared, *(self.last[:-1] + 1).tolist()]

    def inputs(self, batch: int, dtype: torch.dtype, device: torch.device) -> dict[str, torch.Tensor]:
        """`input_ids` and `position_ids` [batch, T] and the additive `attention_mask` [batch, 1, T, T]."""
        blocked = torch.zeros(self.visible.shape, dtype=dtype).masked_fill(~self.visible, _BLOCKED)
        length = len(self.input_ids)
        return {
            "input_ids": self.input_ids.to(device).expand(batch, length),
            "position_ids": self.position_ids.to(device).expand(batch, length),
            "attention_mask": blocked.to(device).expand(batch, 1, length, length),
        }


@dataclass(frozen=True)
class Placed:
    """Where a conversation lies in a batch: the flat position that predicts what stands at an index of its row.

    branch: the index at which it leaves the conversation that its row begins with; 0 of that one itself. beginning,
    own: what is to be added to an index up to there, and to one behind it.
    """

    branch: int
    beginning: int
    own: int

    def at(self, index: int) -> int:
        """The position that predicts the token at `index`."""
        return index + (self.beginning if index <= self.branch else self.own)


def pack_rows(
    inputs: NetworkInputs, conversations: Sequence[Sequence[Row]], pad_token_id: int
) -> tuple[NetworkInputs, list[list[Placed]]]:
    """A batch whose rows hold one conversation or several of the same beginning, and where each lies.

    Args:
        inputs: of the first conversation of each row, padded on the right. conversations: N of each of the B rows.

    Raises:
        ArtQuantError: as of `PackedPrompts.from_prompts`.
    """
    ends, given = inputs.ends().tolist(), inputs["input_ids"].tolist()
    more = [end - len(rows[0].token_ids) for end, rows in zip(ends, conversations, strict=True)]  # of the picture
    if all(len(rows) == 1 for rows in conversations):
        width = inputs["input_ids"].shape[1]
        starts = [number * width + offset - 1 for number, offset in enumerate(more)]
        return inputs, [[Placed(0, start, start)] for start in starts]
    packed = []
    for ids, end, offset, rows in zip(given, ends, more, conversations, strict=True):
        shared = shared_length([row.token_ids for row in rows])
        beginning, others = ids[: shared + offset], [row.token_ids[shared:] for row in rows[1:]]
        packed.append(PackedPrompts.from_prompts([ids[:end], *([*beginning, *ending] for ending in others)]))
    places = list[list[Placed]]()
    width = max(len(one.input_ids) for one in packed)
    for number, (one, offset) in enumerate(zip(packed, more, strict=True)):
        start, branch = number * width + offset - 1, one.shared - offset
        beside = [Placed(branch, start, number * width + begin - branch - 1) for begin in one.begins[1:]]
        places.append([Placed(0, start, start), *beside])
    return _joined(inputs, packed, pad_token_id, width), places


def _joined(inputs: NetworkInputs, packed: Sequence[PackedPrompts], pad_token_id: int, width: int) -> NetworkInputs:
    """Packed sequences as one batch, filled up on the right."""
    shape = inputs["input_ids"].shape
    # What is said of positions is said of what all of a row's conversations share.
    places = {name: pad(value, (0, width - shape[1])) for name, value in inputs.items() if value.shape == shape}
    ids = torch.full((len(packed), width), pad_token_id)
    positions = torch.zeros(len(packed), width, dtype=torch.int64)
    visible = torch.eye(width, dtype=torch.bool).repeat(len(packed), 1, 1)  # nothing real sees what fills up
    for number, one in enumerate(packed):
        length = len(one.input_ids)
        ids[number, :length], positions[number, :length] = one.input_ids, one.position_ids
        visible[number, :length, :length] = one.visible
    mask = torch.zeros(visible.shape).masked_fill(~visible, _BLOCKED)[:, None]
    return NetworkInputs(
        inputs.tensors | places | {"input_ids": ids, "position_ids": positions, "attention_mask": mask}
    )
