"""Verbs that look at trained models and their scores: power laws, attributions, summaries."""

import argparse
import zlib
from pathlib import Path

from genomelm_utils.genomenlp.options import MODES, PROGRAM, add_out, add_seed, whole
from genomelm_utils.genomenlp.rows import add_ignored

METRICS = ("f1", "auc", "accuracy", "precision", "recall", "macro_f1", "mcc", "auprc")
EXAMPLES = {
    "fit_powerlaw": """examples:
  {program} fit_powerlaw sweep/model_files other/model_files -o powerlaw/
Needs no data. Beside every alpha stands what random weights of that shape give.""",
    "interpret": """examples:
  {program} interpret sweep/model_files promoters.fa.gz TTGACAGCTAGCTCAGTCCTAGGTATAAT -o pages/
A page per sequence, and tables of the scores of tokens and letters.""",
    "summarise_metrics": """examples:
  {program} summarise_metrics -i cval/cval_scores.tsv other/cval_scores.tsv -o plots/
  {program} summarise_metrics -a a/cval_auc.tsv b/cval_auc.tsv -n TF-IDF word2vec -o plots/""",
}


# --- fit_powerlaw ----------------------------------------------------------------------------


def add_fit_powerlaw(parser: argparse.ArgumentParser) -> None:
    """Options of `fit_powerlaw`."""
    add = parser.add_argument
    add("model_path", type=Path, nargs="+", help="folders of models")
    folder = Path("powerlaw_out")
    add_out(parser, ("-o", "--output_dir"), f"a new folder [{folder}]", default=folder)
    add("-a", "--alpha_max", type=float, default=8.0, help="of the histogram, 0: all [8]")
    add("--min_values", type=whole(2), default=50, help="eigenvalues a matrix has at least [50]")
    add("--resamples", type=whole(0), default=0, help="of an interval of every alpha [0: none]")
    add_seed(parser)


def fit_powerlaw(given: argparse.Namespace) -> list[str]:
    """Power-law exponents of the weights of models."""
    import pandas as pd

    from genomelm_utils.command_outputs import check_new_folder, describe_run
    from genomelm_utils.evaluation.weight_spectra import (
        analyse_model,
        describe_models,
        model_names,
        summarise_models,
    )
    from genomelm_utils.training.checkpoint import write_folder

    check_new_folder(given.out)
    names = model_names(given.model_path)
    tables = [
        analyse_model(
            path, name, min_values=given.min_values, n_resamples=given.resamples, seed=given.seed
        )
        for path, name in zip(given.model_path, names, strict=True)
    ]
    every = pd.concat(tables, ignore_index=True)
    summary = summarise_models(every)
    told = describe_models(summary).splitlines()
    with write_folder(given.out) as folder:
        every.to_csv(folder / "alpha.tsv", sep="\t", index=False)
        summary.to_csv(folder / "summary.tsv", sep="\t", index=False)
        (folder / "guidance.txt").write_text("\n".join(told) + "\n", encoding="utf-8")
        _draw_alphas(every, folder, given.alpha_max)
        for name, table in zip(names, tables, strict=True):
            own = folder / name.replace("/", "_")
            own.mkdir()
            table.to_csv(own / "alpha.tsv", sep="\t", index=False)
            _draw_alphas(table, own, given.alpha_max)
        (folder / "powerlaw.json").write_text(describe_run(given, PROGRAM))
    return told


def _draw_alphas(table, folder: Path, alpha_max: float) -> None:
    from genomelm_utils.figures.powerlaw import plot_alpha_histogram, plot_alpha_layers
    from genomelm_utils.figures.style import new_figure

    for name, plot, options in (
        ("alpha_hist", plot_alpha_histogram, {"alpha_max": alpha_max}),
        ("alpha_plot", plot_alpha_layers, {}),
    ):
        fig, axes = new_figure(width_mm=120, height_mm=75)
        plot(table, axes[0, 0], **options)
        axes[0, 0].legend()
        _save(fig, folder / f"{name}.pdf")


# --- interpret -------------------------------------------------------------------------------


def add_interpret(parser: argparse.ArgumentParser) -> None:
    """Options of `interpret`."""
    add = parser.add_argument
    add("model_path", type=Path, help="a trained model's folder")
    add("input", nargs="+", help="sequences, FASTA files, or both")
    add("-t", "--tokeniser_path", type=Path, help="[the one in the model's folder]")
    folder = Path("interpret_out")
    add_out(parser, ("-o", "--output_dir"), f"a new folder [{folder}]", default=folder)
    add("-l", "--label_names", nargs="+", help="what classes are called, by number [the model's]")
    add("--true_label", help="class of all sequences, where it is known")
    add("--target", help="class that is explained [the predicted one]")
    add("--layout", choices=MODES, default="corrected", help="reference: <cls> and <sep> around")
    add("-p", "--pdf", action="store_true", help="PDF, too; needs pdfkit and wkhtmltopdf")
    add_ignored(parser, ("--pdf_options", "PDF is A6, landscape"))


def interpret(given: argparse.Namespace) -> list[str]:
    """Which tokens speak for the predicted class: a page per sequence, and tables."""
    from genomelm_utils.command_outputs import check_new_folder, describe_run
    from genomelm_utils.interpretation.attribution import attribute, attribute_as_released
    from genomelm_utils.interpretation.attribution_html import (
        file_names,
        predicted_labels,
        write_bedgraph,
        write_page,
    )
    from genomelm_utils.interpretation.explained_letters import as_letters
    from genomelm_utils.training.checkpoint import write_folder

    check_new_folder(given.out)
    to_pdf = _find_pdf() if given.pdf else None
    model = _open_explained(given)
    names, texts = _read_inputs(given.input)
    for asked in (given.true_label, given.target):
        _check_class(asked, model.outputs)
    letters = as_letters(texts)
    if given.layout == "reference":
        found = attribute_as_released(model, letters)
    else:
        found = attribute(model, letters, target=given.target, scale="probability", baseline="pad")
    predicted = predicted_labels(model.predict(letters), model.outputs, model.kind)
    true = None if given.true_label is None else [given.true_label] * len(names)
    with write_folder(given.out) as folder:
        for i, name in enumerate(file_names(names)):
            page = write_page(
                folder / name, _only(found, i), names[i : i + 1], predicted.iloc[i : i + 1],
                true and true[i : i + 1], names[i],
            )  # fmt: skip
            if to_pdf is not None:
                to_pdf(page)
        write_page(folder / "all_sequences.html", found, names, predicted, true, "All sequences")
        tokens = found.tokens.assign(name=[names[s] for s in found.tokens["sequence"]])
        tokens.to_csv(folder / "tokens.tsv", sep="\t", index=False)
        found.table.assign(name=names).to_csv(folder / "sequences.tsv", sep="\t", index=False)
        write_bedgraph(folder / "letters.bedgraph", found, ["_".join(n.split()) for n in names])
        gap = float(found.table["gap"].abs().max())
        found_out = {"n_sequences": len(names), "largest_gap": None if gap != gap else gap}
        (folder / "interpret.json").write_text(describe_run(given, PROGRAM, **found_out))
    counts = predicted["label"].value_counts()
    told = ", ".join(f"{counts.get(name, 0)} {name}" for name in model.outputs)
    lines = [f"{given.out}: {len(names)} sequences, predicted {told}"]
    if given.layout == "corrected":
        lines.append(f"scores sum to the difference from the baseline within {gap:.4f}")
    return lines


def _open_explained(given: argparse.Namespace):
    """The model as attributions see it, under the names of classes that were asked for."""
    from dataclasses import replace

    from genomelm_utils.interpretation.explained_letters import LetterClassifier
    from genomelm_utils.tasks.sequence_models import find_tokenizer, load_sequence_model
    from genomelm_utils.tokenizers.seen_kmers import load_encoder

    model = load_sequence_model(given.model_path)
    if given.label_names:
        if len(given.label_names) != len(model.class_names):
            raise ValueError(
                f"-l names {len(given.label_names)} classes, the model has "
                f"{len(model.class_names)}: {', '.join(model.class_names)}"
            )
        model = replace(model, class_names=tuple(given.label_names))
    path = given.tokeniser_path or find_tokenizer(given.model_path)
    if path is None:
        raise FileNotFoundError(f"{given.model_path} has no tokenizer in it: give one with -t")
    specials = "reference" if given.layout == "reference" else "as_trained"
    return LetterClassifier(model, load_encoder(path), specials=specials)


def _only(found, s: int):
    """The attribution of one sequence."""
    from dataclasses import replace

    return replace(
        found,
        table=found.table.iloc[s : s + 1],
        tokens=found.tokens[found.tokens["sequence"] == s].assign(sequence=0),
        base=found.base[s : s + 1],
    )


def _read_inputs(inputs: list[str]) -> tuple[list[str], list[str]]:
    """Names and letters of FASTA records and of sequences on the command line."""
    from genomelm_utils.sequences.letters import LetterStream

    names, texts = [], []
    for one in inputs:
        if Path(one).is_file():
            for window in LetterStream(one, case="upper"):
                names.append(window.header)
                texts.append(window.text)
        elif one.isascii() and one.isalpha():
            names.append(f"{one[:16]}_{zlib.crc32(one.encode()):08x}")
            texts.append(one.upper())
        else:
            raise FileNotFoundError(f"{one}: neither a file nor a sequence of letters")
    return names, texts


def _check_class(name: str | None, known) -> None:
    from genomelm_utils.sequences.fasta import suggest

    if name is not None and name not in known:
        near = suggest(name, known)
        raise ValueError(f"no class {name!r}{near}, expected one of {', '.join(known)}")


def _find_pdf():
    """A function that writes a page as PDF beside it; ValueError says what is missing."""
    import shutil

    try:
        import pdfkit
    except ImportError as error:
        raise ValueError("-p needs the package pdfkit: install it, or leave -p out") from error
    if not shutil.which("wkhtmltopdf"):
        raise ValueError("-p needs the program wkhtmltopdf: install it, or leave -p out")
    # Source: genomeNLP's options of the page
    options = {"dpi": "300", "page-size": "A6", "orientation": "landscape", "quiet": ""}
    return lambda page: pdfkit.from_file(str(page), str(page.with_suffix(".pdf")), options=options)


# --- summarise_metrics -----------------------------------------------------------------------


def add_summarise_metrics(parser: argparse.ArgumentParser) -> None:
    """Options of `summarise_metrics`."""
    add = parser.add_argument
    folder = Path("plots_out")
    add_out(parser, ("-o", "--output_dir"), f"a new folder [{folder}]", default=folder)
    add("-i", "--input_files", type=Path, nargs="+", default=[], metavar="CSV", help="scores")
    add("-a", "--auc_files", type=Path, nargs="+", default=[], metavar="TSV", help="cval_auc.tsv")
    add("-n", "--names", nargs="+", help="what the runs of each file are called [file names]")
    add("-m", "--metrics", nargs="+", help="such as eval/f1 [all that are there]")
    add_ignored(
        parser,
        ("-r", "--run_ids", "runs lie in folders"),
        ("-e", "--entity_name", "nothing is fetched from wandb"),
        ("-p", "--project_name", "nothing is fetched from wandb"),
        ("-g", "--group_name", "files are the groups"),
    )


def summarise_metrics(given: argparse.Namespace) -> list[str]:
    """Means and spread of the scores of many runs, as tables and figures."""
    from genomelm_utils.command_outputs import check_new_folder, describe_run
    from genomelm_utils.evaluation.run_summary import read_all, summarise_runs
    from genomelm_utils.figures.classification import METRICS as SHOWN
    from genomelm_utils.figures.classification import plot_runs
    from genomelm_utils.figures.style import new_figure
    from genomelm_utils.tasks.sweep_space import metric_name
    from genomelm_utils.training.checkpoint import write_folder

    check_new_folder(given.out)
    paths = [*given.input_files, *given.auc_files]
    if not paths:
        raise ValueError("give tables of scores with -i or -a")
    scores = read_all(paths, given.names)
    wanted = [metric_name(name) for name in given.metrics or METRICS]
    there = [name for name in wanted if name in set(scores["metric"])]
    if not there:
        raise ValueError(
            f"no file has {', '.join(wanted)}; found {', '.join(scores['metric'].unique())}"
        )
    scores = scores[scores["metric"].isin(there)]
    summary = summarise_runs(scores)
    n_groups = scores["group"].nunique()
    with write_folder(given.out) as folder:
        scores.to_csv(folder / "metrics.csv", index=False)
        summary.to_csv(folder / "summary.tsv", sep="\t", index=False)
        auc = scores[scores["metric"] == "auc"]
        if len(auc):
            auc.to_csv(folder / "auc_scores.tsv", sep="\t", index=False)
        for metric in there:
            stem = "auc" if metric == "auc" else f"metrics_eval_{metric}"
            for kind in ("violin", "box"):
                fig, axes = new_figure(width_mm=max(60, 20 * n_groups))
                plot_runs(scores, axes[0, 0], metric=metric, kind=kind)
                _save(fig, folder / f"{stem}_{kind}plot.pdf")
        (folder / "summarise.json").write_text(describe_run(given, PROGRAM))
    return [
        f"{row.group}, {SHOWN.get(row.metric, row.metric)}: mean {row.mean:.4f} "
        f"[{row.low:.4f}, {row.high:.4f}], sd {row.sd:.4f}, n {row.n}"
        for row in summary.itertuples()
    ]


def _save(fig, path: Path) -> None:
    import matplotlib.pyplot as plt

    fig.savefig(path, metadata={"CreationDate": None})
    plt.close(fig)
