"""Training of species-aware embeddings: a curriculum of phases, each ending at its best checkpoint.

DNABERT-S (Zhou et al. 2024, arXiv:2402.08777) learns from pairs of windows of one genome, first by
weighted SimCLR, then with mixtures inside the network.
"""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from genomelm_utils.models.alibi_bert import AlibiBertModel
from genomelm_utils.tasks.contrastive import HEAD_DIM, OBJECTIVES, TEMPERATURE, ContrastiveTask
from genomelm_utils.tasks.contrastive_batches import (
    MANIFOLD,
    PairBatches,
    PairSource,
    check_mixing_groups,
    check_shares,
)
from genomelm_utils.tasks.species_validation import FrozenPairs, freeze_pairs, validate_pairs
from genomelm_utils.training import checkpoint as ckpt
from genomelm_utils.training.distributed import open_accelerator
from genomelm_utils.training.loop import FitResult, fit

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

logger = logging.getLogger(__name__)

PHASE_START = ("best", "last_save")
MONITORS = {"loss": False, "accuracy": True}  # name -> whether higher is better


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one objective.

    objective: one of `contrastive.OBJECTIVES`. mix_layer: where mixtures happen, for `mix` only
    (0: the embeddings, which is i-Mix; `MANIFOLD`: another layer in every step).
    """

    objective: str
    steps: int
    mix_layer: int = MANIFOLD

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES or self.steps < 1:
            raise ValueError(
                f"phase {self.objective!r} of {self.steps} steps, expected one of: "
                f"{', '.join(OBJECTIVES)}, and at least 1 step"
            )


def curriculum(steps: int, mix_layer: int = MANIFOLD) -> tuple[Phase, Phase]:
    """A third of the steps weighted SimCLR, then mixtures: the paper's curriculum.

    Raises: ValueError for fewer than 3 steps. Source: arXiv:2402.08777; released `train`.
    """
    if steps < 3:
        raise ValueError(f"a curriculum of {steps} steps, expected at least 3")
    first = steps // 3
    return Phase("weighted_simclr", first), Phase("mix", steps - first, mix_layer)


DEFAULT_PHASES = curriculum(3000)


@dataclass(frozen=True)
class Trained:
    """What a training leaves: the model (that handed in, in evaluation mode) and its records.

    history: the rows of all phases' `fit`, with `phase` (from 1) and `total_step`. phases: one row
    per phase: objective, steps, the validation before it, its best step and what was reached there
    (missing where no validation was finite: then the phase ends with its last weights), and the
    checkpoint it ends with. final: folder with model, tokenizer and projection.
    """

    model: AlibiBertModel
    history: pd.DataFrame
    phases: pd.DataFrame
    final: Path


def train_species(
    model: AlibiBertModel,
    tokenizer: "PreTrainedTokenizerFast",
    pairs: PairSource,
    valid_pairs: PairSource,
    *,
    folder: Path,
    phases: Sequence[Phase] = DEFAULT_PHASES,
    batch_pairs: int = 48,
    chunk_pairs: int = 0,
    max_tokens: int = 2000,
    method: str = "same_species",
    strands: str = "both",
    temperature: float = TEMPERATURE,
    head_dim: int = HEAD_DIM,
    head_lr_factor: float = 100.0,
    layer_lr_factor: float = 1.0,
    peak_lr: float = 3e-6,
    schedule: str = "linear",
    warmup_share: float = 0.1,
    weight_decay: float = 0.01,
    clip_norm: float = 1.0,
    ema_decay: float = 0.0,
    mix_alpha: float = 1.0,
    n_valid_pairs: int = 512,
    monitor: str = "loss",
    eval_every: int = 500,
    save_every: int = 500,
    log_every: int = 10,
    keep: int = 1,
    seed: int = 1,
    precision: str = "auto",
    same_species_negatives: bool = False,
    soft_labels: str = "corrected",
    partner_index: str = "global",
    phase_start: str = "best",
    reference_views: bool = False,
    ambiguous: str = "unk",
    resume: bool = True,
    progress: bool = True,
) -> Trained:
    """Train an encoder in place to place windows of one genome together; the result in `final`.

    Every phase is one `fit` in `folder/phase-<n>-<objective>`, with its own optimiser and schedule,
    and ends with the weights of its best validation, from which the next starts. A killed training
    goes on from its newest checkpoint when called again with the same arguments; a finished one is
    only read.

    Under several processes each encodes its share of the batch and is compared with all shares.
    Losses and weights are then those of one process up to rounding, if dropout is 0 and, where a
    phase mixes, `chunk_pairs` is the same; 0 is refused there. Dropout draws other units with
    another number of processes; a training cannot be resumed with another number.

    Defaults are the released settings (48 pairs, 2000 tokens, temperature 0.05, rate 3e-6, 100
    times that for the projection), but for the way of updating, which there is `schedule` constant,
    `warmup_share` 0, `weight_decay` 0 and `clip_norm` 0. Such rates are for a pretrained network;
    one with random weights needs a much larger `peak_lr` and a `head_lr_factor` near 1.

    Args:
        pairs, valid_pairs: sources such as `PairSampler` or a file of pairs. Validation always
            takes two windows of a genome, the first `n_valid_pairs` pairs of its source.
        phases: such as `curriculum(steps)`.
        batch_pairs: of all processes together. chunk_pairs: encoded and mixed together, to save
            memory; 0: a process's share, with mixtures in one process only.
        max_tokens: longer windows are cut.
        method: see `tasks.views.make_views`. strands: see `contrastive_batches.PairBatches`.
        head_dim: of the projection; 0: none, the embeddings themselves are compared. From random
            weights and few genomes a projection learns what the embedding then lacks.
        layer_lr_factor: learning rate of the layers over that of the token embeddings.
        warmup_share: of each phase's steps, [0, 1).
        monitor: `loss` or `accuracy`, see `species_validation.validate_pairs`.
        schedule, weight_decay, clip_norm, ema_decay, eval_every, save_every, log_every, keep,
            precision, resume, progress: as in `training.loop.fit`, for each phase on its own.
        same_species_negatives, soft_labels, partner_index, reference_views, precision "fp16", and
            phase_start "last_save": True or these words repeat what the released training does:
            pairs of a species as negatives, its loss of mixtures, labels counted per GPU, views
            neither reversed nor swapped, float16 without loss scaling, and the next phase going
            back to the last save (every `save_every` updates).
    Raises: ValueError for settings that do not fit; as `training.loop.fit`.
    """
    _check(monitor, phase_start, warmup_share)
    n_processes = open_accelerator().num_processes
    share = check_shares(batch_pairs, n_processes, chunk_pairs)
    if any(phase.objective == "mix" for phase in phases):  # before an earlier phase is trained
        check_mixing_groups(share, n_processes, chunk_pairs)
    batching = {
        "batch_pairs": batch_pairs,
        "chunk_pairs": chunk_pairs,
        "max_tokens": max_tokens,
        "mix_alpha": mix_alpha,
        "partner_index": partner_index,
        "method": method,
        "strands": strands,
        "reference_views": reference_views,
        "ambiguous": ambiguous,
    }
    learning = {
        "temperature": temperature,
        "head_dim": head_dim,
        "soft_labels": soft_labels,
        "same_species_negatives": same_species_negatives,
    }
    fitting = {
        "peak_lr": peak_lr,
        "schedule": schedule,
        "weight_decay": weight_decay,
        "lr_scales": {
            "model.encoder.": layer_lr_factor,
            **({"head.": head_lr_factor} if head_dim else {}),
        },
        "clip_norm": clip_norm,
        "ema_decay": ema_decay,
        "eval_every": eval_every,
        "save_every": save_every,
        "log_every": log_every,
        "keep": keep,
        "resume": resume,
        "monitor": monitor,
        "higher_is_better": MONITORS[monitor],
        "precision": precision,
        "progress": progress,
    }
    trained_before = [p.requires_grad for p in model.parameters()]
    task = ContrastiveTask(model, chunk_pairs=chunk_pairs, seed=seed, **learning)
    setup = _Setup(
        task=task,
        sources=(pairs, tokenizer),
        frozen=freeze_pairs(valid_pairs, tokenizer, n_valid_pairs, max_tokens, ambiguous, strands),
        folder=Path(folder),
        seed=seed,
        warmup_share=warmup_share,
        phase_start=phase_start,
        batching=batching,
        learning=learning,
        fitting=fitting,
    )
    try:
        results = _train_phases(setup, phases)
        final = _save_final(task, tokenizer, Path(folder) / "final")
    finally:
        for parameter, trains in zip(model.parameters(), trained_before, strict=True):
            parameter.requires_grad_(trains)
    histories = [result.history.assign(phase=i) for i, result in enumerate(results, start=1)]
    table = _describe_phases(phases, results)
    for history, first_step in zip(histories, table["first_step"], strict=True):
        history["total_step"] = history["step"] + first_step
    return Trained(model.eval(), pd.concat(histories, ignore_index=True), table, final)


@dataclass(frozen=True)
class _Setup:
    """What all phases of a training share."""

    task: ContrastiveTask
    sources: tuple[PairSource, "PreTrainedTokenizerFast"]
    frozen: FrozenPairs
    folder: Path
    seed: int
    warmup_share: float
    phase_start: str
    batching: dict[str, Any]
    learning: dict[str, Any]
    fitting: dict[str, Any]


def _train_phases(setup: _Setup, phases: Sequence[Phase]) -> list[FitResult]:
    """Every phase in turn, each from where the one before it ended."""
    results: list[FitResult] = []
    first_step = 0
    for number, phase in enumerate(phases, start=1):
        last, steps = number == len(phases), phase.steps
        if setup.phase_start == "last_save" and not last:
            steps = count_kept_steps(steps, setup.fitting["save_every"])
        result = _train_phase(setup, number, phase, first_step, steps)
        if setup.phase_start == "best" or last:
            take_best(setup.task, result)
        results.append(result)
        first_step += phase.steps
    return results


def _train_phase(
    setup: _Setup, number: int, phase: Phase, first_step: int, steps: int
) -> FitResult:
    """One `fit`, in its own folder."""
    task, n_processes = setup.task, open_accelerator().num_processes
    task.objective = phase.objective
    batches = PairBatches(
        *setup.sources,
        seed=setup.seed,
        n_processes=n_processes,
        n_layers=task.model.config.num_hidden_layers if phase.objective == "mix" else None,
        mix_layer=phase.mix_layer,
        first_step=first_step,
        **setup.batching,
    )
    block = setup.batching["batch_pairs"]
    logger.info("phase %d: %s, %d steps", number, phase.objective, steps)
    return fit(
        task,
        batches,
        steps=steps,
        micro_batches=n_processes,
        warmup_steps=int(setup.warmup_share * steps),
        folder=setup.folder / f"phase-{number}-{phase.objective}",
        evaluate=lambda task: validate_pairs(task, setup.frozen, block),
        seed=setup.seed,
        settings={
            **setup.batching,
            **setup.learning,
            **{f"phase_{name}": value for name, value in asdict(phase).items()},
            "first_step": first_step,
            "phase_start": setup.phase_start,
            "start_weights": fingerprint(task.state_dict().values()) if number == 1 else None,
            "data": fingerprint(v for v in batches(0, 0).values() if torch.is_tensor(v)),
        },
        **setup.fitting,
    )


def count_kept_steps(steps: int, save_every: int) -> int:
    """The updates of a phase that survive the released return to the last save.

    Saved is after update 1, 1 + save_every, 1 + 2 save_every, ...; what follows the last save would
    be computed and thrown away, so it is not computed. Source: released `train`, `save_model`.
    """
    return (steps - 1) // save_every * save_every + 1 if save_every else 1


def take_best(task: ContrastiveTask, result: FitResult) -> None:
    """Put the weights of a training's best validation into the task."""
    if result.best_checkpoint is None:
        logger.warning("no validation was finite: the last weights are kept")
        return
    state = ckpt.read_state(result.best_checkpoint)
    ckpt.load_weights(result.best_checkpoint, task, state)
    logger.info("best after %s steps: %s", result.best_step, result.best_value)


def fingerprint(tensors: Iterable[torch.Tensor]) -> str:
    """A short hash of tensors: other data or other weights are noticed on resuming."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _save_final(task: ContrastiveTask, tokenizer: "PreTrainedTokenizerFast", folder: Path) -> Path:
    """Model, tokenizer and projection, complete or not at all; all processes wait for it."""
    accelerator = open_accelerator()
    if accelerator.is_main_process:
        with ckpt.write_folder(folder) as partial, ckpt.hide_bars():
            task.model.save_pretrained(partial)
            tokenizer.save_pretrained(partial)
            task.save_beside(partial)
    accelerator.wait_for_everyone()
    return folder


def _describe_phases(phases: Sequence[Phase], results: Sequence[FitResult]) -> pd.DataFrame:
    """One row per phase: its settings, the validation before it and at its best step."""
    rows, first_step = [], 0
    for number, (phase, result) in enumerate(zip(phases, results, strict=True), start=1):
        # without a finite validation no step is the best: its values are missing
        by_step = result.history.set_index("step").reindex([0, result.best_step])
        found = {"start": by_step.iloc[0], "best": by_step.iloc[1]}
        rows.append(
            {
                "phase": number,
                **asdict(phase),
                "first_step": first_step,
                "steps_made": result.step,
                "best_step": result.best_step,
                **{
                    f"{k}_{name}": v[f"valid_{name}"] for name in MONITORS for k, v in found.items()
                },
                "wall_s": result.history["wall_s"].iloc[-1],
                "checkpoint": (result.best_checkpoint or result.checkpoint).name,
            }
        )
        first_step += phase.steps
    return pd.DataFrame(rows).astype({"best_step": "Int64"})


def _check(monitor: str, phase_start: str, warmup_share: float) -> None:
    if monitor not in MONITORS:
        raise ValueError(f"monitor is {monitor!r}, expected one of: {', '.join(MONITORS)}")
    if phase_start not in PHASE_START:
        raise ValueError(
            f"phase_start is {phase_start!r}, expected one of: {', '.join(PHASE_START)}"
        )
    if not 0 <= warmup_share < 1:
        raise ValueError(f"warmup_share is {warmup_share}, expected a fraction in [0, 1)")
