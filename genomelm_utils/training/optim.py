"""AdamW as BERT uses it, and learning-rate schedules as pure functions of the step."""

import math
from collections.abc import Callable, Mapping

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


def cosine_warmup_decay(step: int, warmup: int, total: int) -> float:
    """Rise linearly from 0 over `warmup` updates, then half a cosine down to 0 at update `total`.

    Source: Loshchilov & Hutter 2017 (arXiv:1608.03983), equation 5 without restarts; transformers'
    `get_cosine_schedule_with_warmup`.
    """
    if step < warmup:
        return step / warmup
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    return 0.5 * (1.0 + math.cos(math.pi * done))


SCHEDULES: dict[str, Schedule] = {
    "linear": linear_warmup_decay,
    "constant": warmup_constant,
    "cosine": cosine_warmup_decay,
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
    lr_scales: Mapping[str, float] | None = None,
) -> torch.optim.AdamW:
    """Fused AdamW over the trainable parameters; `set_lr` gives the rate before every update.

    lr_scales: prefix of parameter names -> factor on the learning rate, 1 for all others; of
        several prefixes that fit, the longest counts.
    Raises: ValueError when nothing is trainable, or a prefix fits no trainable parameter.
    """
    scales = scale_by_name(model, lr_scales or {})
    groups = [
        {
            "params": [p for p in parameters if scales[id(p)] == scale],
            "weight_decay": decay,
            "lr_scale": scale,
        }
        for parameters, decay in zip(split_decay(model), (weight_decay, 0.0), strict=True)
        for scale in sorted(set(scales.values()))
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise ValueError("the model has no trainable parameter: expected one with requires_grad")
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=eps, fused=True)


def scale_by_name(model: nn.Module, lr_scales: Mapping[str, float]) -> dict[int, float]:
    """The factor on the learning rate of each trainable parameter, by its `id`.

    Raises: ValueError for a prefix that fits no trainable parameter.
    """
    names = {name: id(p) for name, p in model.named_parameters() if p.requires_grad}
    scales = dict.fromkeys(names.values(), 1.0)
    for prefix in sorted(lr_scales, key=len):
        fitting = [name for name in names if name.startswith(prefix)]
        if not fitting:
            raise ValueError(
                f"lr_scales names {prefix!r}, expected the start of a trainable parameter's name; "
                f"found parameters such as {', '.join(list(names)[:3]) or 'none'}"
            )
        scales |= {names[name]: float(lr_scales[prefix]) for name in fitting}
    return scales


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group this learning rate times its own factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)
