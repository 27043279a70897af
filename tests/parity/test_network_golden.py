"""The network against the published code's, in float32 on the CPU (fixtures: see tests/golden.py).

Tolerances are those of the golden README: hidden states and logits 1e-4 absolute, losses 1e-4 relative, gradients 1e-3
relative, generated tokens equal. Largest deviations measured (both networks, both attentions): hidden states
1e-6, logits 1.5e-6, losses 1.2e-7,
gradient norms 3e-4 (the large ones, whose golden norm was summed in float32), projections 2.7e-6 of the norm.
"""

import zlib

import numpy as np
import pytest
import torch
from golden import ATTENTIONS, SCALES, GoldenModel, golden_model, loss_weights, seen_logits

LOSS = 1e-4  # relative
LOGITS = 1e-4  # absolute
GRADIENT = 1e-3  # relative
ZERO_GRADIENT = 1e-7  # absolute; the smallest other norm is 9e-4

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=[f"{scale}-{attention}" for scale in SCALES for attention in ATTENTIONS])
def golden(request) -> GoldenModel:
    return golden_model(*request.param.split("-"))


@torch.no_grad()
def test_vision_encoder_and_abstractor(golden):
    pictures, arrays = golden.pictures(0, 1, 2, 3), golden.arrays
    vision = golden.network.model.vision_model(pictures).last_hidden_state.numpy()
    np.testing.assert_allclose(vision, arrays["vision_last_hidden_state"], rtol=0, atol=LOGITS)
    features = golden.network.get_image_features(pictures).pooler_output.numpy()
    np.testing.assert_allclose(features, arrays["abstractor_last_hidden_state"], rtol=0, atol=LOGITS)


@torch.no_grad()
@pytest.mark.parametrize("masked", [False, True])
def test_score_logits(golden, masked):
    arrays = golden.arrays
    batch = golden.processor.pad([golden.processor.expand(arrays["score_prompt_ids"].tolist())] * 4)
    if not masked:
        del batch["attention_mask"]
    logits = golden.network(**batch, pixel_values=golden.pictures(0, 1, 2, 3)).logits
    np.testing.assert_allclose(logits[..., arrays["vocab_subset"]], arrays["score_logits"], rtol=0, atol=LOGITS)
    np.testing.assert_allclose(logits.logsumexp(-1), arrays["score_logsumexp"], rtol=0, atol=LOGITS)
    scores = golden.readout.read(seen_logits(logits[:, -1])).score
    np.testing.assert_allclose(scores, arrays["score_closed"], rtol=0, atol=LOGITS)


@torch.no_grad()
def test_description_loss(golden):
    loss = golden.loss(golden.descriptions(), loss_weights(description=1.0))
    assert loss.item() == pytest.approx(golden.arrays["desc_loss"].item(), rel=LOSS)


@torch.no_grad()
def test_score_loss(golden):
    loss = golden.loss(golden.scores(), loss_weights(score_text=1.0, score_distribution=1.0))
    assert loss.item() == pytest.approx(golden.arrays["score_loss"].item(), rel=LOSS)


def test_mixed_loss_and_gradients(golden):
    """Both tasks in one batch; each parameter's gradient by its norm and its product with a drawn direction."""
    arrays = golden.arrays
    golden.network.zero_grad()
    items = golden.scores() + golden.descriptions()
    loss = golden.loss(items, loss_weights(description=1.0, score_text=0.05, score_distribution=0.05))
    assert loss.item() == pytest.approx(arrays["mixed_loss"].item(), rel=LOSS)
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in golden.network.named_parameters()}
    golden.network.zero_grad()

    assert sorted(gradients) == sorted(arrays["grad_names"].tolist())
    for name, norm, projection in zip(
        arrays["grad_names"].tolist(), arrays["grad_norms"], arrays["grad_projections"], strict=True
    ):
        gradient = gradients[name].double().numpy()
        direction = np.random.default_rng([golden.seed + 5, zlib.crc32(name.encode())]).standard_normal(gradient.shape)
        # A key bias of the abstractor shifts all of a query's attention weights alike: its true gradient is zero, and
        # what is found is rounding (of both sides), measured up to 1e-9.
        bound = ZERO_GRADIENT if name.endswith("attention.key.bias") else GRADIENT * norm
        assert abs(np.linalg.norm(gradient) - norm) <= bound, name
        assert abs((gradient * direction).sum() - projection) <= bound, name


@pytest.mark.parametrize(
    "options", [{}, {"use_cache": False}, {"padding": "left"}, {"padding": "right"}, {"batch": 1}], ids=str
)
def test_greedy_generation(golden, options):
    """The golden continuations: with and without cache, one by one, and beside a longer prompt with padding."""
    arrays = golden.arrays
    prompt = golden.processor.expand(arrays["gen_prompt_ids"].tolist())
    longer = golden.processor.expand(arrays["score_prompt_ids"].tolist())
    rows, pictures = [prompt, prompt], [0, 1]
    if "padding" in options:
        rows, pictures = [prompt, longer, prompt], [0, 2, 1]
    step = options.get("batch", len(rows))
    continuations = []
    for start in range(0, len(rows), step):
        batch = golden.processor.pad(rows[start : start + step], options.get("padding", "right"))
        generated = golden.network.generate(
            **batch,
            pixel_values=golden.pictures(*pictures[start : start + step]),
            max_new_tokens=20,
            do_sample=False,
            use_cache=options.get("use_cache", True),
        )
        continuations += generated[:, batch["input_ids"].shape[1] :].tolist()
    if "padding" in options:
        del continuations[1]
    assert continuations == arrays["gen_tokens"].tolist()


@pytest.mark.parametrize("scale", SCALES)
def test_fixtures_are_the_golden_values(shared_folder, scale):
    with np.load(shared_folder / "golden" / f"model_{scale}.npz") as original:
        for name, array in golden_model(scale).arrays.items():
            np.testing.assert_array_equal(array, original[name], err_msg=name)
