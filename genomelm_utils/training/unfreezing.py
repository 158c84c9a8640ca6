"""Progressive unfreezing and layer-wise rates: which learning rate which layer has, and from when.

Both are given to `training.loop.fit` as `lr_scales` and `lr_delays`. They find layers by the names
of transformers' BERT-like encoders (`...encoder.layer.N. ...`, `...embeddings. ...`); everything
else is the head.
"""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import nn

from genomelm_utils.training.optim import warmup_constant

MODES = ("corrected", "reference")
N_GROUPS = 3  # Source: FloraBERT, released config.yaml: two of six layers each
DELAY_STEPS = 500  # Source: CornBERT's documented default
PEAK_FACTOR = 0.5  # Source: released `training.py`

_LAYER = re.compile(r"^(.*)encoder\.layer\.(\d+)\.")


@dataclass(frozen=True)
class Unfreezing:
    """Groups from the lowest layers to the head, for `fit(schedule='constant', ...)`.

    `names`, `peaks`, `delays`: of each group. `lr_scales`, `lr_delays`: prefix of parameter names
    -> its group's. `frozen`: starts of names that are never trained, see `freeze_parameters`.
    """

    names: tuple[str, ...]
    peaks: tuple[float, ...]
    delays: tuple[int, ...]
    lr_scales: dict[str, float]
    lr_delays: dict[str, int]
    frozen: tuple[str, ...]

    def factors(self, step: int, warmup: int) -> list[float]:
        """The factor on the peak learning rate of each group at a step.

        0 before the group's delay, then up to its peak in `warmup` updates, then constant.
        """
        return [
            peak * warmup_constant(step - delay, warmup, step) if step >= delay else 0.0
            for peak, delay in zip(self.peaks, self.delays, strict=True)
        ]

    def curves(self, steps: int, warmup: int, every: int = 10) -> pd.DataFrame:
        """One row per group and every so many steps: `step`, `group`, `factor`; to be drawn."""
        rows = [
            {"step": step, "group": name, "factor": factor}
            for step in range(0, steps + 1, every)
            for name, factor in zip(self.names, self.factors(step, warmup), strict=True)
        ]
        return pd.DataFrame(rows)


def plan_unfreezing(
    task: nn.Module,
    *,
    n_groups: int = N_GROUPS,
    delay_steps: int = DELAY_STEPS,
    groups: str = "corrected",
) -> Unfreezing:
    """The head learns at once, each group of layers below it later and at half the rate.

    Group i from the top (0: head) begins after i x `delay_steps` updates and rises to 0.5^i.

    Args:
        task: module that is handed to `fit`, so that names agree.
        n_groups: groups of consecutive layers, as even as can be, the higher ones smaller.
        groups: 'corrected' puts the embeddings into the lowest group and trains the whole head;
            'reference' trains no embeddings, and of the head the first tensor only (defect B13).
    Source: CornBERT, 'delay' schedule of the released `training.py`.
    Raises: ValueError without encoder layers, or for more groups than layers.
    """
    if groups not in MODES:
        raise ValueError(f"groups is {groups!r}, expected one of: {', '.join(MODES)}")
    root, n_layers = find_layers(task)
    if not 1 <= n_groups <= n_layers:
        raise ValueError(f"n_groups is {n_groups}, expected 1 to {n_layers}, the encoder's layers")
    parts = np.array_split(np.arange(n_layers), n_groups)
    names, peaks, delays = [], [], []
    lr_scales, lr_delays = {}, {}
    for depth, layers in zip(range(n_groups, 0, -1), parts, strict=True):
        prefixes = [f"{root}encoder.layer.{layer}." for layer in layers]
        if depth == n_groups and groups == "corrected":
            prefixes.append(f"{root}embeddings.")
        first, last = layers[0] + 1, layers[-1] + 1
        names.append(f"layer {first}" if first == last else f"layers {first}-{last}")
        peaks.append(PEAK_FACTOR**depth)
        delays.append(depth * delay_steps)
        lr_scales |= dict.fromkeys(prefixes, peaks[-1])
        lr_delays |= dict.fromkeys(prefixes, delays[-1])
    if groups == "corrected":
        names[0] += " and embeddings"
        frozen: tuple[str, ...] = ()
    else:
        frozen = (f"{root}embeddings.", *find_head(task)[1:])
    return Unfreezing(
        names=(*names, "head"),
        peaks=(*peaks, 1.0),
        delays=(*delays, 0),
        lr_scales=lr_scales,
        lr_delays=lr_delays,
        frozen=frozen,
    )


def layerwise_scales(task: nn.Module, factor: float = 0.9) -> dict[str, float]:
    """`lr_scales` that shrink by `factor` from layer to layer: head 1, top layer factor, ...

    The embeddings come below the lowest layer. Source: Howard & Ruder 2018 (arXiv:1801.06146),
    discriminative fine-tuning; Clark et al. 2020 (arXiv:2003.10555), layer-wise decay.
    """
    if not 0 < factor <= 1:
        raise ValueError(f"factor is {factor}, expected in (0, 1]")
    root, n_layers = find_layers(task)
    scales = {f"{root}encoder.layer.{i}.": factor ** (n_layers - i) for i in range(n_layers)}
    return {f"{root}embeddings.": factor ** (n_layers + 1), **scales}


def freeze_parameters(task: nn.Module, prefixes: tuple[str, ...]) -> list[str]:
    """Take these parameters out of training (`requires_grad` False); their names.

    prefixes: starts of names, such as `Unfreezing.frozen`. Raises: ValueError where one fits none.
    """
    names = [name for name, _ in task.named_parameters()]
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            raise ValueError(
                f"{prefix!r} is the start of no parameter's name, expected one of those of the "
                f"model, such as {', '.join(names[:3])}"
            )
    found = [(n, p) for n, p in task.named_parameters() if n.startswith(tuple(prefixes))]
    for _, parameter in found:
        parameter.requires_grad_(False)
    return [name for name, _ in found]


def find_layers(task: nn.Module) -> tuple[str, int]:
    """(what stands before `encoder.layer.0.`, number of layers)."""
    found = [match for name, _ in task.named_parameters() if (match := _LAYER.match(name))]
    roots = sorted({match[1] for match in found})
    if len(roots) != 1:
        raise ValueError(
            f"expected one encoder with parameters '...encoder.layer.0...', found {len(roots)}"
            f"{': ' + ', '.join(roots) if roots else ''}"
        )
    return roots[0], 1 + max(int(match[2]) for match in found)


def find_head(task: nn.Module) -> list[str]:
    """Names of the parameters outside the encoder's layers and embeddings, in their order."""
    root, _ = find_layers(task)
    inside = (f"{root}encoder.layer.", f"{root}embeddings.")
    return [name for name, _ in task.named_parameters() if not name.startswith(inside)]
