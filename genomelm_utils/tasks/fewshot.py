"""The few-shot protocol: shots x draws x seeds for every model, with baselines on equal terms.

Every method sees the same training rows of a draw and the same test rows, so that differences can
be paired. Rows are kept as they finish: a run that was killed goes on where it stopped.
"""

import csv
import hashlib
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from transformers import BertConfig

from genomelm_utils.datasets.labelled import LabelledSet
from genomelm_utils.evaluation.metrics import classification_metrics
from genomelm_utils.evaluation.statistics import compare_all, interval_table
from genomelm_utils.tasks import classification
from genomelm_utils.tasks.classification import fine_tune, probe

logger = logging.getLogger(__name__)

#: (shots, draw) -> training and test rows; a pure function.
Loader = Callable[[int, int], tuple[LabelledSet, LabelledSet]]
METRICS = ("accuracy", "auc", "f1", "mcc")
KEY = ["model", "method", "shots", "draw", "seed"]
KEPT = [*KEY, "inputs", "n_train", "n_test", *METRICS, "collapsed"]  # columns of the file of rows


class Settings(NamedTuple):
    """How models are adapted: `k`, and the released code's slips by name, corrected by default."""

    k: int
    reference_resume_bug: bool = False
    both_strands: bool = False
    lr_factor: float = 1.0  # on the published rates, which are for networks of 12 layers

    def for_shots(self, shots: int) -> classification.Settings:
        """GeneMask's batch size, epochs and learning rate for that many shots, the rate scaled."""
        published = classification.SETTINGS[classification.settings_for(shots)]
        return replace(published, peak_lr=published.peak_lr * self.lr_factor)


def run_fewshot(
    load: Loader,
    models: Mapping[str, Path | BertConfig],
    baselines: Sequence[str],
    *,
    shots: Sequence[int],
    draws: int,
    seeds: int,
    seed: int,
    settings: Settings,
    with_probe: bool = True,
    kept: Path | None = None,
) -> pd.DataFrame:
    """One row per model, method, shots, draw and seed, with the metrics on the test rows.

    `method` is `fine-tuned` (all weights, GeneMask's settings for that many shots), `probe`
    (logistic regression on the frozen encoder) or `baseline`. Probes and baselines have no seed of
    their own: seed 0.

    models: name -> folder of a masked LM, or a config for the same network from random weights.
    seeds: fine-tunings per draw; their seeds are `seed`, `seed` + 1, ...
    kept: CSV file of finished rows; those are not computed again while the sequences, the model's
    files, the seed and the settings are the same.
    """
    rows = Rows(kept)
    hash_of = {name: hash_inputs(source) for name, source in models.items()}
    for n_shots in shots:
        for draw in range(draws):
            train, test = load(n_shots, draw)
            n_classes = int(max(train.labels.max(), test.labels.max())) + 1
            facts = {"n_train": len(train), "n_test": len(test)}
            data = hash_inputs(train, test)
            for name in baselines:
                key = (name, "baseline", n_shots, draw, 0)
                call = _baseline(name, train, test, n_classes)
                rows.add(key, data, facts, test, call)
            for name, source in models.items():
                if with_probe and not isinstance(source, BertConfig):
                    key = (name, "probe", n_shots, draw, 0)
                    inputs = hash_inputs(data, hash_of[name], settings.k)
                    call = _probe(source, train, test, settings.k, n_classes)
                    rows.add(key, inputs, facts, test, call)
                for s in range(seeds):
                    key = (name, "fine-tuned", n_shots, draw, s)
                    inputs = hash_inputs(data, hash_of[name], seed + s, settings)
                    call = _fine_tune(source, train, test, n_shots, seed + s, settings, n_classes)
                    rows.add(key, inputs, facts, test, call)
            logger.info("%d shots, draw %d: done", n_shots, draw)
    return rows.table()


class Rows:
    """Finished rows, in memory and in a file: each is computed once.

    A row of the file counts only for the `inputs` (a hash) it was computed from: in JupyterLab the
    same file sees other data sets, models and seeds. Rows that nobody asks for stay in the file.
    """

    def __init__(self, kept: Path | None) -> None:
        self.kept = kept
        self.rows: dict[tuple, dict] = {}
        known = read_kept(kept) if kept is not None and kept.is_file() else []
        self.known = {tuple(row[c] for c in (*KEY, "inputs")): row for row in known}

    def add(
        self,
        key: tuple,
        inputs: str,
        facts: dict,
        test: LabelledSet,
        predict: Callable[[], np.ndarray],
    ) -> None:
        """Computes and keeps the row of `key`, unless it is there."""
        if (*key, inputs) in self.known:
            self.rows[key] = self.known[*key, inputs]
            return
        metrics = classification_metrics(predict(), test.labels)
        named = {name: metrics[name] for name in (*METRICS, "collapsed")}
        self.rows[key] = dict(zip(KEY, key, strict=True)) | {"inputs": inputs} | facts | named
        if self.kept is not None:
            row = pd.DataFrame([self.rows[key]], columns=KEPT)
            row.to_csv(self.kept, mode="a", header=not self.kept.is_file(), index=False)

    def table(self) -> pd.DataFrame:
        """The rows that were added, in that order, without the hash of their inputs."""
        return pd.DataFrame(list(self.rows.values())).drop(columns="inputs", errors="ignore")


def read_kept(file: Path) -> list[dict]:
    """The rows of a file that `Rows` wrote; a last line that was cut short is taken out of it.

    A file with other columns (of an earlier version) is deleted.
    """
    text = file.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole.split("\n", 1)[0] != ",".join(KEPT):
        logger.warning("%s: not the columns of this version, started anew", file)
        file.unlink()
        return []
    if whole != text:
        file.write_text(whole, encoding="utf-8")
    # not by pandas, which would take a run called 10 for a number and one called None for nothing
    return [
        row
        | {name: int(row[name]) for name in ("shots", "draw", "seed", "n_train", "n_test")}
        | {name: float(row[name] or "nan") for name in METRICS}
        | {"collapsed": row["collapsed"] == "True"}
        for row in csv.DictReader(io.StringIO(whole))
    ]


def hash_inputs(*parts: object) -> str:
    """A short hash of what a row is computed from: labelled sets, model folders, plain values."""
    digest = hashlib.sha256()
    for part in parts:
        for piece in _pieces_of(part):
            digest.update(len(piece).to_bytes(8, "little"))
            digest.update(piece)
    return digest.hexdigest()[:16]


def _pieces_of(part: object) -> list[bytes]:
    if isinstance(part, LabelledSet):
        codes = np.concatenate([np.asarray(one) for one in part.codes])
        return [array.tobytes() for array in (part.lengths_bp, codes, part.labels)]
    if isinstance(part, Path):
        files = sorted(path for path in part.glob("*") if path.is_file())
        return [piece for file in files for piece in (file.name.encode(), file.read_bytes())]
    return [part.to_json_string().encode() if isinstance(part, BertConfig) else repr(part).encode()]


def _baseline(
    name: str, train: LabelledSet, test: LabelledSet, n_classes: int
) -> Callable[[], np.ndarray]:
    from genomelm_utils.baselines.kmer_linear import baseline_probs

    return lambda: baseline_probs(name, (train.codes, train.labels), test.codes, n_classes)


def _probe(
    source: Path, train: LabelledSet, test: LabelledSet, k: int, n_classes: int
) -> Callable[[], np.ndarray]:
    return lambda: probe(source, (train.codes, train.labels), test.codes, k, n_classes=n_classes)


def _fine_tune(
    source: Path | BertConfig,
    train: LabelledSet,
    test: LabelledSet,
    n_shots: int,
    seed: int,
    settings: Settings,
    n_classes: int,
) -> Callable[[], np.ndarray]:
    def call() -> np.ndarray:
        classifier = fine_tune(
            source,
            (train.codes, train.labels),
            k=settings.k,
            settings=settings.for_shots(n_shots),
            seed=seed,
            n_classes=n_classes,
            reference_resume_bug=settings.reference_resume_bug,
        )
        return classifier.predict(test.codes, both_strands=settings.both_strands)

    return call


def limit_rows(rows: LabelledSet, most: int, seed: int) -> LabelledSet:
    """At most `most` rows, drawn without replacement, shares of classes kept by chance alone.

    0 keeps all. A smaller test set widens the intervals; it does not shift the mean.
    """
    if not most or len(rows) <= most:
        return rows
    return rows.take(np.sort(np.random.default_rng(seed).permutation(len(rows))[:most]))


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """Mean and 95 % interval per model, method, shots and metric; the draw is the unit.

    Columns: model, method, shots, metric, mean, low, high, n, unit (see
    `statistics.cluster_interval`).
    """
    long = results.melt(KEY, list(METRICS), var_name="metric")
    return interval_table(long, ["model", "method", "shots", "metric"])


def compare_models(
    results: pd.DataFrame, *, method: str = "fine-tuned", metric: str = "accuracy", seed: int
) -> pd.DataFrame:
    """All pairs of models under one method, paired by draw and seed, Holm-corrected per shots.

    Empty with fewer than two models. `seed` is for the sampled permutations.
    """
    part = results[results["method"] == method]
    if part["model"].nunique() < 2:
        return pd.DataFrame(columns=["shots", "a", "b", "difference", "low", "high", "p_holm"])
    return compare_all(part, value=metric, by=["shots"], rng=np.random.default_rng(seed))


def describe_best(summary: pd.DataFrame, metric: str = "accuracy") -> str:
    """Sentences: per number of shots the best fine-tuned model against the best baseline."""
    part = summary[summary["metric"] == metric]
    sentences = []
    for shots, rows in part.groupby("shots"):
        tuned = rows[rows["method"] == "fine-tuned"].nlargest(1, "mean")
        floor = rows[rows["method"] == "baseline"].nlargest(1, "mean")
        if len(tuned) and len(floor):
            t, f = tuned.iloc[0], floor.iloc[0]
            word = "above" if t["low"] > f["mean"] else "not above"
            span = f"[{t['low']:.3f}, {t['high']:.3f}], {word}"
            if not np.isfinite(t["low"]):
                span = "(one fit, no interval), not to be told from"
            sentences.append(
                f"{shots} shots: {t['model']} {t['mean']:.3f} {span} the best baseline "
                f"({f['model']}, {f['mean']:.3f})"
            )
    found = "; ".join(sentences) or "no fine-tuned model stands beside a baseline"
    return f"{metric}. {found}."


def main_table(summary: pd.DataFrame, metrics: Sequence[str] = ("accuracy", "auc")) -> pd.DataFrame:
    """One row per method and model, columns metric x shots, entries `mean [low, high]` as text."""
    part = summary[summary["metric"].isin(metrics)].copy()
    part["text"] = [
        f"{r.mean:.3f} [{r.low:.3f}, {r.high:.3f}]" if r.n > 1 else f"{r.mean:.3f}"
        for r in part[["mean", "low", "high", "n"]].itertuples(index=False)
    ]
    order = [name for name in ("dataset",) if name in part] + ["method", "model"]
    return part.pivot(index=order, columns=["metric", "shots"], values="text").sort_index(
        axis="columns"
    )
