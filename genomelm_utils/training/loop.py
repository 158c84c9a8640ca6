"""One training loop for every task: flat, exact to resume, the same on one process or several.

The loss of a step is the sum over all its targets, in all micro-batches of all processes, divided
by their number. Everything random hangs on (seed, step, micro-batch), never on what ran before.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from genomelm_utils.training import checkpoint as ckpt
from genomelm_utils.training import distributed, optim
from genomelm_utils.training.average import AveragedWeights
from genomelm_utils.training.device import choose_precision, matmul_precision
from genomelm_utils.training.engine import EvaluateFunction, Training
from genomelm_utils.training.prefetch import BatchFunction, Prefetcher

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitResult:
    """What a training leaves besides the trained module itself.

    `history`: one row per logged step. `step`: updates made. `best_step`, `best_value`: of the
    monitored value, None without one. `stopped_early`: patience ran out. `checkpoint`,
    `best_checkpoint`: folders, None where none was written. `description`: what was logged before
    step 0.
    """

    history: pd.DataFrame
    step: int
    best_step: int | None
    best_value: float | None
    stopped_early: bool
    checkpoint: Path | None
    best_checkpoint: Path | None
    description: dict[str, Any]


def fit(
    task: nn.Module,
    batches: BatchFunction,
    *,
    steps: int,
    peak_lr: float,
    micro_batches: int = 1,
    schedule: str = "linear",
    warmup_steps: int = 0,
    weight_decay: float = 0.01,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    optimizer: str = "adamw",
    cooldown_steps: int = optim.COOLDOWN_STEPS,
    lr_scales: Mapping[str, float] | None = None,
    lr_delays: Mapping[str, int] | None = None,
    clip_norm: float = 1.0,
    ema_decay: float = 0.0,
    folder: Path | None = None,
    evaluate: EvaluateFunction | None = None,
    eval_every: int = 0,
    log_every: int = 10,
    save_every: int = 0,
    keep: int = 2,
    resume: bool = False,
    seed: int = 0,
    monitor: str | None = None,
    higher_is_better: bool = False,
    patience: int | None = None,
    precision: str = "auto",
    compile_model: bool = False,
    settings: dict[str, Any] | None = None,
    progress: bool = True,
) -> FitResult:
    """Train `task` in place for exactly `steps` updates; the history and the checkpoints.

    The module comes back on the device and in the train/eval modes it came with, without
    gradients; torch's random state and matmul precision are as before. With the same arguments on
    a CPU the result is the same to the bit, interrupted and resumed or not, whatever the timing.
    A step whose batches have no target at all makes no update (counted in a warning); its loss is
    missing, never NaN weights.

    Args:
        task: `task(**tensors) -> (loss_sum, n_targets)`; `task.model` is the `PreTrainedModel`
            that is saved. Under several processes every trainable parameter must be used.
        batches: (step, micro) -> CPU tensors plus the int `n_targets` (and `n_tokens`, if known):
            a pure function. Integers are not handed to the task. Called from a background thread.
        steps: updates. peak_lr: the factor of `schedule`, one of `optim.SCHEDULES` ('linear',
            'constant', 'cosine', 'cosine_restarts', 'plateau'), with `warmup_steps`;
            cooldown_steps: of 'plateau'.
        micro_batches: per step, over all processes; micro-batch m belongs to process m % world.
        weight_decay: not applied to biases and LayerNorm weights. clip_norm: 0 does not clip.
        optimizer: 'adamw', 'adam_amsgrad' or 'lamb' (`training.lamb`).
        lr_scales: prefix of parameter names -> factor on the learning rate, such as {'head.': 100}.
        lr_delays: prefix -> updates by which its schedule begins later, the rate being 0 before;
            `training.unfreezing` gives both for progressive unfreezing.
        ema_decay: of a moving average of the weights (`training.average`), which then is what is
            evaluated, saved and left in the task; 0: none.
        folder: for `history.csv`, `tensorboard/`, `checkpoints/`; None writes nothing.
        evaluate: called at step 0, every `eval_every` steps (0: never between) and at the end, by
            the main process only; its values become the columns `valid_<name>`.
        save_every: 0 writes a checkpoint at the end only. keep: newest ones kept, plus the best.
        resume: go on from the newest checkpoint in `folder`, if there is one. A damaged one is set
            aside with a warning, and the one before it taken; without any, from the start.
        monitor: a name that `evaluate` returns; lowest is best unless `higher_is_better`. Each new
            best is saved.
        patience: stop after so many evaluations in a row without a better `monitor`.
        precision: 'auto' (bf16 on CUDA that has it, else fp32), 'bf16', 'fp32', or 'fp16' (without
            loss scaling, to repeat a published training).
        settings: the caller's own settings; a resume with others is refused.
        progress: show a progress bar.
    Raises: ValueError for settings that contradict each other, or a resume with other settings
        (each difference named); FloatingPointError when the loss is not finite;
        OSError when a checkpoint cannot be written (the ones before it stand).
    """
    _check(steps, micro_batches, log_every, keep, evaluate, monitor, patience)
    accelerator = distributed.open_accelerator()
    used, why = choose_precision(precision, accelerator.device)
    hyper = {
        "steps": steps,
        "peak_lr": peak_lr,
        "micro_batches": micro_batches,
        "schedule": schedule,
        "warmup_steps": warmup_steps,
        "weight_decay": weight_decay,
        "betas": list(betas),
        "eps": eps,
        "clip_norm": clip_norm,
        "seed": seed,
        "precision": used,
        **({"optimizer": optimizer} if optimizer != "adamw" else {}),
        **({"cooldown_steps": cooldown_steps} if schedule == "plateau" else {}),
        **({"lr_scales": dict(lr_scales)} if lr_scales else {}),
        **({"lr_delays": dict(lr_delays)} if lr_delays else {}),
        **({"ema_decay": ema_decay} if ema_decay else {}),
        **(settings or {}),
    }
    lr_factor = optim.get_schedule(schedule, cooldown_steps)

    def lr_at(step: int, delay: int = 0) -> float:
        if step < delay:
            return 0.0
        return peak_lr * lr_factor(step - delay, warmup_steps, steps - delay)

    with ExitStack() as stack:
        stack.enter_context(_borrow(task, accelerator.device))
        stack.enter_context(matmul_precision(used))
        model = accelerator.prepare_model(task)
        stack.callback(accelerator.free_memory)
        training = Training(
            task=task,
            model=model,
            call=torch.compile(model) if compile_model else model,
            optimizer=optim.build_optimizer(
                optimizer,
                task,
                weight_decay=weight_decay,
                betas=betas,
                eps=eps,
                lr_scales=lr_scales,
                lr_delays=lr_delays,
            ),
            accelerator=accelerator,
            precision=used,
            lr_at=lr_at,
            clip_norm=clip_norm,
            seed=seed,
            micro_batches=micro_batches,
            folder=Path(folder) if folder else None,
            hyper=hyper,
            keep=keep,
            evaluate=evaluate,
            monitor=monitor,
            sign=-1.0 if higher_is_better else 1.0,
            patience=patience,
            average=AveragedWeights(task.parameters(), ema_decay) if ema_decay else None,
        )
        training.start(resume)
        stack.callback(training.history.close)
        state = training.progress
        if state.step < steps and not state.stopped_early:
            rank, world = accelerator.process_index, accelerator.num_processes
            micros = distributed.own_micro_batches(micro_batches, rank, world)
            ahead = Prefetcher(batches, micros, steps, pin=accelerator.device.type == "cuda")
            stack.callback(ahead.close)
            training.describe(ahead.peek(state.step), why)
            training.evaluate_before_first_step()
            bar = stack.enter_context(_open_bar(state.step, steps, progress, accelerator))
            while state.step < steps and not state.stopped_early:
                training.update(ahead)
                bar.update()
                due_eval = evaluate is not None and _is_due(state.step, eval_every, steps)
                due_save = folder is not None and _is_due(state.step, save_every, steps)
                if due_eval or due_save or _is_due(state.step, log_every, steps):
                    bar.set_postfix_str(training.record(due_eval))
                if due_save or training.wants_save():
                    training.save()
        if training.average:
            training.average.use()
        return _result(training)


def _result(training: Training) -> FitResult:
    state = training.progress
    found = ckpt.list_checkpoints(training.folder) if training.folder else {}
    if training.n_empty_steps:
        logger.warning("%d steps had no target and made no update", training.n_empty_steps)
    return FitResult(
        history=training.history.table(),
        step=state.step,
        best_step=state.best_step,
        best_value=state.best_value,
        stopped_early=state.stopped_early,
        checkpoint=found[max(found)] if found else None,
        best_checkpoint=found.get(state.best_step),
        description=training.description,
    )


def _check(
    steps: int,
    micro_batches: int,
    log_every: int,
    keep: int,
    evaluate: EvaluateFunction | None,
    monitor: str | None,
    patience: int | None,
) -> None:
    counts = {
        "steps": steps,
        "micro_batches": micro_batches,
        "log_every": log_every,
        "keep": keep,
        "patience": 1 if patience is None else patience,
    }
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} is {value}, expected an integer of at least 1")
    if monitor is not None and evaluate is None:
        raise ValueError(f"monitor is {monitor!r}, but there is no evaluate function to return it")
    if patience is not None and monitor is None:
        raise ValueError("patience needs monitor: the name of a value that evaluate returns")


def _is_due(step: int, every: int, steps: int) -> bool:
    return step == steps or (every > 0 and step % every == 0)


@contextmanager
def _borrow(task: nn.Module, device: torch.device) -> Iterator[None]:
    """Inside, the task is on `device`; afterwards device, modes, gradients, RNG are as before."""
    home = next(task.parameters()).device
    modes = {module: module.training for module in task.modules()}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            task.to(device)
            yield
        finally:
            task.zero_grad(set_to_none=True)
            task.to(home)
            # left by Accelerate and torch.compile; a second fit would take the task for prepared
            for mark in ("_is_accelerate_prepared", "_is_torch_compile"):
                vars(task).pop(mark, None)
            for module, mode in modes.items():
                module.training = mode


def _open_bar(done: int, steps: int, progress: bool, accelerator: Any) -> Any:
    from tqdm.auto import tqdm

    shown = progress and accelerator.is_main_process
    return tqdm(total=steps, initial=done, unit="step", disable=not shown, desc="training")
