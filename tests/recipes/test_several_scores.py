"""Answers that hold several scores: learned together, in batches of unequal numbers; wrong numbers are refused."""

import json

import pytest
import torch

from artquant.batches.dataset import ArtDataset, Collator
from artquant.config.schema import Loading, LossConfig
from artquant.data.record_file import RecordFile
from artquant.labels.rating_scale import APDD_SCALE
from artquant.models.model_folder import ModelFolder
from artquant.models.scoring_network import ScoringNetwork
from artquant.models.vocabulary import add_new_words
from artquant.models.weights import load_network
from artquant.readouts import Seen, readout_of
from artquant.texts.prompt import get_prompt
from artquant.train.objective import Objective

FIVE = (
    "Color [SCORE], light [SCORE], mood [SCORE], order [SCORE], all of it [SCORE]. The trees stand close; it is calm."
)
THREE = "The color is [SCORE], the light is [SCORE] and the mood is [SCORE]. A calm scene."
TOKENS = {"readout": {"kind": "score_tokens"}}


def with_several(lab, folder, scores, answer, name="several.json"):
    """The demo's score records, of which the first holds several scores."""
    records = json.loads(lab.records("score").read_text())
    records[0] |= {"gt_score": scores, "level_probs": None}
    records[0]["conversations"][1]["value"] = answer
    file = folder / name
    file.write_text(json.dumps(records))
    return file


def test_trained_through_the_command(lab, tmp_path):
    file = with_several(lab, tmp_path, [3.0, 7.5, 9.0], THREE)
    run = lab.train(tmp_path, lab.stage("scores", {file: 1}, max_steps=2), **TOKENS)
    assert all(line["loss_score_l1"] > 0 for line in lab.history(run, "scores"))


def test_batches_of_unequal_numbers_are_the_samples_one_by_one(lab, tmp_path):
    """No, one, three and five scores in a row: sums of the losses, how many they are of, and the scores themselves."""
    loaded = load_network(ModelFolder.open(lab.base), Loading())
    prompt, readout = get_prompt("artquant"), readout_of(TOKENS["readout"], APDD_SCALE)
    add_new_words(loaded.model, loaded.processor, readout.new_words)
    with torch.no_grad():  # rows that tell the score tokens apart
        loaded.model.get_output_embeddings().weight[-11:].normal_(std=0.3, generator=torch.Generator().manual_seed(0))
    readout = readout.bound(loaded.processor, prompt)
    network = ScoringNetwork(loaded.model, loaded.family.parts(loaded.model)).eval()
    objective = Objective(readout, LossConfig(score={"score_ce": 1.0, "score_emd": 1.0}))
    several = with_several(lab, tmp_path, [3.0, 7.5, 9.0], THREE)
    records = json.loads(several.read_text())
    records[1] |= {"gt_score": [2.0, 4.5, 6.0, 8.0, 9.5], "level_probs": None}
    records[1]["conversations"][1]["value"] = FIVE
    several.write_text(json.dumps(records))
    files = [several, lab.records("descriptions_level_1")]
    items = []
    for file in files:
        records = RecordFile(file, lab.images)
        dataset = ArtDataset(records[:3], loaded.processor, prompt, readout, APDD_SCALE.values, 512)
        items += [dataset[index] for index in range(3)]
    collate = Collator(loaded.processor, 512)

    scores = []

    def sums(chosen):
        batch = collate(chosen)
        with torch.no_grad():
            outputs = network(batch.text.positions, batch.text.token_ids, batch.scored.positions, **batch.inputs)
        text_losses, seen = outputs.pop("text_losses"), Seen(**outputs)
        scores.append(readout.read(seen).score)
        found = objective.term_sums(text_losses, seen, batch)
        return {term: float(value) for term, value in found.items()}, objective.counts([batch])

    together, counts = sums(items)
    alone = [sums([item])[0] for item in items]
    assert counts["score_l1"] == 9 and counts["description"] > 0
    torch.testing.assert_close(scores[0], torch.cat(scores[1:]), rtol=0, atol=1e-5)
    for term, value in together.items():
        assert value == pytest.approx(sum(one[term] for one in alone), rel=1e-5)


@pytest.mark.parametrize(
    ("scores", "answer", "readout", "message"),
    [
        ([3.0, 4.0], "The color is [SCORE].", "score_tokens", "2 true scores, but the answer has 1 places for a score"),
        ([3.0], THREE, "score_tokens", "the answer has more places for a score than the 1 true scores"),
        ([3.0, 4.0], THREE, "rating_levels", "2 true scores in one answer, which readout rating_levels cannot hold"),
        ([3.0, 40.0, 5.0], THREE, "score_tokens", '"gt_score" 40 is outside 1 to 10'),
        ([], THREE, "score_tokens", '"gt_score" is an empty list'),
        ([3.0, None, 5.0], THREE, "score_tokens", '"gt_score" entry 2 must be a number'),
    ],
    ids=["more scores", "more places", "rating words", "off the scale", "none", "no number"],
)
def test_wrong_numbers(lab, tmp_path, capsys, scores, answer, readout, message):
    file = with_several(lab, tmp_path, scores, answer)
    config = lab.write(tmp_path, lab.stage("scores", {file: 1}), readout={"kind": readout})
    assert lab.artquant("train", "--config", config) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error and f"{file} record 1" in error
    assert lab.artquant("check", config, "--no-pictures") == 1
    assert message in capsys.readouterr().out
