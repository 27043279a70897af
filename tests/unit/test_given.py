"""Pictures as users hold them: every kind gives the same score, and what is none is named."""

import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import artquant
from artquant.errors import ArtQuantError
from artquant.infer.device import choose_device
from artquant.infer.given import as_names, as_pictures


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """[H, W, 3] of uint8."""
    return np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)


def forms(picture: np.ndarray, folder) -> dict[str, object]:
    """The same picture in every way it may be given."""
    file = folder / "picture.png"
    Image.fromarray(picture).save(file)
    channels_first = np.ascontiguousarray(np.moveaxis(picture, 2, 0))
    return {
        "path": file,
        "text": str(file),
        "PIL": Image.open(file),
        "array": picture,
        "array, channels first": channels_first,
        "array of floats": picture / 255,
        "array of float32": (picture / 255).astype(np.float32),
        "tensor": torch.from_numpy(channels_first),
        "tensor, channels last": torch.from_numpy(picture),
        "tensor of floats": torch.from_numpy(channels_first) / 255,
        "tensor of float64": (torch.from_numpy(channels_first) / 255).to(torch.float64),
        "opaque": np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)]),
    }


def test_every_form_is_the_same_picture(picture, tmp_path):
    for form, given in forms(picture, tmp_path).items():
        [found], single = as_pictures(given)
        assert single, form
        assert found.mode == "RGB" and np.array_equal(np.asarray(found), picture), form


def test_many_in_a_list_an_array_or_a_generator(picture, tmp_path):
    given = list(forms(picture, tmp_path).values())
    several = np.stack([picture, picture])
    for many, count in ((given, len(given)), (several, 2), (torch.from_numpy(several), 2), (iter(given), len(given))):
        found, single = as_pictures(many)
        assert not single and len(found) == count
        assert all(np.array_equal(np.asarray(one), picture) for one in found)
    assert as_pictures([]) == ([], False)


def test_grey_pictures(picture):
    grey = picture[:, :, 0]
    for given in (grey, grey[:, :, None], torch.from_numpy(grey.copy()), torch.from_numpy(grey.copy())[None]):
        [found], single = as_pictures(given)
        assert single and np.array_equal(np.asarray(found), np.repeat(grey[:, :, None], 3, axis=2))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (7, "int is no picture; give a path"),
        ([7], "picture 1: int is no picture"),
        (["missing.png"], "missing.png"),
        (b"bytes", "bytes is no picture"),
        ({"image": "a.jpg"}, "dict is no picture"),
        ("", "str is no picture"),
        (torch.full((3, 4, 4), -1.0, dtype=torch.bfloat16), "floats must be in 0 to 1, got -1 to -1"),
        (np.zeros((4, 4, 3), np.int64), "values of int64 have no known range"),
        (np.full((4, 4, 3), 200.0), "floats must be in 0 to 1, got 200 to 200"),
        (np.full((4, 4), np.nan), "some are not finite"),
        (torch.zeros(2, 5, 5, 5), "picture 1: a shape of [5, 5, 5] is no picture"),
        (np.zeros((0, 4, 3), np.uint8), "a shape of [0, 4, 3] is no picture"),
        (np.zeros((2, 2, 2, 2, 2)), "picture 1: a shape of [2, 2, 2, 2] is no picture"),
        (io.BytesIO(b"a\nb"), "BytesIO is no picture"),
        (torch.zeros(3, 4, 4).to_sparse(), "values cannot be read"),
    ],
)
def test_what_is_no_picture_is_named(given, message):
    with pytest.raises(ArtQuantError) as error:
        as_pictures(given)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_names_are_texts():
    assert as_names("Color") == ("Color",) and as_names(["Color", "Mood"]) == ("Color", "Mood") and as_names(()) == ()
    for given in (True, [1], None):
        with pytest.raises(ArtQuantError, match="is no name"):
            as_names(given)


@pytest.mark.parametrize(
    ("name", "message"), [("mps", "no Metal"), ("tpu", "must be auto, cpu, cuda"), ("meta", "must be auto, cpu, cuda")]
)
def test_devices_that_are_not_there_are_refused_by_name(name, message):
    with pytest.raises(ArtQuantError, match=f"{message}.*{name}|{name}.*{message}"):
        choose_device(name)


def test_a_folder_is_no_loaded_model():
    with pytest.raises(ArtQuantError, match=r"Scorer\.from_pretrained takes"):
        artquant.Scorer("runs/demo/scores/model")


def test_the_interface_stands_at_the_top_and_loads_torch_only_when_used():
    code = "import sys, artquant; assert 'torch' not in sys.modules; from artquant import Score, Scorer; print(Scorer)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("<class 'artquant.infer.scorer.Scorer'"), done.stderr
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        artquant.Nothing  # noqa: B018
