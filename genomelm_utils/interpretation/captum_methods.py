"""Scores of a padded batch by captum: integrated gradients, DeepLIFT, saliency, occlusion.

Shapes: B rows, L positions, D width.
"""

import logging

import numpy as np
import torch
from torch import nn

from genomelm_utils.interpretation.explained import Explained, Inputs, score_outputs

logger = logging.getLogger(__name__)

ALLOWED_GAP = 0.02  # of integrated gradients, as a share of |value| + |value at the baseline|
MAX_GAP = 0.05  # of DeepLIFT, as a share of the difference: beyond, its rule does not hold
REFINE = (4, 16)  # times the steps, for rows of integrated gradients whose gap is larger


class ScoredRows(nn.Module):
    """The explained number of each row, [B]; a module, as DeepLIFT wants it."""

    def __init__(self, model: Explained, scale: str) -> None:
        super().__init__()
        self.network, self.model, self.scale = model.module, model, scale

    def forward(
        self, x_BLD: torch.Tensor, target_B: torch.Tensor, *extras: torch.Tensor
    ) -> torch.Tensor:
        return score_outputs(self.model.forward(x_BLD, *extras), target_B, self.scale)


def integrate(
    scored: ScoredRows,
    batch: Inputs,
    extras: tuple[torch.Tensor, ...],
    ends_B2: np.ndarray,
    steps: int,
) -> np.ndarray:
    """Integrated gradients; rows that do not sum up again with more steps (see `REFINE`)."""
    found_BL = run_method("integrated_gradients", scored, batch, extras, steps, 1)
    allowed_B = ALLOWED_GAP * np.abs(ends_B2).sum(1)
    for factor in (*REFINE, None):
        gap_B = np.abs(found_BL.sum(1) - (ends_B2[:, 0] - ends_B2[:, 1]))
        open_B = np.flatnonzero(gap_B > allowed_B)
        if factor is None or not len(open_B):
            break
        rows = torch.from_numpy(open_B).to(batch.x_BLD.device)
        part = Inputs(
            batch.x_BLD[rows], batch.baseline_BLD[rows], batch.read_BL[rows],
            batch.first_B[open_B], (),
        )  # fmt: skip
        again = tuple(one[rows] for one in extras)
        found_BL[open_B] = run_method(
            "integrated_gradients", scored, part, again, steps * factor, 1
        )
    if len(open_B):
        logger.warning(
            "%d rows do not sum up to the difference from the baseline (largest gap %.2g): "
            "take more steps, or another baseline", len(open_B), gap_B[open_B].max(),
        )  # fmt: skip
    return found_BL


def run_method(
    method: str,
    scored: ScoredRows,
    batch: Inputs,
    extras: tuple[torch.Tensor, ...],
    steps: int,
    window: int,
) -> np.ndarray:
    """Scores float64 [B, L], the sum over the width; padding is 0."""
    from captum import attr

    x_BLD = batch.x_BLD.detach()
    shared = {"additional_forward_args": extras}
    try:
        if method == "integrated_gradients":
            found_BLD = attr.IntegratedGradients(scored).attribute(
                x_BLD, baselines=batch.baseline_BLD, n_steps=steps,
                internal_batch_size=max(len(x_BLD), 512 // x_BLD.shape[1]), **shared,
            )  # fmt: skip
        elif method == "saliency":
            found_BLD = attr.Saliency(scored).attribute(x_BLD.requires_grad_(), **shared)
        elif method == "deeplift":
            found_BLD = attr.DeepLift(scored).attribute(
                x_BLD.requires_grad_(), baselines=batch.baseline_BLD, **shared
            )
        else:
            with torch.no_grad():
                return _occlude(scored, batch, extras, window)
    except (RuntimeError, AssertionError) as error:
        if "grad" not in str(error) and "module" not in str(error):
            raise
        raise ValueError(
            f"{method} is not possible for {scored.model._name()} ({_first_line(error)}); take "
            "occlusion or mutagenesis"
        ) from error
    found_BL = found_BLD.detach().double().sum(-1)
    return (found_BL * _inside(batch)).cpu().numpy()


def _occlude(
    scored: ScoredRows, batch: Inputs, extras: tuple[torch.Tensor, ...], window: int
) -> np.ndarray:
    """Captum's occlusion by a window of positions at every place; overlaps are averaged."""
    from captum import attr

    width = min(window, int(batch.x_BLD.shape[1]))
    shape = (width, batch.x_BLD.shape[2])
    found_BLD = attr.Occlusion(scored).attribute(
        batch.x_BLD, sliding_window_shapes=shape, strides=(1, shape[1]),
        baselines=batch.baseline_BLD, additional_forward_args=extras, perturbations_per_eval=8,
    )  # fmt: skip
    found_BL = found_BLD[..., 0].double()  # the same for the whole width of a position
    return (found_BL * batch.read_BL).cpu().numpy()


def _inside(batch: Inputs) -> torch.Tensor:
    """float64 [B, L]: 1 where the row differs from its baseline, or reads bases."""
    return ((batch.x_BLD != batch.baseline_BLD).any(-1) | batch.read_BL).double()


def check_deeplift(found_BL: np.ndarray, difference_B: np.ndarray, model: Explained) -> None:
    gap = np.abs(found_BL.sum(1) - difference_B).sum() / max(np.abs(difference_B).sum(), 1e-12)
    if gap > MAX_GAP:
        raise ValueError(
            f"DeepLIFT's scores of {model._name()} miss the difference from the baseline by "
            f"{gap:.0%}: the rescale rule does not cover its attention, gates or activations; take "
            "integrated_gradients"
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
