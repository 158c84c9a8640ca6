"""One network, a head for each task, losses weighted by learned variances: what `fit` trains.

Switch `single` for a task alone: 'corrected' takes its loss as it is; 'reference' keeps a fixed log
variance of 1, so a loss can never go below a half; 'first' one of 0, which halves a squared error.

Shapes: B rows of a batch, L bases, D width of the embedding, T outputs, C classes.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from genomelm_utils.datasets.activity_task import CLASS_KINDS, TaskSpec

SINGLE = ("corrected", "reference", "first")
LOSSES = ("default", "l1kl", "l1kl_reference")
#: Weights of the two parts of Malinois' loss. Source: boda2, `L1KLmixed`, alpha and beta.
L1_WEIGHT, KL_WEIGHT = 1.0, 5.0


class MultiTask(nn.Module):
    """Sum over tasks of exp(-s) / (2 for regression, else 1) x loss + s / 2, with s learned.

    s is the log variance of a task, 0 at first; classes add it once for each output. Source:
    Kendall et al. 2018 (arXiv:1705.07115), as in torchMTL and Reddy et al. 2023.

    model: a `PromoterNet` with a head for every task. losses: 'default' by kind, or for all
    regressions 'l1kl' (`l1_and_kl`) or 'l1kl_reference'. frozen: the backbone gets no gradient and
    stays in evaluation mode.
    """

    def __init__(
        self,
        model: nn.Module,
        specs: Sequence[TaskSpec],
        *,
        single: str = "corrected",
        losses: str = "default",
        frozen: bool = False,
    ) -> None:
        super().__init__()
        if single not in SINGLE or losses not in LOSSES:
            raise ValueError(
                f"single is {single!r} and losses {losses!r}, expected one of {', '.join(SINGLE)} "
                f"and one of {', '.join(LOSSES)}"
            )
        self.model, self.specs, self.frozen = model, tuple(specs), frozen
        self.single, self.losses = single, losses
        if len(self.specs) > 1:
            self.log_variance = nn.Parameter(torch.zeros(len(self.specs)))
        if frozen:
            model.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> "MultiTask":
        """As any module, but a frozen backbone stays as it is in use."""
        super().train(mode)
        if self.frozen:
            self.model.backbone.eval()
        return self

    def forward(self, **tensors: torch.Tensor) -> tuple[torch.Tensor, int]:
        """(weighted sum, 1). tensors: '<task>/codes' uint8 [B, L] or embeddings float [B, D], and
        '<task>/labels' float [B, T], of every task that has a batch in this step."""
        total = next(self.parameters()).new_zeros(())
        for i, spec in enumerate(self.specs):
            if f"{spec.name}/codes" not in tensors:
                continue
            values = self.predict(spec, tensors[f"{spec.name}/codes"])
            total = total + self.weigh(i, self.loss(spec, values, tensors[f"{spec.name}/labels"]))
        return total, 1

    def predict(self, spec: TaskSpec, codes: torch.Tensor) -> torch.Tensor:
        """What a task's head gives (logits for classes), for base codes or for embeddings."""
        embedding_BD = codes if codes.is_floating_point() else self.model.embed(codes)
        return self.model.heads[spec.name](embedding_BD)

    def loss(self, spec: TaskSpec, values: torch.Tensor, labels_BT: torch.Tensor) -> torch.Tensor:
        """The unweighted loss, a mean over measured labels; of classes, summed over outputs."""
        if spec.kind == "regression" and self.losses != "default":
            return l1_and_kl(values, labels_BT, together=self.losses == "l1kl")
        return task_loss(spec, values, labels_BT)

    def weigh(self, i: int, loss: torch.Tensor) -> torch.Tensor:
        """A task's part of the sum."""
        spec = self.specs[i]
        if len(self.specs) == 1 and self.single == "corrected":
            return loss
        if len(self.specs) > 1:
            s = self.log_variance[i]
        else:
            s = loss.new_tensor(1.0 if self.single == "reference" else 0.0)
        return weigh_loss(spec, loss, s)


def weigh_loss(spec: TaskSpec, loss: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """exp(-s) / (2 for regression, else 1) x loss + s / 2, for classes s / 2 for each output."""
    n_terms = len(spec.outputs) if spec.kind in CLASS_KINDS else 1
    return torch.exp(-s) / (2 if spec.kind == "regression" else 1) * loss + n_terms * s / 2


def task_loss(spec: TaskSpec, values: torch.Tensor, labels_BT: torch.Tensor) -> torch.Tensor:
    """Mean squared error, binary cross-entropy, or cross-entropy of each output's classes.

    Means are over measured labels, all outputs together (of classes: each output by itself, then
    summed). A batch in which nothing was measured has loss 0, and no gradient.
    """
    known_BT = torch.isfinite(labels_BT)
    if spec.kind in CLASS_KINDS:
        logits_BTC = split_classes(spec, values)
        class_BT = labels_BT.nan_to_num().long()
        loss_BT = torch.stack(
            [
                functional.cross_entropy(logits_BTC[:, t], class_BT[:, t], reduction="none")
                for t in range(len(spec.outputs))
            ],
            dim=1,
        )  # fmt: skip
        counts_T = known_BT.sum(0).clamp(min=1)
        return ((loss_BT * known_BT).sum(0) / counts_T).sum()
    target_BT = labels_BT.nan_to_num()
    if spec.kind == "multilabel":
        loss_BT = functional.binary_cross_entropy_with_logits(values, target_BT, reduction="none")
    else:
        loss_BT = (values - target_BT).square()
    return (loss_BT * known_BT).sum() / known_BT.sum().clamp(min=1)


def split_classes(spec: TaskSpec, values: torch.Tensor) -> torch.Tensor:
    """[B, T, C] of what a head of classes gives, [B, T x C]."""
    return values.reshape(len(values), len(spec.outputs), len(spec.classes))


def l1_and_kl(
    values: torch.Tensor, labels_BT: torch.Tensor, *, together: bool = True
) -> torch.Tensor:
    """(mean |difference| + 5 KL) / 6, KL between the softmax of labels and of values over outputs.

    together: rows with all outputs measured enter the KL; without it ('reference', for masked
    labels) every output is taken by itself, and the KL of one number with itself is 0.
    L1 is over measured labels, with `together=False` a mean for each output, summed over outputs.
    Source: boda2, `L1KLmixed`; Gosai et al. 2024.
    """
    known_BT = torch.isfinite(labels_BT)
    target_BT = labels_BT.nan_to_num()
    off_BT = (values - target_BT).abs() * known_BT
    weight = L1_WEIGHT + KL_WEIGHT
    if not together:
        return (L1_WEIGHT * off_BT.sum(0) / known_BT.sum(0).clamp(min=1)).sum() / weight
    l1 = off_BT.sum() / known_BT.sum().clamp(min=1)
    complete_B = known_BT.all(1)
    if values.shape[1] < 2 or not bool(complete_B.any()):
        return L1_WEIGHT * l1 / weight
    kl = functional.kl_div(
        values[complete_B].log_softmax(1),
        target_BT[complete_B].log_softmax(1),
        reduction="batchmean",
        log_target=True,
    )
    return (L1_WEIGHT * l1 + KL_WEIGHT * kl) / weight
