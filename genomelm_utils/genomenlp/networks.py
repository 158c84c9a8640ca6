"""Verbs that train networks on token data sets: sweeps and single trainings."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genomelm_utils.genomenlp.network_options import (
    SIZES,
    add_network,
    add_run,
    add_sets,
    open_export,
    read_config,
)
from genomelm_utils.genomenlp.options import MODES, PROGRAM, add_out, whole
from genomelm_utils.genomenlp.rows import (
    add_ignored,
    check_ids,
    hold_out,
    read_sets,
    read_vocabulary,
)

if TYPE_CHECKING:
    from genomelm_utils.datasets.token_reading import TokenSet
    from genomelm_utils.tasks.sequence_sweep import Experiment

EXAMPLES = {
    "sweep": """examples:
  {program} sweep dataset/train.csv csv tokeniser.json -v dataset/valid.csv -t dataset/test.csv \\
      -w sweep.json -n 16 -o sweep/
A second process with the same command helps; the same command goes on after an interruption. The
best run's model is sweep/model_files, its settings sweep/best_config.json. wandb is asked only with
--wandb.""",
    "train": """examples:
  {program} train dataset/train.csv csv tokeniser.json -v dataset/valid.csv -t dataset/test.csv \\
      -f sweep/ --output_dir trained/
  {program} train dataset/train.csv csv tokeniser.json -m distilbert --layers 2 --width 128 \\
      --heads 4 --learning_rate 5e-4 --num_train_epochs 5 --output_dir trained/
-f takes the folder of a sweep (its best run) or a JSON file.""",
}


# --- sweep -----------------------------------------------------------------------------------


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """Options of `sweep`."""
    add_sets(parser)
    add = parser.add_argument
    add_network(parser)
    folder = Path("sweep_out")
    add_out(parser, ("-o", "--output_dir"), f"the sweep's folder [{folder}]", default=folder)
    add("-w", "--hyperparameter_sweep", type=Path, metavar="JSON", help="a sweep as of wandb")
    add("-n", "--sweep_count", type=whole(1), default=8, help="runs in all [8]")
    add("--metric_opt", help="in place of the sweep file's metric, such as eval/f1")
    add("--partition_percent", type=float, default=100, help="of the training rows [100]")
    add("--storage", choices=("journal", "sqlite"), default="journal", help="[journal]")
    add("--ranking", choices=MODES, default="corrected", help="reference: by the last epoch")
    add("--used", choices=MODES, default="corrected", help="reference: four parameters act")
    add_run(parser, "sweep")
    add_ignored(
        parser,
        ("-d", "--device", "a GPU is taken where there is one"),
        ("-s", "--vocab_size", "the tokenizer has it"),
        ("-l", "--label_names", "the column labels is found"),
        ("-r", "--sweep_id", "the same folder goes on"),
        ("--model_features", "networks take all tokens"),
    )
    parser.add_argument("--fp16_off", action="store_true", help="not used: bf16 where it is native")


def sweep(given: argparse.Namespace) -> list[str]:
    """Many trainings, the best one kept."""
    from genomelm_utils.command_outputs import describe_run
    from genomelm_utils.datasets.row_groups import take_percent, take_rows
    from genomelm_utils.genomenlp.scored import write_test
    from genomelm_utils.tasks.sequence_models import load_sequence_model
    from genomelm_utils.tasks.sequence_sweep import DEFAULT_SWEEP, make_objective
    from genomelm_utils.tasks.sweep import run_sweep
    from genomelm_utils.tasks.sweep_space import metric_name, read_sweep

    spec = read_sweep(given.hyperparameter_sweep or DEFAULT_SWEEP)
    if given.metric_opt:
        from dataclasses import replace

        name = metric_name(given.metric_opt)
        spec = replace(spec, metric=name, maximize=name != "loss")
    rows, experiment = _open(given)
    if given.partition_percent != 100:
        rows = take_rows(rows, take_percent(len(rows), given.partition_percent))
    train, valid = _train_and_valid(given, rows)
    exporters = (open_export(given),) if given.wandb else ()
    result = run_sweep(
        spec,
        make_objective(experiment, train, valid),
        given.out,
        n_runs=given.sweep_count,
        seed=given.seed,
        storage=given.storage,
        ranking=given.ranking,
        exporters=exporters,
    )
    found: dict[str, Any] = {"best_run": result.best, "value": result.value}
    lines = [
        f"{given.out}: {len(result.trials)} runs "
        f"({', '.join(f'{n} {s}' for s, n in result.trials['state'].value_counts().items())})",
        f"best: run {result.best}, {spec.metric} {result.value:.4f}, "
        + ", ".join(f"{k} {v}" for k, v in result.config.items()),
    ]
    _draw_sweep(result.trials, spec.metric, given.out)
    if given.test and result.model:
        test = read_sets([given.test], rows.class_names)
        model = load_sequence_model(result.model)
        lines += write_test(model, test, given.out, seed=given.seed)
    (given.out / "settings.json").write_text(describe_run(given, PROGRAM, **found))
    return lines


# --- train -----------------------------------------------------------------------------------


def add_train(parser: argparse.ArgumentParser) -> None:
    """Options of `train`."""
    add_sets(parser)
    add = parser.add_argument
    add_network(parser)
    folder = Path("train_out")
    add_out(parser, ("--output_dir", "-o"), f"a new folder [{folder}]", default=folder)
    add("--override_output_dir", action="store_true", help="replace what is in the folder")
    add("-f", "--hyperparameter_file", type=Path, help="a sweep's folder, or JSON")
    add("-c", "--config_from_run", help="as -f, and before it")
    for flags, kind in (
        (("--num_train_epochs", "--epochs"), whole(1)),
        (("--per_device_train_batch_size", "--batch_size"), whole(1)),
        (("--learning_rate",), float),
        (("--weight_decay",), float),
        (("--warmup_ratio",), float),
    ):
        add(*flags, type=kind, help="[3, 16, 1e-4, 0, 0.1, or those of -f]")
    add("--lr_scheduler_type", choices=("linear", "cosine", "constant"), help="[linear]")
    add("--metric_for_best_model", "--metric_opt", dest="metric_opt", help="[eval/f1]")
    add("--on_collapse", choices=("restart", "stop", "keep"), help="one class only [restart]")
    add("--no_shuffle", action="store_true", help="not used, as in genomeNLP")
    add_run(parser, "train")
    add_ignored(parser, ("-l", "--label_names", "the column labels is found"))


def train(given: argparse.Namespace) -> list[str]:
    """One training, tested once."""
    import shutil

    from genomelm_utils.command_outputs import check_new_folder, describe_run
    from genomelm_utils.genomenlp.scored import write_test
    from genomelm_utils.tasks.sequence_validation import Collapsed

    if given.override_output_dir:
        shutil.rmtree(given.out, ignore_errors=True)
    resumed = given.out / "training"
    if not resumed.is_dir() or (given.out / "model_files").exists():
        check_new_folder(given.out)
    rows, experiment = _open(given)
    labelled, valid = _train_and_valid(given, rows)
    config = read_config(given)
    export = open_export(given) if given.wandb else None

    def report(epoch: int, scores: dict[str, float]) -> None:
        if export is not None:
            export.log("train", given.out.name, config, scores)

    try:
        trained = experiment.train(
            labelled, valid, config, seed=given.seed, folder=resumed, report=report
        )
    except Collapsed as error:
        raise ValueError(f"{given.out}: {error}") from error
    if export is not None:
        export.finish("train")
    trained.save(given.out / "model_files", given.tokeniser_path)
    history = trained.history.dropna(subset=["valid_f1"])
    lines = [f"{given.out}: {len(labelled[1]):,} rows, {history['epoch'].iloc[-1]:.0f} epochs"]
    lines += [
        f"attempt {i + 1} collapsed: {attempt['collapsed']}"
        for i, attempt in enumerate(trained.attempts)
        if "collapsed" in attempt
    ]
    if given.test:
        test = read_sets([given.test], rows.class_names)
        lines += write_test(trained, test, given.out, seed=given.seed)
    (given.out / "settings.json").write_text(
        describe_run(given, PROGRAM, training=trained.settings, attempts=trained.attempts)
    )
    return lines


# --- shared ----------------------------------------------------------------------------------


def _open(given: argparse.Namespace) -> tuple["TokenSet", "Experiment"]:
    from genomelm_utils.tasks.sequence_sweep import Experiment
    from genomelm_utils.tasks.sequence_validation import REFERENCE, TrainingSettings

    vocabulary, tokens = read_vocabulary(given.tokeniser_path)
    rows = read_sets([given.train])
    check_ids(rows, vocabulary, given.tokeniser_path)
    names = ("pooling", "long", "class_weights", "patience", "select")
    changes = dict(REFERENCE) if given.reference else {}
    changes |= {n: getattr(given, n) for n in names if getattr(given, n) is not None}
    sizes = {n: getattr(given, n) for n in (*SIZES, "dropout") if getattr(given, n) is not None}
    experiment = Experiment(
        given.model, tokens, rows.class_names, TrainingSettings(**changes), sizes,
        getattr(given, "used", "corrected"), given.tokeniser_path,
    )  # fmt: skip
    return rows, experiment


def _train_and_valid(given: argparse.Namespace, rows: "TokenSet"):
    from genomelm_utils.datasets.row_groups import list_rows
    from genomelm_utils.tasks.sequence_sweep import select_rows

    if given.valid:
        valid = read_sets([given.valid], rows.class_names)
        return (
            select_rows(list_rows(rows), rows.labels, _all(rows)),
            select_rows(list_rows(valid), valid.labels, _all(valid)),
        )
    train, watched = hold_out(rows, given)
    every = list_rows(rows)
    return select_rows(every, rows.labels, train), select_rows(every, rows.labels, watched)


def _draw_sweep(trials, metric: str, folder: Path) -> None:
    from genomelm_utils.figures.classification import plot_sweep
    from genomelm_utils.figures.style import new_figure

    parameter = "learning_rate" if "learning_rate" in trials else "run"
    fig, axes = new_figure()
    plot_sweep(trials, axes[0, 0], metric=metric, parameter=parameter)
    fig.savefig(folder / "sweep.pdf", metadata={"CreationDate": None})


def _all(rows: "TokenSet"):
    import numpy as np

    return np.arange(len(rows))
