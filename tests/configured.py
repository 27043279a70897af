"""Configurations in files, and how the loader refuses them."""

from pathlib import Path

import pytest

from artquant.config.load import load_config
from artquant.config.schema import RunConfig
from artquant.errors import ArtQuantError

RUN = """
run: demo
base: ModelZoo/base
infer: {records: dataset/test.json, images: dataset/images}
stages:
  - name: descriptions
    order: in_order
    data:
      - {records: level_1.json, images: images}
      - {records: level_2.json, images: images, weight: 0.5}
  - name: scores
    data: [{records: score.json, images: images}]
    optimizer: {learning_rate: 1e-4, betas: [0.9, 0.95]}
    trainable: {lora: {target_modules: [q_proj, v_proj]}}
"""
DEMO = "texts: [a.json, b.json]\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path, overrides=(), schema=RunConfig) -> str:
    with pytest.raises(ArtQuantError) as caught:
        load_config(path, overrides, schema=schema)
    message = str(caught.value)
    assert "\n" not in message
    return message
