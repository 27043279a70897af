"""Model folders are whole or refused: files removed, cut or changed, foreign contents, settings that make no sense."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cards import unlisted
from PIL import Image
from safetensors.torch import load_file, save_file

from artquant.cli import main
from artquant.config.schema import Loading
from artquant.errors import ArtQuantError
from artquant.infer.scorer import Scorer
from artquant.labels.rating_scale import RatingScale
from artquant.models.familiar import FAMILIAR, Familiar
from artquant.models.family import CheckpointError
from artquant.models.model_card import CARD, CARD_MARK, Card
from artquant.models.model_folder import ModelFolder
from artquant.models.patterns import pattern_fault
from artquant.models.weights import load_model, load_network, save_model
from artquant.readouts import readout_of
from artquant.texts.prompt import get_prompt

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS, SCORES = ("excellent", "good", "fair", "poor", "bad"), (10.0, 7.5, 5.0, 3.5, 1.0)


@pytest.fixture(scope="module")
def model(tiny_base, tmp_path_factory) -> Path:
    """A whole model of ours."""
    network = load_network(ModelFolder.open(tiny_base), Loading())
    prompt = get_prompt("published-train", "image")
    readout = readout_of({}, RatingScale(WORDS, SCORES)).bound(network.processor, prompt)
    folder = tmp_path_factory.mktemp("whole") / "model"
    save_model(folder, network.model, network.processor, network.family, Card(prompt, readout))
    return folder


@pytest.fixture
def copy(model, tmp_path) -> Path:
    return shutil.copytree(model, tmp_path / "copy")


@pytest.fixture
def foreign(copy) -> Path:
    """The same without a list of its files: told by what it holds."""
    return unlisted(copy)


def change_byte(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


DAMAGES: tuple[Callable[[Path], None], ...] = (
    Path.unlink,
    lambda file: os.truncate(file, file.stat().st_size // 2),
    change_byte,
)


def test_any_file_removed_cut_or_changed(model, copy, capsys, monkeypatch):
    """Refused at loading where files are small; of large ones what sizes do not tell is found by `check`."""
    names = sorted(file.name for file in model.iterdir())
    assert {CARD, "config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.model"} <= set(names)
    for name in names:
        for damage in DAMAGES:
            damage(copy / name)
            with pytest.raises(ArtQuantError) as error:
                ModelFolder.open(copy)
            assert str(copy) in str(error.value) and "\n" not in str(error.value)
            assert main(["check", str(copy)]) == 1
            shutil.copy(model / name, copy / name)
    assert main(["check", str(copy)]) == 0
    assert "files are as they were written" in capsys.readouterr().out.splitlines()[-1]
    monkeypatch.setattr("artquant.models.model_card.SMALL", 0)
    change_byte(copy / "model.safetensors")
    ModelFolder.open(copy)
    assert main(["check", str(copy)]) == 1
    assert "model.safetensors is not as it was written" in capsys.readouterr().out


def test_every_byte_of_a_card_counts(copy):
    card, last = (copy / CARD).read_bytes(), ""
    for place in range(0, len(card), 37):
        data = bytearray(card)
        data[place] ^= 1
        (copy / CARD).write_bytes(data)
        if data.split() == card.split():
            continue
        with pytest.raises(ArtQuantError) as error:
            ModelFolder.open(copy)
        last = str(error.value)
    assert str(copy) in last


def test_cards_of_earlier_versions(foreign, capsys):
    assert load_model(ModelFolder.open(foreign), Loading()).prompt.name == "published-train"
    (foreign / "training_args.bin").write_bytes(b"no weights, though its name ends as theirs do")
    assert main(["check", str(foreign)]) == 0
    assert "no artquant.json lists the folder's files" in capsys.readouterr().out


def test_what_is_saved_elsewhere_has_no_mark(copy, tmp_path):
    assert json.loads((copy / "config.json").read_text())[CARD_MARK] is True
    load_network(ModelFolder.open(copy), Loading()).model.save_pretrained(tmp_path / "elsewhere")
    assert CARD_MARK not in json.loads((tmp_path / "elsewhere" / "config.json").read_text())


def test_a_file_that_came_later(copy, capsys):
    Familiar.of(torch.randn(60, 4, generator=torch.Generator().manual_seed(0))).write(copy)
    assert main(["check", str(copy)]) == 0
    change_byte(copy / FAMILIAR)
    with pytest.raises(CheckpointError, match=rf"{FAMILIAR} is not as it was written"):
        ModelFolder.open(copy)
    (copy / FAMILIAR).unlink()  # to learn anew
    ModelFolder.open(copy)
    assert main(["check", str(copy)]) == 1
    assert f"{FAMILIAR} is missing" in capsys.readouterr().out


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float8_e4m3fn], ids=str)
@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_only_floating_point_tensors_are_weights(foreign, dtype, form):
    tensors = load_file(foreign / "model.safetensors")
    tensors["lm_head.weight"] = tensors["lm_head.weight"].to(dtype)
    save_file(tensors, foreign / "model.safetensors")
    if form == "bin":
        torch.save(tensors, foreign / "pytorch_model.bin")
        (foreign / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"tensor lm_head.weight holds|cannot be loaded"):
        load_network(ModelFolder.open(foreign), Loading())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(foreign, value, capsys):
    tensors = load_file(foreign / "model.safetensors")
    tensors["model.norm.weight"][0] = value
    save_file(tensors, foreign / "model.safetensors", {"format": "pt"})
    with pytest.raises(ArtQuantError, match="score that is not finite"):
        Scorer.from_pretrained(foreign, device="cpu")(Image.new("RGB", (8, 8)))
    assert main(["check", str(foreign)]) == 1
    assert "tensor model.norm.weight is not finite" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.json", {"num_hidden_layers": 1_000_000}, "num_hidden_layers is 1e+06"),
        ("config.json", {"hidden_size": 65536, "intermediate_size": 65536}, "config.json: is of a network of"),
        ("config.json", {"rms_norm_eps": 1e30}, "rms_norm_eps is 1e+30"),
        ("config.json", {"initializer_range": 1e300}, "initializer_range is 1e+300"),
        ("config.json", {"image_token_index": 5}, "image_token_index 5 is a word"),
        ("config.json", {"num_attention_heads": 7}, "has another shape"),
        ("config.json", {"num_hidden_layers": "two"}, "config.json: "),
        ("preprocessor_config.json", {"image_std": [0, 0, 0]}, "image_std is 0"),
        ("preprocessor_config.json", {"size": 42, "crop_size": 42}, "makes pictures of 42 pixels"),
        ("preprocessor_config.json", {"resample": [[[]]]}, "resampling"),
        ("preprocessor_config.json", [], "preprocessor"),
        ("processor_config.json", {"image_sequence_length": 17.5}, "17.5 positions"),
        ("processor_config.json", {"image_sequence_length": 3}, "3 positions"),
        ("tokenizer_config.json", "[" * 100_000, "tokenizer_config.json line 1: not usable JSON"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense(foreign, file, change, message):
    values = json.loads((foreign / file).read_text())
    text = change if isinstance(change, str) else json.dumps(values | change if isinstance(change, dict) else change)
    (foreign / file).write_text(text)
    if file == "preprocessor_config.json":
        (foreign / "processor_config.json").unlink(missing_ok=True)  # which would be read instead
    with pytest.raises(ArtQuantError) as error:
        load_model(ModelFolder.open(foreign), Loading())
    assert message in str(error.value) and str(foreign) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("token", [-(10**12), -1, 10**6])
def test_a_readout_of_no_token_is_refused(foreign, token):
    card = json.loads((foreign / CARD).read_text())
    card["readout"]["token_ids"][0] = token
    (foreign / CARD).write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match=f"read at token {token}, but the network has"):
        load_model(ModelFolder.open(foreign), Loading())


def test_numbers_that_no_float_holds_are_refused(foreign):
    card = json.loads((foreign / CARD).read_text())
    card["readout"]["weights"][0] = 10**400
    (foreign / CARD).write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match="not a model card"):
        load_model(ModelFolder.open(foreign), Loading())


def test_a_pickle_is_not_advised_to_be_executed(foreign):
    class Program:
        def __reduce__(self):
            return os.mkdir, (str(foreign / "executed"),)

    (foreign / "model.safetensors").unlink()
    torch.save({"a": Program(), "b": torch.zeros(100_000)}, foreign / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"holds more than tensors \(posix.mkdir\).*as safetensors") as error:
        load_network(ModelFolder.open(foreign), Loading())
    assert "weights_only" not in str(error.value) and not (foreign / "executed").exists()


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "(?:.|.)" * 40 + "Z", ".?" * 60 + "Z"], ids=["nested", "alternatives", "optional"]
)
def test_patterns_that_never_end(pattern):
    fault = pattern_fault([pattern], ["a" * 60, "model.layers.0.self_attn.q_proj." * 3])
    assert fault is not None and "takes over a second" in fault


def test_other_patterns():
    names = [f"model.layers.{layer}.self_attn.{name}" for layer in range(200) for name in ("q_proj", "v_proj")]
    own = r"(?:.*?(?:language|text).*?(?:attn|mlp).*?(?:k_proj|q_proj).*?)|model\.layers\.\d{1,}\.self_attn\.(q|v)_proj"
    assert pattern_fault([own, r".*\.self_attn\.(q_proj|v_proj)", r"^(?!.*vision).*q_proj"], names) is None
    assert "is no regular expression" in str(pattern_fault(["("], names))


def test_a_folder_that_may_not_be_read(copy, monkeypatch):
    """As for users that are not root."""
    is_file = Path.is_file

    def refused(path: Path) -> bool:
        if path.parent == copy:
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refused)
    with pytest.raises(CheckpointError, match=rf"{copy / CARD}: cannot be read: Permission denied; let yourself read"):
        ModelFolder.open(copy)
