"""The card that people read: a bundle's Markdown, written from its TOML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dicom_sr.findings import Condition

_TEXT = """# Model card: {name} {version}

**Non-commercial research use only.** The weights were trained on data under that limit
(RSNA LumbarDISC, and SPIDER under CC BY 4.0); the program around them is Apache-2.0.
Not a medical device: an unverified second reader for research.

## What it does

Four small networks (EfficientNet-Lite0 encoders) find the five lumbar disc levels on
sagittal T2, the ten foramina on sagittal T1, the canal and both lateral recesses on axial
T2, and grade each of 25 targets as Normal/Mild, Moderate or Severe. Levels are counted
upward from the lowest disc; five lumbar vertebrae are assumed.

## Data

| network | trained on | studies kept out |
|---|---|---|
| sagittal_points | 6,501 T1 slices with foraminal points, 302 SPIDER T2 masks, phantoms | a fifth |
| axial_points, axial_grades | 2,485 axial T2 crops of 445 studies, phantoms | a third |
| foraminal_grades | 15,478 graded foramina of 1,551 studies, phantoms | a third |

Whole studies are split by the crc32 of their id.

## Measured on the real studies kept out

| condition | targets | weighted log loss | best constant | AUC severe | temperature |
|---|---|---|---|---|---|
{rows}

| detector | points | median error (image width) | within 4 % of the width |
|---|---|---|---|
{detectors}

The loss is the challenge's (weights 1/2/4). The temperature of each
condition and the curve from a detector's heat to its confidence were fitted on the same
studies. Graders were measured on crops at annotated places, the axial detector on windows
moved by up to 10 mm from the canal, the sagittal detector on whole slices. Probabilities shown
to people are posteriors: the training weights are divided out.

## Do not use it for

Post-operative or instrumented spines, fracture, tumour, infection, scoliosis surgery
planning, patients under 18, contrast-enhanced series, transitional anatomy: none was
labelled in the training data. No figure here says how it does on your scanner.

## Files

| file | sha256 |
|---|---|
{files}

Device UID {device_uid}: a retraining gets another.
"""


def to_markdown(card: Mapping[str, Any]) -> str:
    """The Markdown of a card that `bundling.describe` made."""
    rows = []
    for condition in Condition:
        figures = card["figures"][condition.value]
        rows.append(
            f"| {condition.words} | {figures['held_out_targets']} "
            f"| {figures['weighted_log_loss']:.3f} | {figures['constant_log_loss']:.3f} "
            f"| {figures['severe_auc']:.3f} | {card['temperatures'][condition.value]:.2f} |"
        )
    detectors = []
    for name in ("sagittal_points", "axial_points"):
        figures = card["figures"][name]
        detectors.append(
            f"| {name} | {figures['held_out_points']} "
            f"| {100 * figures['median_error_of_width']:.2f} % "
            f"| {100 * figures['right_within_4_percent']:.1f} % |"
        )
    files = [f"| {entry['file']} | `{entry['sha256']}` |" for entry in card["networks"].values()]
    return _TEXT.format(
        name=card["name"],
        version=card["version"],
        device_uid=card["device_uid"],
        rows="\n".join(rows),
        detectors="\n".join(detectors),
        files="\n".join(files),
    )
