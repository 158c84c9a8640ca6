"""Runs of a transfer plan: trained, or found finished under the hash of their configuration.

Shapes: S rows, D width of an embedding.
"""

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from genomelm_utils.datasets.activity_task import ActivitySet, check_ready
from genomelm_utils.models.promoter_nets import (
    PromoterNet,
    build_promoter_net,
    load_promoter_net,
)
from genomelm_utils.tasks.activity_scores import (
    HEADLINE,
    ActivityValidation,
    average_rows,
    predict_rows,
)
from genomelm_utils.tasks.multitask import MultiTask
from genomelm_utils.tasks.multitask_batches import (
    TaskRows,
    length_batches,
    make_batches,
    stack_inputs,
)
from genomelm_utils.tasks.simple_regression import fit_lasso
from genomelm_utils.tasks.transfer_plan import MOTIF_FILE, Plan, plan_key
from genomelm_utils.tasks.transfer_shared import fetch_training, share_training
from genomelm_utils.training import checkpoint as ckpt
from genomelm_utils.training.loop import fit

logger = logging.getLogger(__name__)

#: Fields of a configuration that an embedding depends on: not its heads, nor where it came from.
BACKBONE_FIELDS = ("backbone", "sizes", "length_bp", "ambiguous", "padding")
#: Beginnings of names that stay trainable in 'reference' probing, by backbone; others: all.
REFERENCE_TRAINABLE = {"MTLucifer": ("cls",), "PureCNN": ("linear",)}


@dataclass(frozen=True)
class Outcome:
    """What a run gave. predicted: part -> float32 [S, ...] of the target's rows (averaged over
    windows); labels: part -> float32 [S, T]. history: one row per epoch. best: the monitored value.
    folder: with `model/`; reused: found finished. wall_s: of the training when it was made."""

    plan: Plan
    key: str
    folder: Path
    predicted: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    history: pd.DataFrame
    best: float | None
    n_parameters: int
    wall_s: float
    reused: bool


def run_plan(
    plan: Plan,
    sets: Mapping[str, ActivitySet],
    folder: str | Path,
    *,
    resumable: bool = True,
    shared: Path | None = None,
    progress: bool = False,
) -> Outcome:
    """The outcome of a plan: found under its hash in `folder`, or trained now.

    sets: tasks by name, with parts. A pretraining it needs is found or trained first. resumable:
    an interrupted training goes on from its newest checkpoint. shared: a folder of trainings that
    other runs finished with the same code (see `transfer_shared`); what is found there is copied.
    Raises: ValueError for an unknown task, an empty part, a constant label, or a backbone that
        cannot take the sequences.
    """
    for name in {*plan.tasks, *plan.others}:
        if name not in sets:
            raise ValueError(f"no set {name!r}, expected one of {', '.join(sets)}")
        check_ready(sets[name])
    key = plan_key(plan, sets)
    place = Path(folder) / f"{plan.strategy}-{plan.backbone}-{key[:16]}"
    found = read_outcome(plan, key, place, sets)
    if not found and shared and fetch_training(key, place, shared):
        found = read_outcome(plan, key, place, sets)
    if found:
        return found
    started = time.perf_counter()
    start = None
    if plan.pretraining:
        options = {"resumable": resumable, "shared": shared, "progress": progress}
        before = run_plan(plan.pretraining, sets, folder, **options)
        start = before.folder / "model"
    if plan.strategy == "simple":
        outcome = _run_simple(plan, sets, place, key, start, started)
    else:
        outcome = _run_training(plan, sets, place, key, start, started, resumable, progress)
    if shared:
        share_training(key, place, shared)
    return outcome


def _run_training(plan, sets, place, key, start, started, resumable, progress) -> Outcome:
    """All strategies in which a network or its head is trained by gradients."""
    model = start_network(plan, sets, start)
    used = [sets[name] for name in plan.tasks]
    frozen = plan.strategy == "probing" and plan.probing == "corrected"
    inputs: dict[str, Any] = {one.spec.name: one.codes for one in used}
    if frozen:
        cache = place.parent / "embeddings"
        inputs = {one.spec.name: embed_set(model, one, cache) for one in used}
    task = MultiTask(
        model,
        [one.spec for one in used],
        single=plan.settings.single,
        losses=plan.settings.losses,
        frozen=frozen,
    )
    if plan.strategy == "probing" and not frozen:
        freeze_as_released(plan.backbone, task)
    history, best = _train(plan, task, used, inputs, place if resumable else None, key, progress)
    outcome = _predict(plan, key, place, sets, task, inputs, history, best, started)
    write_outcome(outcome, model)
    return outcome


def start_network(
    plan: Plan, sets: Mapping[str, ActivitySet], start: Path | None = None
) -> PromoterNet:
    """The network a plan begins with: new, or a pretrained backbone under new heads."""
    heads = {name: sets[name].spec.head_outputs for name in plan.tasks}
    if start is not None:
        with ckpt.hide_bars():
            return load_promoter_net(start, heads, seed=plan.seed).train()
    options = dict(plan.options)
    if MOTIF_FILE in options:
        from genomelm_utils.motifs.formats import read_motifs

        options["motifs"] = read_motifs(options.pop(MOTIF_FILE))
    return build_promoter_net(plan.backbone, heads, seed=plan.seed, **options).train()


@torch.no_grad()
def embed_set(
    model: PromoterNet, data: ActivitySet, cache: Path | None = None, batch_size: int = 256
) -> np.ndarray:
    """float32 [S, D] of every row, in evaluation mode; computed once for the same backbone weights
    and sequences, kept as <cache>/<key>.npy."""
    path = None
    if cache is not None:
        config = {name: getattr(model.config, name) for name in BACKBONE_FIELDS}
        digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
        for name, tensor in sorted(model.backbone.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        digest.update(data.key.encode())
        path = cache / f"{digest.hexdigest()}.npy"
        if path.is_file():
            return np.load(path, allow_pickle=False)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    place = next(model.parameters()).device
    parts, order = [], []
    for rows in length_batches(data.length_S, batch_size):
        parts.append(model.embed(stack_inputs(data.codes, rows).to(place)).float().cpu().numpy())
        order.append(rows)
    found = np.concatenate(parts)[np.argsort(np.concatenate(order))]
    for module, mode in modes.items():
        module.training = mode
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.save(file, found)
        partial.replace(path)
    return found


def freeze_as_released(backbone: str, task: MultiTask) -> None:
    """Take the gradient from what the released linear probing takes it from (see the head)."""
    for start, names in REFERENCE_TRAINABLE.items():
        if backbone.startswith(start):
            for name, parameter in task.model.backbone.named_parameters():
                parameter.requires_grad_(name.startswith(names))


def _train(plan, task, used, inputs, place, key, progress) -> tuple[pd.DataFrame, float | None]:
    settings = plan.settings
    rows = []
    for data in used:
        chosen = data.rows("train")
        given = inputs[data.spec.name]
        cut = given[chosen] if isinstance(given, np.ndarray) else [given[row] for row in chosen]
        rows.append(TaskRows(data.spec.name, cut, data.labels_ST[chosen], settings.batch_size))
    batches, per_epoch = make_batches(rows, settings.train_mode, plan.seed)
    monitor, higher = monitored(plan, used)
    fresh = place is None or not ckpt.list_checkpoints(place / "training")
    validation = ActivityValidation(
        used, inputs, monitor=monitor, higher_is_better=higher, skip_first=fresh
    )
    result = fit(
        task,
        batches,
        steps=per_epoch * settings.epochs,
        peak_lr=settings.lr,
        schedule=settings.schedule,
        optimizer=settings.optimizer,
        betas=(settings.beta1, settings.beta2),
        warmup_steps=per_epoch if settings.schedule == "one_cycle_by_epoch" else 0,
        weight_decay=settings.weight_decay,
        clip_norm=settings.clip_norm,
        folder=None if place is None else place / "training",
        evaluate=validation,
        eval_every=per_epoch,
        log_every=per_epoch,
        save_every=0 if place is None else per_epoch,
        keep=1,
        resume=place is not None,
        seed=plan.seed,
        monitor=monitor,
        higher_is_better=higher,
        patience=settings.patience,
        settings={"key": key},
        progress=progress,
    )
    if validation.best is not None and validation.best[0] == result.best_value:
        task.load_state_dict(validation.best[1])
    elif result.best_checkpoint is not None:
        path = result.best_checkpoint
        ckpt.load_weights(path, task, ckpt.read_state(path))
    else:
        logger.warning("%s: the monitored %s was never finite", plan.strategy, monitor)
    return result.history, result.best_value


def monitored(plan: Plan, used: list[ActivitySet]) -> tuple[str, bool]:
    """(name of the monitored value, whether more of it is better)."""
    settings = plan.settings
    if settings.direction not in ("", "max", "min"):
        raise ValueError(f"direction is {settings.direction!r}, expected max or min")
    if settings.monitor:
        default = not settings.monitor.endswith(("loss", "mse"))
        return settings.monitor, default if not settings.direction else settings.direction == "max"
    if plan.strategy == "pretrain":
        return "overall_loss", False
    spec = next(one.spec for one in used if one.spec.name == plan.target)
    return f"{plan.target}_mean_{HEADLINE[spec.kind]}", True


def _predict(plan, key, place, sets, task, inputs, history, best, started) -> Outcome:
    predicted, labels = {}, {}
    if plan.target:
        data = sets[plan.target]
        for part in ("valid", "test"):
            rows = data.rows(part)
            values = predict_rows(task, data.spec, inputs[plan.target], rows)
            labels[part], predicted[part] = average_rows(data, rows, values)
    n = sum(p.numel() for p in task.model.parameters())
    wall_s = time.perf_counter() - started
    return Outcome(plan, key, place, predicted, labels, history, best, n, wall_s, False)


def _run_simple(plan, sets, place, key, start, started) -> Outcome:
    """Lasso on the embeddings of the target's rows; nothing of the network is trained."""
    data = sets[plan.target]
    model = start_network(plan, sets, start)
    features_SD = embed_set(model, data, place.parent / "embeddings")
    lasso = fit_lasso(features_SD, data.labels_ST, data.rows("train"), data.rows("valid"))
    predicted, labels = {}, {}
    for part in ("valid", "test"):
        rows = data.rows(part)
        values = lasso.predict(features_SD[rows])
        labels[part], predicted[part] = average_rows(data, rows, values)
    n = sum(p.numel() for p in model.parameters())
    wall_s = time.perf_counter() - started
    history = lasso.choice
    outcome = Outcome(plan, key, place, predicted, labels, history, None, n, wall_s, False)
    write_outcome(outcome, model)
    return outcome


def write_outcome(outcome: Outcome, model: PromoterNet) -> None:
    """Keep an outcome: model/, predictions.npz, history.csv, and last of all result.json."""
    place = outcome.folder
    place.mkdir(parents=True, exist_ok=True)
    with ckpt.hide_bars():
        model.eval().save_pretrained(place / "model")
    arrays = {f"predicted_{part}": values for part, values in outcome.predicted.items()}
    np.savez(place / "predictions.npz", **arrays)
    outcome.history.to_csv(place / "history.csv", index=False)
    told = {"key": outcome.key, "best": outcome.best, "n_parameters": outcome.n_parameters}
    told |= {"wall_s": outcome.wall_s, "plan": asdict(outcome.plan)}
    partial = place / "result.json.partial"
    partial.write_text(json.dumps(told, indent=1, default=str) + "\n")
    partial.replace(place / "result.json")


def read_outcome(
    plan: Plan, key: str, place: Path, sets: Mapping[str, ActivitySet]
) -> Outcome | None:
    """A finished run of exactly this configuration, or None."""
    path = place / "result.json"
    if not path.is_file():
        return None
    told = json.loads(path.read_text())
    if told["key"] != key:
        return None
    with np.load(place / "predictions.npz") as file:
        predicted = {name.removeprefix("predicted_"): file[name] for name in file.files}
    labels = {}
    for part in predicted:
        data = sets[plan.target]
        rows = data.rows(part)
        labels[part], _ = average_rows(data, rows, np.zeros((len(rows), 1), np.float32))
    history = pd.read_csv(place / "history.csv")
    numbers = told["best"], told["n_parameters"], told["wall_s"]
    return Outcome(plan, key, place, predicted, labels, history, *numbers, True)


def with_seed(plan: Plan, seed: int) -> Plan:
    """The same plan with another seed; its pretraining stays the same."""
    return replace(plan, seed=seed)
