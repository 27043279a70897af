"""Pictures of another kind than the training ones are told as such; those of the same kind are not."""

import json

import numpy as np
import pytest
import torch
from golden import scoring_network
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from artquant.config.schema import Loading
from artquant.errors import ArtQuantError
from artquant.infer.familiar import learn_familiar
from artquant.infer.score import Score
from artquant.infer.scorer import Scorer
from artquant.labels.rating_scale import APDD_SCALE
from artquant.models.familiar import FALSE_ALARMS, FAMILIAR, LEAST, Familiar
from artquant.models.family import CheckpointError
from artquant.models.model_folder import ModelFolder
from artquant.models.weights import LoadedModel, load_network
from artquant.readouts import readout_of
from artquant.texts.prompt import get_prompt


def of_a_kind(draw, count, width=20):
    """Features that lie about a plane, as pictures of one kind do."""
    return torch.from_numpy(
        draw.normal(size=(count, 3)) @ draw.normal(size=(3, width)) + 0.05 * draw.normal(size=(count, width))
    )


@given(st.integers(0, 10**6))
def test_alike_and_unlike(seed):
    draw = np.random.default_rng(seed)
    plane = draw.normal(size=(3, 20))

    def some(count):
        return torch.from_numpy(draw.normal(size=(count, 3)) @ plane + 0.05 * draw.normal(size=(count, 20)))

    known = Familiar.of(some(2000))
    assert (known.ratio(some(1000)) > 1).double().mean() < 4 * FALSE_ALARMS
    assert (known.ratio(torch.from_numpy(draw.normal(size=(200, 20)))) > 1).all()
    assert (known.ratio(20 * some(50)) > 1).double().mean() > 0.9  # along the plane, but far out


def test_scale_and_shift_of_features_change_nothing():
    draw = np.random.default_rng(0)
    features, others = of_a_kind(draw, 200), of_a_kind(draw, 30)
    one, other = Familiar.of(features), Familiar.of(7 * features + 3)
    torch.testing.assert_close(one.ratio(others), other.ratio(7 * others + 3))


def test_written_and_read(tmp_path):
    known, others = Familiar.of(of_a_kind(np.random.default_rng(1), 120)), of_a_kind(np.random.default_rng(2), 9)
    assert Familiar.read(tmp_path) is None
    known.write(tmp_path)
    found = Familiar.read(tmp_path)
    assert found.pictures == 120
    torch.testing.assert_close(found.ratio(others), known.ratio(others), rtol=1e-3, atol=1e-3)
    (tmp_path / FAMILIAR).write_bytes(b"{}")
    with pytest.raises(CheckpointError, match="artquant familiar"):
        Familiar.read(tmp_path)


def drawn(draw, size=(40, 40)):
    """Soft coloured clouds, the training pictures' kind."""
    noise = Image.fromarray(draw.integers(60, 200, (8, 8, 3), dtype=np.uint8).astype(np.uint8))
    return noise.resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(2))


@pytest.fixture(scope="module")
def known(tiny_base, tmp_path_factory):
    """A scorer that knows clouds, and its folder of pictures."""
    folder = tmp_path_factory.mktemp("clouds")
    draw = np.random.default_rng(3)
    paths = [folder / f"{number:03d}.png" for number in range(LEAST)]
    for path in paths:
        drawn(draw).save(path)
    loaded = load_network(ModelFolder.open(tiny_base), Loading())
    prompt = get_prompt("artquant")
    readout = readout_of({}, APDD_SCALE).bound(loaded.processor, prompt)
    network = scoring_network(loaded.model)
    plain = Scorer(LoadedModel(network, loaded.processor, loaded.family, prompt, readout, ("Color",)))
    familiar = learn_familiar(plain, paths, progress=False)
    knowing = Scorer(
        LoadedModel(network, loaded.processor, loaded.family, prompt, readout, ("Color",), familiar=familiar)
    )
    return plain, knowing, paths


def test_scores_tell_it(known):
    plain, knowing, _ = known
    draw = np.random.default_rng(4)
    alike = [drawn(draw) for _ in range(20)]
    strange = [Image.new("RGB", (40, 40))]
    scores = knowing([*alike, *strange], batch_size=5, attributes=("Color",))
    assert all(score.unlike > 1 for score in scores[20:])
    assert np.mean([score.unlike > 1 for score in scores[:20]]) <= 0.2
    for one, other in zip(scores, plain([*alike, *strange], batch_size=5, attributes=("Color",)), strict=True):
        assert other.unlike is None and "unlike" not in other.to_dict()
        assert one.score == other.score and one.attributes["Color"].score == other.attributes["Color"].score
        assert one.to_dict()["unlike"] == round(one.unlike, 4)
    single = [knowing([picture])[0].unlike for picture in alike[:3]]
    assert single == pytest.approx([score.unlike for score in scores[:3]], rel=1e-4)


def test_scores_beside_descriptions_tell_it_too(known):
    plain, knowing, _ = known
    shown = [drawn(np.random.default_rng(5)), Image.new("RGB", (40, 40))]
    told = [score.unlike for score, _ in knowing.score_and_describe(shown, (1,), max_new_tokens=2)]
    assert told == pytest.approx([score.unlike for score in knowing(shown)], rel=1e-4) and told[1] > 1
    assert all(score.unlike is None for score, _ in plain.score_and_describe(shown, (1,), max_new_tokens=2))


def test_too_few_pictures(known):
    plain, _, paths = known
    with pytest.raises(ArtQuantError, match=f"name {LEAST} or more"):
        learn_familiar(plain, paths[:-1], progress=False)


def test_a_prediction_line_keeps_it():
    line = json.loads(json.dumps(Score(5.0, 1.0, unlike=2.0).to_dict()))
    assert line == {"score": 5.0, "std": 1.0, "unlike": 2.0}
