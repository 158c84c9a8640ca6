"""AdamW as BERT uses it or LAMB, and learning-rate schedules as pure functions of the step."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from genomelm_utils.training.lamb import Lamb

#: A schedule: (step, warmup_steps, total_steps) -> factor in [0, 1] on the peak learning rate.
Schedule = Callable[[int, int, int], float]

RESTARTS = 4  # Source: FloraBERT, released `training.py`
# Source: torch's `OneCycleLR`: pct_start, div_factor, final_div_factor
ONE_CYCLE_RISE, ONE_CYCLE_DIVISOR, ONE_CYCLE_FINAL_DIVISOR = 0.3, 25.0, 1e4
RESTART_STEPS = 4096  # updates of a half cosine of `warm_restarts`
COOLDOWN_STEPS = 2000  # Source: FloraBERT, released config.yaml


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


def cosine_restarts(step: int, warmup: int, total: int) -> float:
    """Rise linearly from 0 over `warmup` updates, then four half cosines from 1 down to 0.

    Source: Loshchilov & Hutter 2017 (arXiv:1608.03983); transformers'
    `get_cosine_with_hard_restarts_schedule_with_warmup` with FloraBERT's four cycles.
    """
    if step < warmup:
        return step / warmup
    done = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1.0 + math.cos(math.pi * (RESTARTS * done % 1.0))) if done < 1 else 0.0


def plateau(step: int, warmup: int, total: int, cooldown: int = COOLDOWN_STEPS) -> float:
    """Rise linearly over `warmup` updates, stay at 1, fall linearly to 0 in the last `cooldown`.

    Where the two overlap the lower counts. Source: FloraBERT, released `training.py`.
    """
    rise = step / warmup if step < warmup else 1.0
    fall = (total - step) / cooldown if step > total - cooldown else 1.0
    return max(0.0, min(rise, fall))


def one_cycle(step: int, warmup: int, total: int) -> float:
    """Half cosines from 1/25 up to 1 at 30 %, down to 1/25 at 60 %, and to nearly 0 at the end.

    `warmup` has no part in it. Source: Smith & Topin 2018 (arXiv:1708.07120); torch's `OneCycleLR`
    with three phases and its own divisors, as LegNet was trained (Penzar et al. 2023).
    """
    rise = max(1.0, ONE_CYCLE_RISE * total - 1)
    low, least = 1 / ONE_CYCLE_DIVISOR, 1 / (ONE_CYCLE_DIVISOR * ONE_CYCLE_FINAL_DIVISOR)
    phases = [(0.0, rise, low, 1.0), (rise, 2 * rise, 1.0, low), (2 * rise, total - 1, low, least)]
    for begin, end, first, last in phases:
        if step <= end or end == total - 1:
            done = min(1.0, (step - begin) / max(1.0, end - begin))
            return last + (first - last) * 0.5 * (1.0 + math.cos(math.pi * done))
    raise AssertionError("the last phase ends at total - 1")


def one_cycle_by_epoch(step: int, warmup: int, total: int) -> float:
    """`one_cycle` as the released code of Reddy et al. moves it: one step of it per epoch.

    `warmup` is the number of updates in an epoch. Of a cycle over all updates only the beginning is
    ever seen: with 13 updates in each of 50 epochs the rate ends at a fifth of its peak.
    """
    return one_cycle(step // max(1, warmup), 0, total)


def warm_restarts(step: int, warmup: int, total: int) -> float:
    """Half a cosine from 1 to 0 every 4,096 updates, again and again; `warmup` has no part in it.

    Source: torch's `CosineAnnealingWarmRestarts` with T_0 = 4096, as Malinois was trained (Gosai et
    al. 2024, Nature 634:1211, and Reddy et al., code).
    """
    done = (step % RESTART_STEPS) / RESTART_STEPS
    return 0.5 * (1.0 + math.cos(math.pi * done))


SCHEDULES: dict[str, Schedule] = {
    "linear": linear_warmup_decay,
    "constant": warmup_constant,
    "cosine": cosine_warmup_decay,
    "cosine_restarts": cosine_restarts,
    "plateau": plateau,
    "one_cycle": one_cycle,
    "one_cycle_by_epoch": one_cycle_by_epoch,
    "warm_restarts": warm_restarts,
}
OPTIMIZERS = ("adamw", "adam_amsgrad", "lamb")


def get_schedule(name: str, cooldown: int = COOLDOWN_STEPS) -> Schedule:
    """The schedule of that name; ValueError names the choices. cooldown: of 'plateau' only."""
    if name not in SCHEDULES:
        raise ValueError(f"unknown schedule {name!r}, expected one of: {', '.join(SCHEDULES)}")
    if name == "plateau" and cooldown != COOLDOWN_STEPS:
        return lambda step, warmup, total: plateau(step, warmup, total, cooldown)
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
    lr_delays: Mapping[str, int] | None = None,
) -> torch.optim.AdamW:
    """Fused AdamW over the trainable parameters; `set_lr` gives the rate before every update.

    lr_scales, lr_delays: see `parameter_groups`. Raises: as that.
    """
    groups = parameter_groups(model, weight_decay, lr_scales, lr_delays)
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=eps, fused=True)


def build_optimizer(
    name: str,
    model: nn.Module,
    *,
    weight_decay: float,
    betas: tuple[float, float],
    eps: float,
    lr_scales: Mapping[str, float] | None = None,
    lr_delays: Mapping[str, int] | None = None,
) -> torch.optim.Optimizer:
    """'adamw', see `build_adamw`; over the same groups 'lamb', or 'adam_amsgrad' (weight decay is
    added to the gradient). ValueError for another name.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer is {name!r}, expected one of: {', '.join(OPTIMIZERS)}")
    settings = {"betas": betas, "eps": eps}
    if name == "adamw":
        return build_adamw(
            model,
            weight_decay=weight_decay,
            lr_scales=lr_scales,
            lr_delays=lr_delays,
            **settings,
        )
    groups = parameter_groups(model, weight_decay, lr_scales, lr_delays)
    if name == "adam_amsgrad":
        return torch.optim.Adam(groups, lr=0.0, amsgrad=True, fused=True, **settings)
    return Lamb(groups, lr=0.0, **settings)


def parameter_groups(
    model: nn.Module,
    weight_decay: float,
    lr_scales: Mapping[str, float] | None = None,
    lr_delays: Mapping[str, int] | None = None,
) -> list[dict[str, Any]]:
    """The trainable parameters by decay (none on biases and LayerNorm), factor and delay.

    Args:
        lr_scales: prefix of parameter names -> factor on the learning rate, 1 for all others; of
            several prefixes that fit, the longest counts.
        lr_delays: prefix -> updates for which its rate is 0, and by which its schedule is late.
    Raises: ValueError when nothing is trainable, or a prefix fits no trainable parameter.
    """
    scales = value_by_name(model, lr_scales or {}, 1.0, "lr_scales")
    delays = value_by_name(model, lr_delays or {}, 0, "lr_delays")
    groups = [
        {
            "params": [p for p in parameters if (scales[id(p)], delays[id(p)]) == (scale, delay)],
            "weight_decay": decay,
            "lr_scale": scale,
            "lr_delay": delay,
        }
        for parameters, decay in zip(split_decay(model), (weight_decay, 0.0), strict=True)
        for scale in sorted(set(scales.values()))
        for delay in sorted(set(delays.values()))
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise ValueError("the model has no trainable parameter: expected one with requires_grad")
    return groups


def value_by_name(
    model: nn.Module, by_prefix: Mapping[str, float], default: float, what: str
) -> dict[int, float]:
    """The value of each trainable parameter, by its `id`; the longest fitting prefix counts.

    Raises: ValueError for a prefix that fits no trainable parameter.
    """
    names = {name: id(p) for name, p in model.named_parameters() if p.requires_grad}
    values = dict.fromkeys(names.values(), default)
    for prefix in sorted(by_prefix, key=len):
        fitting = [name for name in names if name.startswith(prefix)]
        if not fitting:
            raise ValueError(
                f"{what} names {prefix!r}, expected the start of a trainable parameter's name; "
                f"found parameters such as {', '.join(list(names)[:3]) or 'none'}"
            )
        values |= {names[name]: type(default)(by_prefix[prefix]) for name in fitting}
    return values


def set_lr(optimizer: torch.optim.Optimizer, lr_after: Callable[[int], float]) -> None:
    """Give every parameter group its own factor times the learning rate of its own delay.

    lr_after: delay in updates -> learning rate of this update for a group so late.
    """
    for group in optimizer.param_groups:
        group["lr"] = lr_after(group.get("lr_delay", 0)) * group.get("lr_scale", 1.0)
