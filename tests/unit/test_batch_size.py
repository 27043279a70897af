"""How many pictures a forward pass takes where nobody says."""

from types import SimpleNamespace

import pytest
import torch

from artquant.errors import ArtQuantError
from artquant.infer.batch_size import LEAST, MOST, choose_batch_size
from artquant.infer.each_scored import EachDescribed, EachScored
from artquant.infer.score import Score

GIB = 2**30


class Card:
    """A GPU of a number of bytes, of which weights take some and each picture more."""

    def __init__(self, total: int, weights: int, each: int):
        self.total, self.weights, self.each = total, weights, each
        self.device, self.seen = torch.device("cuda:0"), list[int]()
        self.processor = SimpleNamespace(picture=lambda image: image.size)

    def peak(self, work):
        work()
        return self.weights + self.seen[-1] * self.each

    def score_pictures(self, pictures, attributes=()):
        self.seen.append(len(pictures))
        if self.weights + len(pictures) * self.each > self.total:
            raise torch.OutOfMemoryError
        return [float(one[0]) for one in pictures]


@pytest.mark.parametrize(
    ("total", "weights", "each", "size"),
    [
        (80 * GIB, 15 * GIB, 2 * GIB, 16),  # 0.8 * 80 - 15 = 49 GiB: 24 pictures
        (80 * GIB, 15 * GIB, GIB, 32),
        (80 * GIB, 15 * GIB, 1, MOST),
        (80 * GIB, 15 * GIB, 0, MOST),
        (24 * GIB, 15 * GIB, GIB, LEAST),  # 4.2 pictures
        (16 * GIB, 15 * GIB, GIB // 10, LEAST),  # more than its share already
        (16 * GIB, 15 * GIB, GIB, LEAST),  # not even that fits: halved when it is tried
    ],
)
def test_a_gpu_takes_what_its_whole_memory_holds(total, weights, each, size):
    card = Card(total, weights, each)
    assert choose_batch_size(card, memory=card) == size
    assert max(card.seen) <= 2 * LEAST


def test_where_memory_is_too_small_half_are_taken_from_then_on(caplog):
    card = Card(10, 5, 1)
    each, pictures = EachScored(card), [(number,) for number in range(16)]
    assert each.score_pictures(pictures) == list(range(16))
    assert card.seen == [16, 8, 4, 4, 4, 4] and "4 from now on" in caplog.text
    assert each.score_pictures(pictures[:9]) == list(range(9)) and card.seen[6:] == [4, 4, 1]
    with pytest.raises(ArtQuantError, match="cuda:0: its memory is too small for this model and one picture"):
        EachScored(Card(5, 5, 1)).score_pictures(pictures)


def test_words_that_do_not_fit_halve_a_batch_too():
    class Teller(Card):
        loaded = SimpleNamespace(prompt=SimpleNamespace(describing=lambda level: level))

        def row(self, asked):
            return asked

        def score_pictures(self, pictures, attributes=()):
            return [Score(float(one[0])) for one in pictures]

        def say(self, rows, pictures, most):
            self.seen.append(len(pictures))
            if len(pictures) > 2:
                raise torch.OutOfMemoryError
            return [f"{row} {one[0]} {most}" for row, one in zip(rows, pictures, strict=True)]

    card = Teller(1, 0, 1)
    found = EachDescribed(card, 3, 8).score_pictures([(number,) for number in range(5)])
    assert [one.columns["description"] for one in found] == [f"3 {number} 8" for number in range(5)]
    assert [one.score for one in found] == list(range(5)) and card.seen == [5, 2, 2, 1]
