"""What a plan knows of tensors that follow from the inputs alone, and what it must not think that it knows."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from artquant.plan.known_values import VALUES_ASKED, KnownValues


@pytest.fixture
def modes():
    """Inside both modes: a known row of ids, and a tensor of which nothing is known."""
    real = torch.tensor([3, 7, 7, 0])
    with FakeTensorMode() as fake:
        unknown = torch.empty(4, dtype=torch.int64)
        values = KnownValues(fake)
        with values:
            yield values.known(real), unknown


def test_what_follows_from_known_tensors_is_known(modes):
    ids, _ = modes
    assert (ids == 7).sum().item() == 2 and ids.view(2, 2)[1].tolist() == [7, 0]
    assert torch.arange(4)[ids == 7].tolist() == [1, 2]
    assert (ids.float() / 2).max().item() == 3.5


def test_nothing_else_is(modes):
    ids, unknown = modes
    for tensor in (unknown, unknown + 1, ids + unknown, torch.empty(2)):
        with pytest.raises(VALUES_ASKED):
            tensor.sum().item()


def test_masks_choose_as_many_of_the_unknown_as_are_known_to_be_chosen(modes):
    ids, unknown = modes
    states = unknown[:, None].expand(4, 5).float()
    assert states[ids == 7].shape == (2, 5)
    two = ids.view(2, 2) == 7
    assert states.reshape(2, 2, 5)[two].shape == (2, 5)


def test_what_is_written_into_counts(modes):
    ids, unknown = modes
    view = ids[1:]
    ids[0] = 9
    assert ids.tolist() == [9, 7, 7, 0]
    ids[1] = unknown[0]
    for tensor in (ids, view):
        with pytest.raises(VALUES_ASKED):
            tensor.sum().item()
