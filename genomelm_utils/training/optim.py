"""AdamW as BERT uses it, and learning-rate schedules as pure functions of the step."""

from collections.abc import Callable

import torch
from torch import nn

#: A schedule: (step, warmup_steps, total_steps) -> factor in [0, 1] on the peak learning rate.
Schedule = Callable[[int, int, int], float]


def linear_warmup_decay(step: int, warmup: int, total: int) -> float:
    """Rise linearly from 0 over `warmup` updates, then fall linearly to 0 at update `total`.

    `step` counts finished updates, so the first update (step 0) of a warm-up has factor 0 as in the
    reference implementations. Source: BERT (arXiv:1810.04805), transformers'
    `get_linear_schedule_with_warmup`.
    """
    if step < warmup:
        return step / warmup
    return max(0.0, (total - step) / max(1, total - warmup))


def warmup_constant(step: int, warmup: int, total: int) -> float:
    """Rise linearly from 0 over `warmup` updates, then stay at 1."""
    return min(1.0, step / warmup) if warmup else 1.0


SCHEDULES: dict[str, Schedule] = {
    "linear": linear_warmup_decay,
    "constant": warmup_constant,
}


def get_schedule(name: str) -> Schedule:
    """The schedule of that name; ValueError names the choices."""
    if name not in SCHEDULES:
        raise ValueError(f"unknown schedule {name!r}, expected one of: {', '.join(SCHEDULES)}")
    return SCHEDULES[name]


def split_decay(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Trainable parameters (with, without) weight decay: none on biases and LayerNorm weights.

    Source: BERT; GeneMask's and DNABERT's optimiser groups (`bias`, `LayerNorm.weight`).
    """
    exempt = {
        id(parameter)
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if name.endswith("bias") or isinstance(module, nn.LayerNorm)
    }
    trainable = [p for p in model.parameters() if p.requires_grad]
    return (
        [p for p in trainable if id(p) not in exempt],
        [p for p in trainable if id(p) in exempt],
    )


def build_adamw(
    model: nn.Module,
    *,
    weight_decay: float,
    betas: tuple[float, float],
    eps: float,
) -> torch.optim.AdamW:
    """Fused AdamW over the trainable parameters; the caller sets `lr` before every update.

    Raises: ValueError when nothing is trainable.
    """
    decayed, exempt = split_decay(model)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": exempt, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise ValueError("the model has no trainable parameter: expected one with requires_grad")
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=eps, fused=True)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr
