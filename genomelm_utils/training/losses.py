"""Contrastive losses of paired views, computed from logarithms so that no temperature overflows.

All take unit vectors and return the mean over their anchors, in float32 whatever they are given.
Letters: B pairs of the whole batch, R pairs whose views are the anchors, D width.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F


def weighted_simclr(
    first_BD: torch.Tensor,
    second_BD: torch.Tensor,
    temperature: float,
    *,
    same_BB: torch.Tensor | None = None,
    rows: slice = slice(None),
) -> torch.Tensor:
    """Weighted SimCLR: each of the 2B views against its partner; near negatives weigh more.

    For an anchor i with similarities s_ij = z_i.z_j / temperature to its negatives j, the sum of
    negatives is sum_j exp(s_ij)^2 / mean_j exp(s_ij), so a negative weighs in proportion to its own
    closeness; gradients flow through the weights. An anchor without any negative has loss 0.

    Args:
        first_BD, second_BD: unit vectors of the two views; row i of one belongs to row i of the
            other.
        temperature: > 0; 0.05 in the released training.
        same_BB: bool, True where two pairs stem from one species and are not told apart; the
            diagonal does not matter. None: all other pairs are negatives.
        rows: the pairs whose views are the anchors: one process's share of the batch.
    Raises: ValueError with fewer than two pairs, or a temperature not above 0.
    Source: Zhou et al. 2024 (arXiv:2402.08777), weighted SimCLR; released training code.
    """
    return _two_sided(first_BD, second_BD, temperature, same_BB, rows, _log_weighted_sum)


def simclr(
    first_BD: torch.Tensor,
    second_BD: torch.Tensor,
    temperature: float,
    *,
    same_BB: torch.Tensor | None = None,
    rows: slice = slice(None),
) -> torch.Tensor:
    """SimCLR: as `weighted_simclr`, but all negatives weigh the same.

    Source: Chen et al. 2020 (arXiv:2002.05709), NT-Xent.
    """
    return _two_sided(first_BD, second_BD, temperature, same_BB, rows, _log_plain_sum)


def imix(
    mixed_RD: torch.Tensor,
    other_BD: torch.Tensor,
    partner_R: torch.Tensor,
    weight_R: torch.Tensor,
    temperature: float,
    *,
    same_BB: torch.Tensor | None = None,
    rows: slice = slice(None),
    reference: bool = False,
) -> torch.Tensor:
    """Cross-entropy of mixed first views against all second views, with two right answers each.

    Anchor i was mixed from the windows i (share `weight_R`) and `partner_R` (the rest), and has
    these shares as its labels. Corrected: the partner is an answer and not a negative, both answers
    stand in the one denominator, so this is a proper cross-entropy whose lowest value is the
    entropy of the labels. Negatives are weighted as in `weighted_simclr`, across views only.

    Args:
        mixed_RD: unit vectors of the mixed first views of `rows`.
        other_BD: unit vectors of the second views of the whole batch.
        partner_R: int64, pair in the whole batch that was mixed in; may be the pair itself.
        weight_R: share of the pair itself, [0.5, 1].
        same_BB: as in `weighted_simclr`; also of the partner's species nothing is a negative.
        rows: where the R anchors lie in the whole batch.
        reference: True repeats the released loss: the partner is at the same time a negative, and
            the denominator of its term lacks it.
    Raises: as `weighted_simclr`.
    Source: Zhou et al. 2024 (arXiv:2402.08777), manifold instance mixup; Lee et al. 2021
    (arXiv:2010.08887), i-Mix; released training code.
    """
    _check(len(other_BD), temperature)
    with torch.autocast(mixed_RD.device.type, enabled=False):
        s_RB = mixed_RD.float() @ other_BD.float().T / temperature
    own_R = torch.arange(len(other_BD), device=s_RB.device)[rows]
    weight_R, at = weight_R.to(s_RB), torch.arange(len(own_R), device=s_RB.device)
    negative_RB = torch.ones_like(s_RB, dtype=torch.bool)
    if same_BB is not None:
        same_BB = same_BB.to(s_RB.device)
        negative_RB &= ~same_BB[own_R]
        if not reference:
            negative_RB &= ~same_BB[partner_R]
    negative_RB[at, own_R] = False
    if not reference:
        negative_RB[at, partner_R] = False
    s_RB = s_RB - s_RB[at, own_R, None]  # relative to the own answer: exact at low temperatures
    partner = s_RB[at, partner_R]
    denominator = F.softplus(_log_weighted_sum(s_RB, negative_RB))
    if not reference:
        mixed = partner_R != own_R
        denominator = torch.where(mixed, torch.logaddexp(denominator, partner), denominator)
    return (denominator - (1 - weight_R) * partner).mean()


def _two_sided(
    first_BD: torch.Tensor,
    second_BD: torch.Tensor,
    temperature: float,
    same_BB: torch.Tensor | None,
    rows: slice,
    log_sum: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Mean over both views of `rows` of -log(positive / (positive + sum of negatives))."""
    n = len(first_BD)
    _check(n, temperature)
    pair = torch.arange(n, device=first_BD.device)[rows]
    view = torch.cat([first_BD, second_BD]).float()
    anchor, partner = torch.cat([pair, pair + n]), torch.cat([pair + n, pair])
    with torch.autocast(view.device.type, enabled=False):
        s = view[anchor] @ view.T / temperature
    same_BB = torch.eye(n, dtype=torch.bool, device=s.device) if same_BB is None else same_BB
    negative = ~same_BB.to(s.device)[pair].repeat(2, 2)
    at = torch.arange(len(anchor), device=s.device)
    negative[at, anchor] = negative[at, partner] = False
    return F.softplus(log_sum(s - s[at, partner, None], negative)).mean()


def _log_weighted_sum(s: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """log of sum exp(s)^2 / mean exp(s) over the negatives of each row; lowest float for none."""
    count = negative.sum(1)
    kept = _keep(s, negative, count)
    logs = kept.mul(2).logsumexp(1) - kept.logsumexp(1) + count.clamp(min=1).log()
    return torch.where(count > 0, logs, torch.finfo(s.dtype).min)


def _log_plain_sum(s: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """log of sum exp(s) over the negatives of each row; lowest float for none."""
    count = negative.sum(1)
    return torch.where(count > 0, _keep(s, negative, count).logsumexp(1), torch.finfo(s.dtype).min)


def _keep(s: torch.Tensor, negative: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    # a row of nothing but -inf would give NaN gradients even where its value is not used
    return s.masked_fill(~negative & (count > 0)[:, None], float("-inf"))


def _check(n_pairs: int, temperature: float) -> None:
    if n_pairs < 2:
        raise ValueError(
            f"a contrastive loss needs negatives: expected at least 2 pairs in a batch, found "
            f"{n_pairs}"
        )
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, expected a number above 0")
