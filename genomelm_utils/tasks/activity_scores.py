"""Predictions of a task's held-out rows, and how good they are, per output and in the mean.

Shapes: S rows, T outputs, C classes.
"""

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata

from genomelm_utils.datasets.activity_task import CLASS_KINDS, ActivitySet, TaskSpec
from genomelm_utils.tasks.multitask import MultiTask, split_classes
from genomelm_utils.tasks.multitask_batches import length_batches, stack_inputs

REGRESSION_METRICS = ("pearson", "spearman", "R2", "mse")
CLASS_METRICS = ("accuracy", "precision", "recall", "f1")
MEAN = "mean"
#: What is monitored where nothing else is said, and that more of it is better.
HEADLINE = {"regression": "spearman", "multilabel": "accuracy"} | dict.fromkeys(
    CLASS_KINDS, "accuracy"
)


@torch.no_grad()
def predict_rows(
    task: MultiTask,
    spec: TaskSpec,
    inputs: list[np.ndarray] | np.ndarray,
    rows: np.ndarray,
    batch_size: int = 256,
) -> np.ndarray:
    """float32 [S, T] of these rows: values, probabilities of 1, or for classes [S, T x C] shares.

    In evaluation mode; the modes are as before afterwards. A row's numbers do not depend on what
    it is batched with.
    """
    modes = {module: module.training for module in task.modules()}
    task.eval()
    place = next(task.parameters()).device
    lengths = np.array([len(inputs[row]) for row in rows])
    found = np.zeros((len(rows), len(spec.head_outputs)), dtype=np.float32)
    for batch in length_batches(lengths, batch_size):
        values = task.predict(spec, stack_inputs(inputs, rows[batch]).to(place)).float()
        if spec.kind == "multilabel":
            values = values.sigmoid()
        elif spec.kind in CLASS_KINDS:
            values = split_classes(spec, values).softmax(2).flatten(1)
        found[batch] = values.cpu().numpy()
    for module, mode in modes.items():
        module.training = mode
    return found


def average_rows(
    data: ActivitySet, rows: np.ndarray, predicted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(labels, predictions), of windows of one gene averaged where the task says so."""
    labels_ST = data.labels_ST[rows]
    if not data.spec.average_by:
        return labels_ST, predicted
    group_S = pd.factorize(data.columns[data.spec.average_by].iloc[rows])[0]
    n_G = np.bincount(group_S)[:, None]
    first_G = np.unique(group_S, return_index=True)[1]
    sums = np.zeros((len(n_G), predicted.shape[1]))
    np.add.at(sums, group_S, predicted)
    return labels_ST[first_G], (sums / n_G).astype(np.float32)


def score_outputs(spec: TaskSpec, labels_ST: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    """Columns output, metric, value, n; the output 'mean' is over those of the spec's headline.

    Regression: pearson, spearman, R2, mse. Multilabel: accuracy, precision, recall, f1 at a
    probability of one half, and spearman. Classes: accuracy, and spearman of the expected class.
    What is not defined (a constant column) is NaN, and left out of the mean.
    """
    rows = []
    for t, output in enumerate(spec.outputs):
        known_S = np.isfinite(labels_ST[:, t])
        y = labels_ST[known_S, t].astype(np.float64)
        if spec.kind in CLASS_KINDS:
            n = len(spec.classes)
            p = predicted[known_S, t * n : (t + 1) * n].astype(np.float64)
            values = {"accuracy": float((p.argmax(1) == y).mean()) if len(y) else np.nan}
            values["spearman"] = spearman(y, p @ np.arange(n))
        else:
            p = predicted[known_S, t].astype(np.float64)
            values = _score_numbers(y, p) if spec.kind == "regression" else _score_binary(y, p)
        rows += [
            {"output": output, "metric": m, "value": v, "n": len(y)} for m, v in values.items()
        ]
    table = pd.DataFrame(rows)
    named = table[table["output"].isin(spec.headline or spec.outputs)]
    means = named.groupby("metric", sort=False).agg(value=("value", "mean"), n=("n", "sum"))
    means = means.reset_index().assign(output=MEAN)
    return pd.concat([table, means[["output", "metric", "value", "n"]]], ignore_index=True)


def pearson(y: np.ndarray, p: np.ndarray) -> float:
    """Correlation in [-1, 1]; NaN with fewer than two rows, or where either is constant."""
    if len(y) < 2 or np.ptp(y) == 0 or np.ptp(p) == 0:
        return float("nan")
    y, p = y - y.mean(), p - p.mean()
    return float(y @ p / np.sqrt((y @ y) * (p @ p)))


def spearman(y: np.ndarray, p: np.ndarray) -> float:
    """`pearson` of the ranks; ties share their mean rank."""
    return pearson(rankdata(y), rankdata(p)) if len(y) else float("nan")


def _score_numbers(y: np.ndarray, p: np.ndarray) -> dict[str, float]:
    if not len(y):
        return dict.fromkeys(REGRESSION_METRICS, float("nan"))
    mse, variance = float(np.square(y - p).mean()), float(y.var())
    r2 = 1 - mse / variance if variance > 0 else float("nan")
    return {"pearson": pearson(y, p), "spearman": spearman(y, p), "R2": r2, "mse": mse}


def _score_binary(y: np.ndarray, p: np.ndarray) -> dict[str, float]:
    if not len(y):
        return dict.fromkeys(CLASS_METRICS, float("nan"))
    called = p >= 0.5
    hits = float((called & (y == 1)).sum())
    precision = hits / called.sum() if called.any() else 0.0
    recall = hits / (y == 1).sum() if (y == 1).any() else float("nan")
    f1 = 2 * hits / (called.sum() + (y == 1).sum()) if hits else 0.0
    scores = {"accuracy": float((called == y).mean()), "precision": precision, "recall": recall}
    return {**scores, "f1": f1, "spearman": spearman(y, p)}


class ActivityValidation:
    """What `fit` evaluates: loss and scores of every task's validation rows; best weights kept.

    skip_first: the first call is that of the untrained network, which `fit` does not count.
    Values: '<task>_loss', '<task>_<output or mean>_<metric>', 'overall_loss' (sum over tasks).
    """

    def __init__(
        self,
        sets: list[ActivitySet],
        inputs: dict[str, list[np.ndarray] | np.ndarray],
        *,
        monitor: str,
        higher_is_better: bool,
        batch_size: int = 256,
        outputs: bool = False,
        skip_first: bool = False,
    ) -> None:
        self.sets, self.inputs = sets, inputs
        self.monitor, self.sign = monitor, 1.0 if higher_is_better else -1.0
        self.batch_size, self.outputs = batch_size, outputs
        self.waiting = skip_first
        self.best: tuple[float, dict[str, torch.Tensor]] | None = None

    def __call__(self, task: MultiTask) -> dict[str, float]:
        found = {"overall_loss": 0.0}
        for data in self.sets:
            spec, rows = data.spec, data.rows("valid")
            predicted = predict_rows(task, spec, self.inputs[spec.name], rows, self.batch_size)
            labels_ST = data.labels_ST[rows]
            loss = _loss_of(task, spec, predicted, labels_ST)
            found[f"{spec.name}_loss"] = loss
            found["overall_loss"] += loss
            table = score_outputs(spec, *average_rows(data, rows, predicted))
            if not self.outputs:
                table = table[table["output"] == MEAN]
            for row in table.itertuples():
                found[f"{spec.name}_{row.output}_{row.metric}"] = row.value
        if self.monitor not in found:
            raise ValueError(
                f"monitor is {self.monitor!r}, expected one of {', '.join(sorted(found))}"
            )
        value = found[self.monitor]
        better = self.best is None or self.sign * value > self.sign * self.best[0]
        if self.waiting:
            self.waiting = False
        elif np.isfinite(value) and better:
            state = {k: v.detach().to("cpu", copy=True) for k, v in task.state_dict().items()}
            self.best = value, state
        return found


def _loss_of(
    task: MultiTask, spec: TaskSpec, predicted: np.ndarray, labels_ST: np.ndarray
) -> float:
    """The unweighted loss, from predictions (logits come back from probabilities)."""
    values = torch.from_numpy(predicted)
    if spec.kind == "multilabel":
        values = torch.logit(values, eps=1e-6)
    elif spec.kind in CLASS_KINDS:
        values = values.clamp(min=1e-12).log()
    return float(task.loss(spec, values, torch.from_numpy(labels_ST)))
