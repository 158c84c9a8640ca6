"""One training run in motion: a step, an evaluation, a row of the history, a checkpoint.

`training.loop.fit` strings these together; nothing else uses them.
"""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from genomelm_utils.training import checkpoint as ckpt
from genomelm_utils.training import distributed, optim
from genomelm_utils.training.average import AveragedWeights
from genomelm_utils.training.device import PHASES, PhaseClock, autocast
from genomelm_utils.training.history import History
from genomelm_utils.training.prefetch import Prefetcher, split_counts

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)

#: evaluate(task) -> {name: value}; runs in evaluation mode without gradients.
EvaluateFunction = Callable[[nn.Module], dict[str, float]]


@dataclass
class Progress:
    """Where a training stands; goes into every checkpoint."""

    step: int = 0
    best_step: int | None = None
    best_value: float | None = None
    evaluations_without_gain: int = 0
    stopped_early: bool = False
    wall_s: float = 0.0


@dataclass
class Window:
    """Sums over the steps since the last row of the history."""

    losses: list[torch.Tensor] = field(default_factory=list)
    grad_norms: list[torch.Tensor] = field(default_factory=list)
    n_targets: int = 0
    n_tokens: int = 0


@dataclass
class Training:
    """The parts of one `fit`; each phase of a step is one short method.

    `model` is `task` wrapped for several processes, `call` is `model`, compiled or not. `lr_at`
    gives the learning rate of a step, and that of groups that start later; `hyper` is what a resume
    must agree on; `sign` is -1 where a higher `monitor` is better. An `average` stands in for the
    weights where they are judged and saved.
    """

    task: nn.Module
    model: nn.Module
    call: Callable[..., tuple[torch.Tensor, int]]
    optimizer: torch.optim.Optimizer
    accelerator: "Accelerator"
    precision: str
    lr_at: Callable[..., float]
    clip_norm: float
    seed: int
    micro_batches: int
    folder: Path | None
    hyper: dict[str, Any]
    keep: int
    evaluate: EvaluateFunction | None
    monitor: str | None
    sign: float
    patience: int | None
    average: AveragedWeights | None = None
    progress: Progress = field(default_factory=Progress)
    window: Window = field(default_factory=Window)
    description: dict[str, Any] = field(default_factory=dict)
    n_empty_steps: int = 0

    def __post_init__(self) -> None:
        self.device: torch.device = self.accelerator.device
        self.clock = PhaseClock(self.device)

    # ---- start

    def start(self, resume: bool) -> None:
        """Begin anew, or take everything from the newest checkpoint that is whole."""
        main, found = self.accelerator.is_main_process, {}
        if self.folder:
            if main:
                ckpt.clear_partial(self.folder)
            found = ckpt.list_checkpoints(self.folder)
        if found and not resume:
            raise ValueError(
                f"{self.folder} already holds a training ({found[max(found)].name}); pass "
                "resume=True to go on with it, or name another folder"
            )
        rows: list[dict[str, Any]] = []
        path = self._choose_checkpoint() if self.folder and resume else None
        if path:
            state = ckpt.read_state(path)
            ckpt.check_settings(state["settings"], self.hyper, path)
            ckpt.load_weights(path, self.task, state)
            self.optimizer.load_state_dict(state["optimizer"])
            if self.average:
                self.average.resume(state["average"])
            self.progress, rows = Progress(**state["progress"]), state["history"]
            logger.info("resumed from %s", path)
        self.history = History(self.folder, rows, main=main)
        self.started_s = time.perf_counter() - self.progress.wall_s

    def _choose_checkpoint(self) -> Path | None:
        # the main process decides for all: it sets damaged ones aside
        main = self.accelerator.is_main_process
        path = ckpt.newest_whole(self.folder) if main else None
        return distributed.share_from_main(self.accelerator, path)

    def describe(self, first: list[dict[str, Any]], why: str) -> None:
        """Log what is about to run: size, tokens per step, device, precision and its reason."""
        counts = [split_counts(batch)[1:] for batch in first]
        n_targets, n_tokens = distributed.sum_over_processes(
            self.accelerator, [sum(n for n, _ in counts), sum(n for _, n in counts)]
        )
        parameters = list(self.task.parameters())
        self.description = {
            "n_parameters": sum(p.numel() for p in parameters),
            "n_trainable": sum(p.numel() for p in parameters if p.requires_grad),
            "tokens_per_step": int(n_tokens),
            "targets_per_step": int(n_targets),
            "micro_batches": self.micro_batches,
            "device": str(self.device),
            "world_size": self.accelerator.num_processes,
            "precision": self.precision,
            "precision_why": why,
            "from_step": self.progress.step,
        }
        if self.accelerator.is_main_process:
            text = ", ".join(f"{key}={value}" for key, value in self.description.items())
            logger.info("training: %s; settings: %s", text, self.hyper)

    # ---- one step

    def update(self, ahead: Prefetcher) -> None:
        """One update of the weights from all micro-batches of the step."""
        step = self.progress.step
        self.clock.enter("data")
        made = [split_counts(batch) for batch in ahead.get(step)]
        counts = [sum(n for _, n, _ in made), sum(n for _, _, n in made)]
        n_targets, n_tokens = distributed.sum_over_processes(self.accelerator, counts)
        if n_targets:
            self.task.train()
            self._forward_backward(step, made, n_targets)
            self.clock.enter("optim")
            self._apply(step)
        else:
            # Zero gradients would still let momentum and weight decay move the weights.
            self.n_empty_steps += 1
            logger.debug("step %d has no target in any micro-batch: no update", step)
        self.clock.enter("other")
        self.window.n_targets += int(n_targets)
        self.window.n_tokens += int(n_tokens)
        self.progress.step += 1

    def _forward_backward(self, step: int, made: list[tuple], n_targets: float) -> None:
        # DDP averages gradients over processes; the loss wants their sum.
        scale = self.accelerator.num_processes / n_targets
        for i, (tensors, n_micro, _) in enumerate(made):
            self.clock.enter("data")
            on_device = {k: v.to(self.device, non_blocking=True) for k, v in tensors.items()}
            self.clock.enter("compute")
            micro = self.accelerator.process_index + i * self.accelerator.num_processes
            seed_torch(self.seed, step, micro, self.device)
            with ExitStack() as stack:
                if i + 1 < len(made):
                    stack.enter_context(self.accelerator.no_sync(self.model))
                with autocast(self.device, self.precision):
                    loss_sum, n = self.call(**on_device)
                if isinstance(n, int) and n != n_micro:
                    raise ValueError(
                        f"step {step}, micro-batch {micro}: the task counted {n} targets, "
                        f"the batch said n_targets = {n_micro}; they must agree"
                    )
                (loss_sum * scale).backward()
            self.window.losses.append(loss_sum.detach().float())

    def _apply(self, step: int) -> None:
        parameters = [p for p in self.task.parameters() if p.requires_grad]
        limit = self.clip_norm or float("inf")
        self.window.grad_norms.append(nn.utils.clip_grad_norm_(parameters, limit))
        optim.set_lr(self.optimizer, lambda delay: self.lr_at(step, delay))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average:
            self.average.update()

    # ---- evaluation, history, checkpoints

    def _averaged(self) -> AbstractContextManager[None]:
        return self.average.in_place() if self.average else nullcontext()

    def evaluate_before_first_step(self) -> None:
        """The row of step 0: what the model is worth before any update."""
        if self.progress.step == 0 and self.evaluate is not None:
            started = time.perf_counter()
            row = {"step": 0, **self._run_evaluation()}
            self._add_row({**row, "eval_s": time.perf_counter() - started})

    def record(self, evaluate: bool) -> str:
        """Close the window: one row of the history, with an evaluation when due."""
        row = {"step": self.progress.step, **self._close_window()}
        if evaluate:
            self.clock.enter("eval")
            started = time.perf_counter()
            values = self._run_evaluation()
            row |= {**values, "eval_s": time.perf_counter() - started}
            self._judge(values)
            self.clock.enter("other")
        self._add_row(row)
        shown = {k: v for k, v in row.items() if k == "train_loss" or k.startswith("valid_")}
        text = " ".join(
            f"{k.removeprefix('valid_')}={v:.4g}" for k, v in shown.items() if v is not None
        )
        if self.accelerator.is_main_process:
            logger.info("step %d: %s", self.progress.step, text)
        loss = row["train_loss"]
        if loss is not None and not np.isfinite(loss):
            raise FloatingPointError(
                f"the training loss is {loss} in the steps up to {self.progress.step}, expected a "
                "finite number; try a lower peak_lr, more warmup_steps or precision 'fp32'"
            )
        return text

    def _close_window(self) -> dict[str, float | None]:
        spent, window, self.window = self.clock.read(), self.window, Window()
        self.clock.enter("other")
        losses = torch.stack(window.losses).cpu().double().sum() if window.losses else 0.0
        (loss_sum,) = distributed.sum_over_processes(self.accelerator, [float(losses)])
        norms = torch.stack(window.grad_norms).mean().item() if window.grad_norms else None
        busy_s = sum(spent[phase] for phase in PHASES)
        return {
            "lr": self.lr_at(self.progress.step - 1),
            "train_loss": loss_sum / window.n_targets if window.n_targets else None,
            "grad_norm": norms,
            "tokens_per_s": window.n_tokens / busy_s if busy_s else None,
            "n_tokens": window.n_tokens,
            "n_targets": window.n_targets,
            **{f"{phase}_s": spent[phase] for phase in PHASES},
        }

    def _add_row(self, row: dict[str, Any]) -> None:
        self.progress.wall_s = time.perf_counter() - self.started_s
        self.history.add({**row, "wall_s": self.progress.wall_s})

    def _run_evaluation(self) -> dict[str, float]:
        values: dict[str, float] | None = None
        if self.accelerator.is_main_process:
            self.task.eval()
            with self._averaged(), torch.no_grad(), autocast(self.device, self.precision):
                found = self.evaluate(self.task)
            values = {f"valid_{name}": float(value) for name, value in found.items()}
        values = distributed.share_from_main(self.accelerator, values)
        if self.monitor and f"valid_{self.monitor}" not in values:
            names = ", ".join(name.removeprefix("valid_") for name in values)
            raise ValueError(f"monitor is {self.monitor!r}, but evaluate returned only: {names}")
        return values

    def _judge(self, values: dict[str, float]) -> None:
        if not self.monitor:
            return
        state, value = self.progress, values[f"valid_{self.monitor}"]
        if np.isfinite(value) and (
            state.best_value is None or self.sign * value < self.sign * state.best_value
        ):
            state.best_step, state.best_value = state.step, value
            state.evaluations_without_gain = 0
        else:
            state.evaluations_without_gain += 1
        if self.patience is not None and state.evaluations_without_gain >= self.patience:
            state.stopped_early = True
            logger.info("stopped early: %s best at step %s", self.monitor, state.best_step)

    def wants_save(self) -> bool:
        """Each new best is saved, and where early stopping stops."""
        state = self.progress
        new_best = state.best_step == state.step
        return self.folder is not None and (new_best or state.stopped_early)

    def save(self) -> None:
        """Write a checkpoint by the main process and delete those no longer kept."""
        self.clock.enter("save")
        if self.accelerator.is_main_process:
            state = {
                "optimizer": self.optimizer.state_dict(),
                "progress": vars(self.progress),
                "history": self.history.rows,
                "settings": self.hyper,
                **({"average": self.average.state_dict()} if self.average else {}),
            }
            with self._averaged():
                ckpt.save_checkpoint(self.folder, self.progress.step, self.task, state)
            ckpt.prune_checkpoints(self.folder, self.keep, self.progress.best_step)
        self.accelerator.wait_for_everyone()
        self.clock.enter("other")


def seed_torch(seed: int, step: int, micro: int, device: torch.device) -> None:
    """Dropout depends on (seed, step, micro-batch) alone: not on a resume, not on the processes."""
    value = int(np.random.SeedSequence([seed, step, micro]).generate_state(1, np.uint64)[0])
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        torch.cuda.manual_seed(value)
