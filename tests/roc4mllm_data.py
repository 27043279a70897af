"""Records in the form that ROC4MLLM is published with, on the laboratory's pictures."""

import json

ROC = {"readout": {"kind": "score_tokens"}, "prompt": "roc4mllm", "subject": "image"}
RATE = "The aesthetic rate of the image is [SCORE]"
FIVE = RATE + "".join(
    f", the {name} rate of the image is [SCORE]" for name in ("composition", "DoF", "light", "content")
)


def turns(question, answer):
    return [{"from": "human", "value": f"<|image|>{question}"}, {"from": "gpt", "value": answer}]


def shares(score):
    """Of the ten tokens from 1 to 10, with this mean."""
    return [max(0.0, 1 - abs(score - value)) for value in range(1, 11)]


def published_records(lab):
    """Records as published: one score, five scores and a comment, three rounds; no ids."""
    records = [
        {"image": record["image"], "gt_score": record["gt_score"], "target": shares(record["gt_score"])}
        | {"conversations": turns("Please rate the aesthetics of the image.", f"{RATE}. ")}
        for record in json.loads(lab.records("score").read_text())
    ]
    for record, more in ((records[1], [4.5, 8.25, 2.0, 9.5]), (records[2], [4.5])):
        scores = [record["gt_score"], *more]
        record |= {"gt_score": scores, "target": [shares(score) for score in scores]}
    records[1]["conversations"] = turns("Rate the aesthetics, composition, DoF, light and content.", f"{FIVE}. Calm.")
    records[2]["conversations"] += [
        {"from": "human", "value": "And its light?"},
        {"from": "gpt", "value": "[SCORE], I think."},
        {"from": "human", "value": "Why?"},
        {"from": "gpt", "value": "It is soft."},
    ]
    return records
