"""Folders of ArtiMuse's class that cannot be used: one line with the file or tensor (in the shared folder only)."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from artquant.cli import main
from artquant.models.whole import read_shards


@pytest.fixture(scope="module")
def folder(shared_folder):
    return shared_folder / "golden" / "artimuse"


class TestFaults:
    @pytest.fixture
    def copy(self, folder, tmp_path):
        copy = shutil.copytree(folder / "artimuse-tiny", tmp_path / "copy")
        for file in copy.iterdir():
            file.chmod(0o644)
        return copy

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"ps_version": "v1"}, "ps_version is 'v1', but only 'v2' can be computed"),
            ({"select_layer": -4}, "select_layer is -4"),
            ({"template": "Hermes-2"}, "template is 'Hermes-2'"),
            ({"vision_config": {}}, "does not say"),
            ({"llm_config": {"architectures": ["LlamaForCausalLM"]}}, "does not say"),
        ],
    )
    def test_other_networks(self, copy, capsys, change, message):
        config = json.loads((copy / "config.json").read_text()) | change
        (copy / "config.json").write_text(json.dumps(config))
        assert main(["score", "a.png", "--model", str(copy)]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert message in error and str(copy / "config.json") in error

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda tensors: tensors.pop("mlp1.1.weight"), "multi_modal_projector.linear_1.weight is missing"),
            (lambda tensors: tensors.update({"other.weight": torch.zeros(2)}), "other.weight is none of an InternVL"),
            (
                lambda tensors: tensors.update({"mlp1.0.bias": torch.zeros(3)}),
                "multi_modal_projector.layer_norm.bias has another shape",
            ),
        ],
        ids=["missing", "unknown", "shape"],
    )
    def test_tensors(self, copy, capsys, change, message):
        tensors = read_shards(copy)
        for file in copy.glob("*.safetensors*"):
            file.unlink()
        change(tensors)
        save_file(tensors, copy / "model.safetensors")
        assert main(["score", "a.png", "--model", str(copy)]) == 2
        assert message in capsys.readouterr().err.splitlines()[-1]

    @pytest.mark.parametrize("text", ["[]", "{}", '{"weight_map": {"mlp1.0.bias": 7}}'])
    def test_index_that_says_nothing(self, copy, capsys, text):
        index = copy / "model.safetensors.index.json"
        index.write_text(text, encoding="utf-8")
        assert main(["score", "a.png", "--model", str(copy)]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert str(index) in error and "does not say which file holds which tensor" in error

    def test_tokenizer_that_cuts_the_words(self, copy, capsys):
        merges = (copy / "merges.txt").read_text(encoding="utf-8").splitlines()
        (copy / "merges.txt").write_text("\n".join(line for line in merges if line != "e y"), encoding="utf-8")
        vocab = json.loads((copy / "vocab.json").read_text(encoding="utf-8"))
        assert "ey" in vocab
        assert main(["score", "a.png", "--model", str(copy)]) == 2
        assert "cuts 1 of the 101 value words into pieces (ey" in capsys.readouterr().err

    def test_values_of_words(self, folder, capsys):
        assert main(["score", "a.png", "--model", str(folder / "artimuse-tiny"), "--weights", "5,4,3,2,1"]) == 2
        assert "leave out --weights" in capsys.readouterr().err
