"""ROC4MLLM's published code and a folder of it: tokens, logits, losses, scores (in the shared folder only)."""

import json
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from artquant.batches.dataset import ArtDataset, Collator
from artquant.batches.samples import encode_row
from artquant.cli import main
from artquant.config.schema import Loading, LossConfig
from artquant.data.images import load_image
from artquant.data.record_file import RecordFile
from artquant.infer.answers import generate
from artquant.infer.scorer import Scorer
from artquant.labels.rating_scale import APDD_SCALE
from artquant.models.family import NetworkInputs
from artquant.models.model_folder import ModelFolder
from artquant.models.mplug_owl2 import MPLUGOwl2Processor
from artquant.models.scoring_network import ScoringNetwork
from artquant.models.vocabulary import add_new_words
from artquant.models.weights import load_model, load_network
from artquant.readouts import readout_of
from artquant.texts.prompt import get_prompt
from artquant.train.objective import Objective

PROMPT = get_prompt("roc4mllm", "image")
QUESTION = "Please rate the aesthetics of the image."
WORDS = ("[SCORE]", *(f"[IMG{index}]" for index in range(10)))


@pytest.fixture(scope="module")
def golden(shared_folder):
    folder = shared_folder / "golden" / "roc4mllm"
    return folder / "checkpoint", json.loads((folder / "tokenization.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("legacy", [False, True])
def test_tokens(golden, legacy):
    """Of conversations and scoring prompts; white space beside added words is swallowed whatever their file says."""
    folder, expected = golden
    processor = MPLUGOwl2Processor.from_pretrained(folder, legacy=legacy)
    processor.add_words(WORDS)
    assert [processor.word_id(word) for word in WORDS] == list(range(32000, 32011))
    key = f"legacy_{str(legacy).lower()}"
    for name, conversation in expected["conversations"].items():
        assert processor.tokenizer(conversation["text"]).input_ids == conversation[key]["input_ids"], name
    for name, prompt in expected["prompts"].items():
        assert processor.tokenize(prompt["text"]) == prompt[key], name


def test_no_unknown_word_after_a_score(golden):
    """Where the published release had no piece without a word mark, it wrote <unk>; here the word is cut anew."""
    processor = MPLUGOwl2Processor.from_pretrained(golden[0])
    processor.add_words(WORDS)
    for word in ("fine", "lovely", "Magnificent", ".", "...", "油画"):
        ids = processor.tokenize(f"Rate: [SCORE] {word}")
        assert processor.tokenizer.unk_token_id not in ids
        assert processor.decode(ids, skip_special_tokens=True) == f"Rate:[SCORE]{word}"


@pytest.fixture(scope="module")
def loaded(golden, one_thread):
    return load_model(ModelFolder.open(golden[0]), Loading())


@pytest.fixture(scope="module")
def arrays(shared_folder):
    with np.load(shared_folder / "golden" / "roc4mllm" / "expected.npz") as found:
        return dict(found)


def test_published_folder_says_how_it_is_read(loaded, arrays):
    """Range, ids and prompt; what it holds beside a network's weights is no fault."""
    readout, prompt = loaded.readout, loaded.prompt
    assert (readout.kind, readout.low, readout.high, readout.position_id) == ("score_tokens", 1.0, 10.0, 32000)
    assert readout.token_ids == tuple(range(32001, 32011))
    asked = loaded.processor.conversation(prompt.exchange(QUESTION))
    assert loaded.processor.tokenize(asked) == arrays["assessment_prompt_ids"].ravel().tolist()


BATCHES = ("single", "multi", "comment", "text", "turns")
TERMS = ("score_l1", "score_ce", "score_emd_batch")


def pictures_by_name(shared_folder, names):
    folders = (shared_folder / "images", shared_folder / "golden" / "preprocessing")
    return [next(folder / name for folder in folders if (folder / name).is_file()) for name in names]


def read_batch(published, shared_folder, folder, processor, readout):
    """Published records as a batch that training reads."""
    records = [
        record if "gt_score" in record else record | {"id": str(number), "task_type": "description"}
        for number, record in enumerate(published)
    ]
    paths = pictures_by_name(shared_folder, [record["image"] for record in records])
    records = [record | {"image": str(path)} for record, path in zip(records, paths, strict=True)]
    file = folder / "records.json"
    file.write_text(json.dumps(records), encoding="utf-8")
    dataset = ArtDataset(RecordFile(file, folder), processor, PROMPT, readout, APDD_SCALE.values, 2048)
    return Collator(processor, 2048)([dataset[index] for index in range(len(dataset))])


@pytest.fixture(scope="module")
def batch_of(golden, loaded, arrays, shared_folder, tmp_path_factory):
    """A golden batch by name, from the published records and the picture files."""
    published = json.loads((golden[0].parent / "batches.json").read_text(encoding="utf-8"))

    def read(name):
        folder = tmp_path_factory.mktemp(name)
        batch = read_batch(published[name], shared_folder, folder, loaded.processor, loaded.readout)
        pixels = torch.from_numpy(arrays[f"{name}_pixel_values"])
        torch.testing.assert_close(batch.inputs["pixel_values"], pixels, rtol=0, atol=1e-6)
        # The last digit of a pixel shows in the last of a gradient.
        return replace(batch, inputs=NetworkInputs(batch.inputs.tensors | {"pixel_values": pixels}))

    return read


@pytest.mark.parametrize("name", BATCHES)
@torch.no_grad()
def test_records_to_logits_and_losses(loaded, arrays, batch_of, name):
    """Places, learned tokens, logits, scores and every term, at every weighting."""
    expected = {key.removeprefix(f"{name}_"): value for key, value in arrays.items() if key.startswith(f"{name}_")}
    batch = batch_of(name)
    real, subset = torch.from_numpy(expected["merged_attention_mask"]).bool(), arrays["vocab_subset"].astype(int)
    assert torch.equal(batch.inputs["attention_mask"].bool(), real)
    labels = torch.from_numpy(expected["merged_labels"]).long()
    learned = torch.full_like(labels, -100).flatten()
    learned[batch.text.positions + 1] = batch.text.token_ids
    assert torch.equal(learned, labels.flatten())
    logits = loaded.network.plain(**batch.inputs).logits
    np.testing.assert_allclose(logits[real][:, subset], expected["logits"][real], rtol=0, atol=1e-4)
    np.testing.assert_allclose(logits[real].logsumexp(-1), expected["logsumexp"][real], rtol=0, atol=1e-4)
    if name == "text":
        terms = normalised(loaded, batch, LossConfig())
        assert terms["description"].item() == pytest.approx(float(expected["text_loss"]), rel=1e-4)
        return
    width = labels.shape[1]
    places = [[position // width, position % width] for position in batch.scored.positions.tolist()]
    assert places == expected["score_positions"].tolist()
    scores = loaded.readout.read(loaded.network.see(batch.inputs, batch.scored.positions))
    np.testing.assert_allclose(scores.score, expected["score"].ravel(), rtol=0, atol=2e-4)
    np.testing.assert_allclose(scores.columns["logits"], expected["score_logits"], rtol=0, atol=1e-4)
    for row, weights in enumerate(arrays["weightings"].tolist()):
        objective, terms = weighted(loaded, weights), normalised(loaded, batch, weighted(loaded, weights).config)
        found = [("text", "score_text"), ("l1", TERMS[0]), ("ce", TERMS[1]), ("emd", TERMS[2])]
        for term, ours in ((term, ours) for term, ours in found if ours in terms):
            assert terms[ours].item() == pytest.approx(float(expected[f"{term}_loss"]), rel=1e-4, abs=3e-5), term
        assert objective.total(terms).item() == pytest.approx(float(expected["totals"][row]), rel=1e-4, abs=3e-5)


def weighted(loaded, weights):
    """The objective with the published total's weights: text 1, smooth L1, CE and EMD as given."""
    return Objective(loaded.readout, LossConfig(score_text=1.0, score=dict(zip(TERMS, weights, strict=True))))


def normalised(loaded, batch, config):
    """The terms of a step that consists of one batch; those that it has nothing of left out."""
    objective = Objective(loaded.readout, config)
    sums, counts = objective.sums(loaded.network, batch), objective.counts([batch])
    return {term: value / counts[term] for term, value in sums.items() if counts[term]}


class SixteenLanes(torch.autograd.Function):
    """Cross-entropy [M] in float32, the words' shares summed in 16 interleaved running sums.

    So torch's kernel does it with AVX-512, on which the golden values were made. A running sum that holds the likely
    word loses the shares too small to be added to it; of eight (AVX2) other shares are lost. Where the text is nearly
    certain the exact gradient is 2e-3 of the norm away from the golden one.
    """

    @staticmethod
    def forward(ctx, logits, token_ids):
        highest = logits.amax(-1, keepdim=True)
        shares = torch.nn.functional.pad((logits - highest).exp(), (0, -logits.shape[-1] % 16))
        sums = torch.zeros(len(logits), 16)
        for column in shares.view(len(logits), shares.shape[-1] // 16, 16).unbind(1):
            sums += column
        logarithms = logits - highest - sums.sum(-1, keepdim=True).log()
        ctx.save_for_backward(logarithms, token_ids)
        return -logarithms.gather(-1, token_ids[:, None])[:, 0]

    @staticmethod
    def backward(ctx, gradient):
        logarithms, token_ids = ctx.saved_tensors
        found = logarithms.exp()
        found[torch.arange(len(found)), token_ids] -= 1
        return found * gradient[:, None], None


@pytest.fixture
def summed_as_published(monkeypatch):
    """On other hardware than that of the golden values, their kernel's order of additions."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        monkeypatch.setattr("artquant.models.text_losses.token_cross_entropy", SixteenLanes.apply)


@pytest.mark.parametrize("row", range(6))
@pytest.mark.parametrize("name", ["single", "multi"])
@pytest.mark.usefixtures("summed_as_published")
def test_gradients(loaded, arrays, batch_of, name, row):
    network, objective = loaded.network.plain, weighted(loaded, arrays["weightings"][row].tolist())
    network.zero_grad()
    objective.total(normalised(loaded, batch_of(name), objective.config)).backward()
    parameters = dict(network.named_parameters())
    norms, projections = arrays[f"{name}_grad_norms_{row}"], arrays[f"{name}_grad_projections_{row}"]
    seed = json.loads(str(arrays["spec"]))["gradient_seed"]
    for parameter, norm, projection in zip(arrays["grad_names"].tolist(), norms, projections, strict=True):
        if parameter == "learned_weight":  # frozen, used nowhere
            assert norm == 0
            continue
        gradient = parameters[parameter].grad
        gradient = np.zeros(parameters[parameter].shape) if gradient is None else gradient.numpy().astype(np.float64)
        draw = np.random.default_rng([seed, zlib.crc32(parameter.encode())]).standard_normal(gradient.shape)
        room = 5e-5 * float(norm) + 1e-6
        assert np.linalg.norm(gradient) == pytest.approx(float(norm), abs=room), parameter
        assert (gradient * draw).sum() == pytest.approx(float(projection), abs=room), parameter
    for kind, table in (("head", "lm_head.weight"), ("embed", "model.embed_tokens.weight")):
        rows = arrays[f"{name}_grad_{kind}_rows_{row}"]
        np.testing.assert_allclose(parameters[table].grad[-11:], rows, rtol=0, atol=1e-5)
    if row != 5:
        return
    rows = parameters["model.embed_tokens.weight"].grad[-10:]
    assert not rows.any()  # score tokens occur in no text


def test_initial_rows(golden, arrays, shared_folder, tmp_path):
    """What a training from the base begins with, and its first loss."""
    start = ModelFolder.open(shared_folder / "golden" / "checkpoints" / "mplug-owl2-tiny")
    loaded = load_network(start, Loading())
    add_new_words(loaded.model, loaded.processor, WORDS)
    tables = {"head": loaded.model.get_output_embeddings(), "embed": loaded.model.get_input_embeddings()}
    for kind, table in tables.items():
        assert len(table.weight) == 32011
        np.testing.assert_allclose(table.weight[-11:].detach(), arrays[f"initial_{kind}_rows"], rtol=0, atol=1e-6)
    published = json.loads((golden[0].parent / "records.json").read_text(encoding="utf-8"))
    records = [record for record in published if not isinstance(record["gt_score"], list)][:4]
    readout = readout_of({"kind": "score_tokens"}, APDD_SCALE).bound(loaded.processor, PROMPT)
    network = ScoringNetwork(loaded.model, loaded.family.parts(loaded.model))
    batch = read_batch(records, shared_folder, tmp_path, loaded.processor, readout)
    objective = Objective(readout, LossConfig(score_text=1.0, score={"score_l1": 1.0, "score_ce": 10.0}))
    with torch.no_grad():
        sums, counts = objective.sums(network, batch), objective.counts([batch])
    loss = objective.total({term: value / counts[term] for term, value in sums.items() if counts[term]})
    assert loss.item() == pytest.approx(float(arrays["initial_loss"]), rel=1e-4)


@pytest.fixture(scope="module")
def answers(golden):
    return json.loads((golden[0].parent / "expected_pictures.json").read_text(encoding="utf-8"))


def test_picture_files_to_scores(golden, answers, shared_folder, capsys):
    """Through the command line, with the position given; the published code generates it."""
    pictures = map(str, pictures_by_name(shared_folder, answers))
    assert main(["score", *pictures, "--model", str(golden[0]), "--json", "--dtype", "float32"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 12
    for line, answer in zip(lines, answers.values(), strict=True):
        assert line["score"] == pytest.approx(answer["assessment"]["scores"][0], abs=2e-4)
        assert line["scores"] == [line["score"]] and line["names"] == ["aesthetics"]


def numbers_apart(text):
    """A text with its numbers taken out, and these."""
    return re.sub(r"\d+\.\d+", "#", text), [float(number) for number in re.findall(r"\d+\.\d+", text)]


@pytest.mark.parametrize("kind", ["assessment", "multi", "comment"])
def test_picture_files_to_texts(golden, loaded, answers, arrays, shared_folder, capsys, kind):
    """The text, a number in every place (published: in the first); every score read, and named."""
    spec = json.loads(str(arrays["spec"]))["questions"]
    question = {"assessment": spec["single"][0]}.get(kind) or spec[kind]
    asked = loaded.processor.conversation(loaded.prompt.exchange(question))
    assert loaded.processor.tokenize(asked) == arrays[f"{kind}_prompt_ids"].tolist()
    expected = {name: answer[kind] for name, answer in answers.items() if kind in answer}
    assert expected
    pictures = [str(path) for path in pictures_by_name(shared_folder, expected)]
    options = ["--model", str(golden[0]), "--json", "--dtype", "float32", "--question", question]
    for command in (["describe", *pictures], ["score", "--generate", *pictures]):
        assert main([*command, *options]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        for line, answer in zip(lines, expected.values(), strict=True):
            said, numbers = numbers_apart(line.get("text") or line["description"])
            text, first = numbers_apart(answer["text"])
            assert said == text.replace("[SCORE]", "#") and len(numbers) == len(answer["scores"])
            np.testing.assert_allclose(line["scores"], answer["scores"], rtol=0, atol=2e-4)
            np.testing.assert_allclose(numbers, answer["scores"], rtol=0, atol=2e-4)
            assert numbers[:1] == pytest.approx(first, abs=2e-4) and line["names"][0] == "aesthetics"
            assert line.get("score", first[0]) == pytest.approx(answer["score"], abs=2e-4)
            if kind == "multi":
                assert line["names"] == ["aesthetics", "composition", "color"]


def test_one_call(golden, answers, shared_folder):
    """A list of pictures in, texts and scores out, with a stated number of decimals, as one batch."""
    scorer = Scorer.from_pretrained(golden[0], device="cpu")
    images = [load_image(path) for path in pictures_by_name(shared_folder, answers)]
    _, ids = generate(
        scorer.loaded,
        scorer.device,
        [encode_row(scorer.processor, scorer.loaded.prompt.exchange(QUESTION))] * len(images),
        [scorer.processor.picture(image) for image in images],
        64,
    )
    for row, answer in zip(ids.tolist(), answers.values(), strict=True):
        assert row[: len(answer["assessment"]["generated_ids"])] == answer["assessment"]["generated_ids"]
    question = "Please rate the aesthetics of the image and provide some comments."
    together, alone = (scorer.answer(images, question, batch_size=size) for size in (12, 1))
    assert {len(answer.scores) for answer in together} >= {1, 2}  # unequal numbers in a batch
    for one, other in zip(together, alone, strict=True):
        assert numbers_apart(one.text)[0] == numbers_apart(other.text)[0] and one.names == other.names
        found, wanted = ([score.score for score in answer.scores] for answer in (one, other))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    texts, scores = scorer.assess(images, decimals=2)
    for text, score, answer in zip(texts, scores, answers.values(), strict=True):
        assert f" {score:.2f} " in text and score == pytest.approx(answer["assessment"]["score"], abs=0.0051)
    [(path, alone)] = [
        (name, answer["alone_precision_2"]) for name, answer in answers.items() if "alone_precision_2" in answer
    ]
    [image] = [load_image(path) for path in pictures_by_name(shared_folder, [path])]
    assert scorer.assess([image], decimals=2) == ([alone["text"]], [alone["score"]])


def test_weights_are_no_words(golden, tmp_path, capsys):
    """Rating words' values make no sense here."""
    assert main(["score", str(tmp_path / "a.png"), "--model", str(golden[0]), "--weights", "5,4,3,2,1"]) != 0
    assert "leave out --weights" in capsys.readouterr().err


def test_the_preprocessor_that_the_published_training_does_not_write(golden, shared_folder, tmp_path, capsys):
    """Is taken from the base, the words with their ids too; or its absence is said."""
    folder, base = tmp_path / "model", shared_folder / "golden" / "checkpoints" / "mplug-owl2-tiny"
    folder.mkdir()
    for file in golden[0].iterdir():
        if file.name != "preprocessor_config.json":
            (folder / file.name).symlink_to(file)
    picture = str(shared_folder / "images" / "golden_gate.jpg")
    assert main(["score", picture, "--model", str(folder)]) != 0
    assert "no preprocessor; name the base model's folder" in capsys.readouterr().err
    assert main(["score", picture, "--model", str(folder), "--base", str(base), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["score"] == pytest.approx(6.5883, abs=2e-4)
