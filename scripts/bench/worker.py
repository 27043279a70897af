"""One state of the code in a process of its own: it loads a model once and does what it is asked, timing itself.

Run by `measure.Worker` as a file, with the tree to be measured first on PYTHONPATH: so it imports only what trees of
before have too. Requests and answers are lines of JSON.
"""

from __future__ import annotations

import inspect
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from artquant.batches.samples import encode_row
from artquant.data.images import load_image
from artquant.infer.scorer import Scorer
from artquant.models.mplug_owl2.vision import VisionAttention
from artquant.readouts import Seen


def published(scorer: Scorer, pictures: Sequence[Any]) -> list[float]:
    """Scores as the published code computes them: one picture at a time, every map kept, logits of all positions."""
    found, network, row = [], scorer.network.plain, encode_row(scorer.processor, scorer.loaded.prompt.scoring())
    maps: list[torch.Tensor] = []
    attentions = [module for module in network.modules() if isinstance(module, VisionAttention)]
    hooks = [one.register_forward_hook(lambda module, given, output: maps.append(output[1])) for one in attentions]
    for picture in pictures:
        inputs = scorer.processor.inputs([row], [picture]).to(scorer.device, network.dtype)
        with torch.inference_mode():
            outputs = network(**inputs, use_cache=False, output_attentions=True)
        last = int(inputs.ends()[0]) - 1
        seen = Seen(logits=outputs.logits[0, [last]].float(), hidden=outputs.logits[0, :0])
        found += scorer.loaded.readout.read(seen).score.tolist()
        maps.clear()
    for hook in hooks:
        hook.remove()
    return found


def _takes(function: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(function).parameters)


def works(arguments: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    """What can be asked of a loaded model."""
    mode = arguments["mode"]
    dtype = arguments["dtype"]
    loading = {"quantize": "dynamic_int8"} if dtype.endswith("int8") else {}
    loading |= {"dtype": dtype.partition("+")[0]} if dtype != "int8" else {}
    if mode == "published":
        loading |= {"attention": "eager"} | ({"plain": True} if "plain" in _takes(Scorer.from_pretrained) else {})
    scorer = Scorer.from_pretrained(arguments["model"], device=arguments["device"], **loading)
    files = [Path(file) for file in arguments["pictures"]]
    prepared = [scorer.processor.picture(load_image(file)) for file in files]

    def score(batch: int, count: int) -> list[float]:
        chosen = [prepared[index % len(prepared)] for index in range(count)]
        if mode == "published":
            return published(scorer, chosen)
        batches = [chosen[start : start + batch] for start in range(0, count, batch)]
        return [one.score for pictures in batches for one in scorer.score_pictures(pictures)]

    def describe(batch: int, count: int, tokens: int) -> list[str]:
        images = [load_image(files[index % len(files)]) for index in range(count)]
        return scorer.describe(images, max_new_tokens=tokens, batch_size=batch)

    return {"score": score, "describe": describe}


def main() -> None:
    """Answer until standard input ends."""
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print goes elsewhere
    arguments = json.loads(sys.stdin.readline())
    if arguments["mode"] != "published":
        with suppress(ImportError):  # trees of before have none
            from artquant.cli.memory import keep_freed_memory

            keep_freed_memory()
    torch.set_num_threads(arguments["threads"])
    known = works(arguments)
    print(json.dumps({"ready": True}), file=told)
    for line in sys.stdin:
        asked = json.loads(line)
        started = time.perf_counter()
        result = known[asked.pop("work")](**asked)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"seconds": seconds, "result": result, "peak": peak}), file=told)


if __name__ == "__main__":
    main()
