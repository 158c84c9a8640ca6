"""Zero-shot transfer: does an output trained on one assay predict another, as it is?

Outputs are matched by name, 'SuRE:K562=K562' (task, its output, measured output), not by number: a
number says something else as soon as a list of cells changes.

Shapes: S sequences, C measured outputs, O outputs of a source task.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import pandas as pd

from genomelm_utils.evaluation.promoter_activity import MEAN, activity_scores, check_values

METRICS = ("r", "rho")


@dataclass(frozen=True)
class Transfer:
    """An output of a source task that is to predict a measured output."""

    task: str
    source: str
    target: str


def parse_transfers(
    texts: Sequence[str], sources: Mapping[str, Sequence[str]], targets: Sequence[str]
) -> list[Transfer]:
    """Transfers from texts such as 'SuRE:K562=K562' or 'Sharpr:k562_minp_avg=K562'.

    sources: task -> names of its outputs. targets: measured outputs. Raises: ValueError for
        another form, or an unknown name, with the nearest one.
    """
    found = []
    for text in texts:
        left, equals, target = text.rpartition("=")
        task, colon, source = left.partition(":")
        if not (equals and colon and task and source and target):
            raise ValueError(f"transfer {text!r}, expected 'task:output=measured output'")
        _check_name(text, "task", task, list(sources))
        _check_name(text, f"output of {task}", source, list(sources[task]))
        _check_name(text, "measured output", target, list(targets))
        found.append(Transfer(task, source, target))
    return found


def transfers_by_number(
    text: str, sources: Mapping[str, Sequence[str]], targets: Sequence[str]
) -> list[Transfer]:
    """Transfers from the released script's flag: '-1,0,-1 -1,2,-1', one item per task in order.

    Each item holds, for each target, the number of a source output, or -1 for none.
    Source: Reddy et al. 2023, code, `eval_transfer_performance`, `--output_inds_to_compare`.
    """
    items = [item.split(",") for item in text.split()]
    if len(items) != len(sources) or any(len(item) != len(targets) for item in items):
        raise ValueError(
            f"{text!r}: expected {len(sources)} items ({', '.join(sources)}) of {len(targets)} "
            f"numbers each ({', '.join(targets)})"
        )
    found = []
    for (task, names), item in zip(sources.items(), items, strict=True):
        for target, number in zip(targets, map(int, item), strict=True):
            if number >= len(names) or number < -1:
                raise ValueError(
                    f"{text!r}: output {number} of {task}, expected -1 to {len(names) - 1}"
                )
            if number >= 0:
                found.append(Transfer(task, names[number], target))
    return found


def transfer_scores(
    values_SC: np.ndarray,
    outputs: Sequence[str],
    predictions: Mapping[str, np.ndarray],
    sources: Mapping[str, Sequence[str]],
    transfers: Sequence[Transfer],
    **options: object,
) -> pd.DataFrame:
    """r and rho of each transfer: task, source, target, metric, mean, low, high, n.

    values_SC: measured, columns named by `outputs`. predictions: task -> [S, O], columns named by
    `sources[task]` (expected bins for heads of bins, see `promoter_classes.expected_bins`). Scales
    differ between assays, so there is no R2. options: those of `activity_scores`.
    """
    values_SC = check_values(values_SC, outputs)
    parts = []
    for one in transfers:
        column = list(outputs).index(one.target)
        said_S = np.asarray(predictions[one.task])[:, list(sources[one.task]).index(one.source)]
        table = activity_scores(
            values_SC[:, [column]],
            {one.task: said_S[:, None]},
            [one.target],
            **({"subsets": ("all",)} | options),
        )
        kept = table[table["metric"].isin(METRICS) & (table["output"] != MEAN)]
        kept = kept.rename(columns={"model": "task", "output": "target"})
        parts.append(kept.assign(source=one.source))
    columns = ["task", "source", "target", "metric", "mean", "low", "high", "n"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _check_name(text: str, what: str, name: str, known: list[str]) -> None:
    if name not in known:
        lower = {one.lower(): one for one in known}
        near = get_close_matches(name.lower(), lower, 1)
        hint = f"; did you mean {lower[near[0]]!r}?" if near else ""
        shown = ", ".join(known[:10]) + (" ..." if len(known) > 10 else "")
        raise ValueError(f"transfer {text!r}: no {what} {name!r}, expected one of: {shown}{hint}")
