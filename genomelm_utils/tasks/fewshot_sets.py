"""The labelled set of a few-shot run: simulated, published, or the user's own table."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from transformers import BertConfig

from genomelm_utils.datasets.fewshot import SETS, clean_pool, draw_cleaned, load_fewshot
from genomelm_utils.datasets.labelled import LabelledSet, read_labelled
from genomelm_utils.sequences.alphabet import decode
from genomelm_utils.tasks.classification import fine_tune
from genomelm_utils.tasks.fewshot import Loader, Settings, limit_rows

if TYPE_CHECKING:  # a run is handed in: only its type is named here
    from genomelm_utils.pipeline.context import Run

SCRATCH = "scratch"
PARTS = ("train", "test")
SHOWN_ROWS, SHOWN_BASES = 6, 60


@dataclass(frozen=True)
class OpenSet:
    """A labelled set ready to draw from: `load(shots, draw)`, and the rows left out.

    `dropped`: part (train or test), name, label, reason; a user's rows without a sequence first.
    """

    load: Loader
    dropped: pd.DataFrame


def open_set(run: "Run") -> OpenSet:
    """The set that a run of notebook 05 asks for by its parameters."""
    wanted = run.params
    name, seed, most = wanted["dataset"], wanted["seed"], wanted["max_test"]
    if name in SETS:
        shipped, quotes = wanted["as_shipped"], wanted["keep_quotes"]

        def load(shots: int, draw: int) -> tuple[LabelledSet, LabelledSet]:
            train, test, _ = load_fewshot(
                name, shots, draw=draw, as_shipped=shipped, seed=seed, keep_quotes=quotes
            )
            return train, limit_rows(test, most, seed)

        first = wanted["shots"][0]
        return OpenSet(load, load_fewshot(name, first, draw=0, as_shipped=shipped, seed=seed)[2])
    for option in ("as_shipped", "keep_quotes"):
        if wanted[option]:
            raise ValueError(f"{option} is for published sets ({', '.join(SETS)}), not for {name}")
    tables = _read_tables(run)
    pool, test, dropped = clean_pool(*tables)
    dropped = _add_skipped(dropped, tables)
    test = limit_rows(test, most, seed)
    return OpenSet(lambda shots, draw: (draw_cleaned(pool, shots, draw, seed), test), dropped)


def _add_skipped(dropped: pd.DataFrame, tables: tuple[LabelledSet, LabelledSet]) -> pd.DataFrame:
    """The rows left out, rows without a sequence first; their labels may be empty, so all text."""
    skipped = [one.skipped.assign(part=part) for part, one in zip(PARTS, tables, strict=True)]
    if not any(map(len, skipped)):
        return dropped
    labels = dropped["label"].astype("int64").astype(str)
    rows = [one[dropped.columns] for one in skipped if len(one)]
    return pd.concat([*rows, dropped.assign(label=labels)], ignore_index=True)


def _read_tables(run: "Run") -> tuple[LabelledSet, LabelledSet]:
    """Training pool and test set of a simulated or a user's set."""
    name = run.params["dataset"]
    if name == "user":
        files = {part: run.params[f"{part}_file"] for part in PARTS}
        for part, file in files.items():
            if not file:
                raise ValueError(
                    f"dataset is user, but {part}_file is empty; name a table with the columns "
                    "sequence and label"
                )
        return read_labelled(run.data(files["train"])), read_labelled(run.data(files["test"]))
    if not run.params["simulated"]:
        raise ValueError(f"dataset is {name}, but `simulated` names no run of 01_data")
    folder = run.parent("simulated").path(f"sets/{name.removeprefix('simulated-')}")
    return read_labelled(folder / "train.tsv"), read_labelled(folder / "test.tsv")


def open_models(run: "Run") -> dict[str, Path | BertConfig]:
    """Name -> folder of every model, and the first one's network from random weights.

    Models are runs of 04 (named after the run) and folders of published checkpoints (named after
    the folder). Raises ValueError where two have one name.
    """
    folders = [(parent.run, parent.path("checkpoints/final")) for parent in run.parents("models")]
    folders += [(Path(name).name, run.data(name)) for name in run.params["checkpoints"]]
    models: dict[str, Path | BertConfig] = dict(folders)
    if len(models) < len(folders):
        names = ", ".join(name for name, _ in folders)
        raise ValueError(f"two models have the same name ({names}); rename a checkpoint's folder")
    if models and run.params["with_scratch"]:
        models[SCRATCH] = BertConfig.from_pretrained(folders[0][1])
    return models


def describe(train: LabelledSet, test: LabelledSet, dropped: pd.DataFrame) -> pd.DataFrame:
    """Rows, classes, lengths and GC of the training draw and the test set, and rows left out."""
    rows = []
    for part, labelled in (("train", train), ("test", test)):
        lengths = labelled.lengths_bp
        flat = np.concatenate([np.asarray(codes) for codes in labelled.codes])
        rows.append(
            {
                "part": part,
                "rows": len(labelled),
                "per_class": " / ".join(map(str, labelled.class_counts)),
                "shortest_bp": int(lengths.min()),
                "longest_bp": int(lengths.max()),
                "gc_share": float(np.isin(flat, (1, 2)).sum() / (flat < 4).sum()),
                "left_out": int((dropped["part"] == part).sum()),
            }
        )
    return pd.DataFrame(rows)


def show_rows(labelled: LabelledSet) -> pd.DataFrame:
    """The first rows: name, label, the start of the sequence."""
    index = range(min(SHOWN_ROWS, len(labelled)))
    return pd.DataFrame(
        {
            "name": [labelled.names[i] for i in index],
            "label": [int(labelled.labels[i]) for i in index],
            "sequence": [decode(np.asarray(labelled.codes[i][:SHOWN_BASES])) for i in index],
        }
    )


def predict_new(run: "Run", labelled: OpenSet, settings: Settings) -> pd.DataFrame:
    """Class probabilities of sequences without labels, by the first model tuned on most shots.

    Raises ValueError where the run has no model.
    """
    models = open_models(run)
    if not models:
        raise ValueError("predict_file needs a model, but `models` names no run of 04_pretraining")
    shots = max(run.params["shots"])
    train, _ = labelled.load(shots, 0)
    new = read_labelled(run.data(run.params["predict_file"]), need_labels=False)
    classifier = fine_tune(
        next(iter(models.values())),
        (train.codes, train.labels),
        k=settings.k,
        settings=settings.for_shots(shots),
        seed=run.seed,
        reference_resume_bug=settings.reference_resume_bug,
    )
    probs_SC = classifier.predict(new.codes, both_strands=settings.both_strands)
    columns = {f"p_class_{c}": probs_SC[:, c] for c in range(probs_SC.shape[1])}
    return pd.DataFrame({"name": new.names, "predicted": probs_SC.argmax(axis=1), **columns})
