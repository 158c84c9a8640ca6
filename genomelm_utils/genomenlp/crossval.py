"""The verb that cross-validates a network."""

import argparse
from pathlib import Path

from genomelm_utils.genomenlp.network_options import (
    add_data,
    add_run,
    open_export,
    read_config,
)
from genomelm_utils.genomenlp.options import MODES, PROGRAM, add_out, whole
from genomelm_utils.genomenlp.rows import add_ignored, read_sets

EXAMPLES = {
    "cross_validate": """examples:
  {program} cross_validate dataset/train.csv csv -m sweep/model_files -k 8 -o cval/
Every fold starts anew with the settings and sizes of that model; --start reference goes on from its
weights, which have seen all folds, as genomeNLP does.""",
}


def add_cross_validate(parser: argparse.ArgumentParser) -> None:
    """Options of `cross_validate`."""
    add_data(parser)
    add = parser.add_argument
    add("--tokeniser_path", type=Path, help="the tokenizer [the one in the model's folder]")
    add("-m", "--model_path", dest="model", type=Path, required=True, help="a trained model")
    folder = Path("cval_out")
    add_out(parser, ("-o", "--output_dir"), f"a new folder [{folder}]", default=folder)
    add("--overwrite_output_dir", action="store_true", help="replace what is in the folder")
    add("-f", "--hyperparameter_file", type=Path, help="a sweep's folder, or JSON")
    add("-c", "--config_from_run", help="as -f, and before it")
    add("-k", "--kfolds", type=whole(2), default=8, help="[8]")
    add("--metric_opt", help="[eval/f1]")
    add("--folds", choices=MODES, default="corrected", help="reference: relatives on both sides")
    add("--start", choices=MODES, default="corrected", help="reference: from the trained model")
    add("--watch", choices=MODES, default="corrected", help="reference: the epoch of the fold")
    add("--save_models", action="store_true", help="keep the model of every fold")
    add_run(parser, "crossval")
    add_ignored(
        parser,
        ("-t", "--test", "folds are tested"),
        ("-v", "--valid", "a part of each fold's training rows is watched"),
        ("-l", "--label_names", "the column labels is found"),
    )


def cross_validate(given: argparse.Namespace) -> list[str]:
    """Folds with the settings of a model, their means and intervals."""
    import shutil

    from genomelm_utils.command_outputs import check_new_folder, describe_run
    from genomelm_utils.datasets.row_groups import group_rows
    from genomelm_utils.tasks.crossval import make_folds
    from genomelm_utils.tasks.hyperparameters import apply_config
    from genomelm_utils.tasks.sequence_models import load_sequence_model
    from genomelm_utils.tasks.sequence_validation import Collapsed, TrainingSettings

    if given.overwrite_output_dir:
        shutil.rmtree(given.out, ignore_errors=True)
    check_new_folder(given.out)
    known = load_sequence_model(given.model)
    rows = read_sets([given.train], known.class_names)
    settings = TrainingSettings(**known.settings) if known.settings else TrainingSettings()
    settings, sizes = apply_config(read_config(given), settings)
    if sizes:
        raise ValueError(f"{', '.join(sizes)}: the sizes are those of {given.model}")
    groups = group_rows(rows, given.groups, given.word)
    folds = make_folds(rows.labels, groups, given.kfolds, seed=given.seed, mode=given.folds)
    network = given.model if given.start == "reference" else known.model.config
    try:
        result = _run(given, rows, known, settings, groups, folds, network)
    except Collapsed as error:
        raise ValueError(f"{given.out}: {error}") from error
    _write_folds(given, result)
    leaked = result.summary["leaked"].any() or given.folds == "reference"
    (given.out / "settings.json").write_text(
        describe_run(given, PROGRAM, training=known.settings, leaked=bool(leaked))
    )
    warning = ["LEAKED: folds were seen before they were tested"] if leaked else []
    return [f"{given.out}: {given.kfolds} folds of {len(rows):,} rows", *warning] + [
        f"{row.metric}: mean {row.mean:.4f} [{row.low:.4f}, {row.high:.4f}] over folds"
        for row in result.summary.itertuples()
        if row.metric in ("f1", "auc", "mcc")
    ]


def _run(given: argparse.Namespace, rows, known, settings, groups, folds, network):
    from genomelm_utils.datasets.row_groups import list_rows
    from genomelm_utils.tasks.crossval import cross_validate_network

    return cross_validate_network(
        list_rows(rows), rows.labels, network, known.tokens, known.class_names, settings,
        folds, groups_S=groups, seed=given.seed, start=given.start, watch=given.watch,
        folder=given.out, save_models=given.save_models,
    )  # fmt: skip


def _write_folds(given: argparse.Namespace, result) -> None:
    from genomelm_utils.figures.classification import plot_runs
    from genomelm_utils.figures.style import new_figure

    result.folds.to_csv(given.out / "cval_scores.tsv", sep="\t", index=False)
    result.summary.to_csv(given.out / "cval_summary.tsv", sep="\t", index=False)
    auc = result.folds.query("metric == 'auc'")["value"].rename("roc_auc_scores")
    auc.to_frame().to_csv(given.out / "cval_auc.tsv", sep="\t", index=False)
    fig, axes = new_figure(1, 2, width_mm=120)
    for ax, metric in zip(axes[0], ("f1", "auc"), strict=True):
        plot_runs(result.folds.assign(group=given.out.name), ax, metric=metric)
    fig.savefig(given.out / "cval_scores.pdf", metadata={"CreationDate": None})
    if given.wandb:
        export = open_export(given)
        for fold, part in result.folds.groupby("fold"):
            scores = dict(zip(part["metric"], part["value"], strict=True))
            export.log(fold, f"fold-{fold}", {}, scores)
            export.finish(fold)
