"""Verbs that learn vectors of tokens: of learned words, and of k-mers."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from genomelm_utils.genomenlp.options import MODES, PROGRAM, add_out, add_seed, whole
from genomelm_utils.genomenlp.rows import add_ignored, read_sets, read_vocabulary

if TYPE_CHECKING:
    from genomelm_utils.baselines.word2vec import Sentences
    from genomelm_utils.datasets.token_reading import TokenSet

EXAMPLES = {
    "create_embedding_bio_sp": """examples:
  {program} create_embedding_bio_sp -i dataset/train.csv -t tokeniser.json -o embed/
kmers_embeddings.csv has a row per token that occurs, as genomeNLP writes it; sequences.csv one per
sequence, which is what a classifier of sequences wants.""",
    "create_embedding_bio_kmers": """examples:
  {program} create_embedding_bio_kmers -i kmers.csv -k 5 -o embed/
The column `feature` is cut anew into k-mers, every --slide letters.""",
}


def add_create_embedding_bio_sp(parser: argparse.ArgumentParser) -> None:
    """Options of `create_embedding_bio_sp`."""
    parser.add_argument(
        "-t", "--tokeniser_path", type=Path, required=True, metavar="JSON", help="the tokenizer"
    )
    _add_common(parser)


def add_create_embedding_bio_kmers(parser: argparse.ArgumentParser) -> None:
    """Options of `create_embedding_bio_kmers`."""
    add = parser.add_argument
    add("-k", "--ksize", type=whole(1), default=5, help="letters of a k-mer [5]")
    add("-w", "--slide", type=whole(1), default=1, help="letters from one to the next [1]")
    add("-v", "--vocab_size", type=whole(0), default=0, help="most frequent k-mers kept [0: all]")
    _add_common(parser)


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-i", "--infile_path", type=Path, nargs="+", required=True, metavar="DATA")
    folder = Path("embed")
    add_out(parser, ("-o", "--output_dir"), f"a new folder [{folder}]", default=folder)
    add("-m", "--model", type=Path, metavar="MODEL", help="a word2vec model to go on from")
    add("-n", "--njobs", type=whole(1), default=1, help="threads; above 1 chance plays in [1]")
    for name, value in (("min_count", 1), ("vector_size", 100), ("window", 10), ("epochs", 5)):
        add(f"--w2v_{name}", type=whole(1), default=value, help=f"[{value}]")
    add("--w2v_sg", type=int, choices=(0, 1), default=1, help="1: skip-gram [1]")
    add("--w2v_sample", type=float, default=1e-3, help="down-sampling of frequent tokens [0.001]")
    add("--corpus", choices=MODES, default="corrected", help="reference: vectors never trained")
    add("--sample_seq", metavar="TOKENS", help="show the vector of a token and its neighbours")
    add_ignored(
        parser,
        ("-c", "--column_names", "columns are found by name"),
        ("-l", "--labels", "the data set has them"),
        ("-x", "--column_name", "tokens come from the ids"),
    )
    parser.add_argument("--no_reverse_complement", action="store_true", help="not used")
    add_seed(parser)


def create_embedding_bio_sp(given: argparse.Namespace) -> list[str]:
    """word2vec of the tokens of a data set."""
    from genomelm_utils.baselines.word2vec import TokenSentences
    from genomelm_utils.datasets.row_groups import list_rows
    from genomelm_utils.genomenlp.rows import check_ids

    vocabulary, _ = read_vocabulary(given.tokeniser_path)
    rows = read_sets(given.infile_path)
    check_ids(rows, vocabulary, given.tokeniser_path)
    return _write(given, rows, TokenSentences(list_rows(rows), vocabulary))


def create_embedding_bio_kmers(given: argparse.Namespace) -> list[str]:
    """word2vec of the k-mers of a data set's sequences."""
    from genomelm_utils.baselines.word2vec import cut_kmers, keep_frequent

    rows = read_sets(given.infile_path)
    sentences = [cut_kmers(text, given.ksize, given.slide) for text in rows.features]
    return _write(given, rows, keep_frequent(sentences, given.vocab_size))


def _write(given: argparse.Namespace, rows: "TokenSet", sentences: "Sentences") -> list[str]:
    import pandas as pd

    from genomelm_utils.baselines.word2vec import (
        load_word2vec,
        sequence_vectors,
        token_table,
        token_vectors,
        train_word2vec,
    )
    from genomelm_utils.command_outputs import check_new_folder, describe_run
    from genomelm_utils.training.checkpoint import write_folder

    check_new_folder(given.out)
    model = train_word2vec(
        sentences,
        vector_size=given.w2v_vector_size,
        window=given.w2v_window,
        min_count=given.w2v_min_count,
        skip_gram=bool(given.w2v_sg),
        epochs=given.w2v_epochs,
        sample=given.w2v_sample,
        seed=given.seed,
        workers=given.njobs,
        corpus=given.corpus,
        start=load_word2vec(given.model) if given.model else None,
    )
    vectors = token_vectors(model)
    lines = _describe_tokens(model, given.sample_seq) if given.sample_seq else []
    with write_folder(given.out) as folder:
        model.save(str(folder / "kmers.model"))
        model.wv.save(str(folder / "kmers.w2v"))
        labels = [rows.class_names[label] for label in rows.labels]
        words = [" ".join(sentence) for sentence in sentences]
        remapped = pd.DataFrame({"idx": rows.names, "labels": labels, "tokens": words})
        remapped.to_csv(folder / "kmers.csv", index=False)
        label_N, token_N, vector_ND = token_table(vectors, sentences, labels)
        table = pd.DataFrame(vector_ND)
        table.insert(0, "token", token_N)
        table.insert(0, "label", label_N)
        table.to_csv(folder / "kmers_embeddings.csv", header=False, index=False)
        means = pd.DataFrame(sequence_vectors(vectors, sentences))
        means.insert(0, "labels", labels)
        means.insert(0, "idx", rows.names)
        means.to_csv(folder / "sequences.csv", index=False)
        found = {"n_tokens": len(vectors.tokens), "n_rows": len(rows)}
        (folder / "embedding.json").write_text(describe_run(given, PROGRAM, **found))
    return [
        f"{given.out}: vectors of {len(vectors.tokens):,} tokens, learned from {len(rows):,} rows",
        *lines,
    ]


def _describe_tokens(model, text: str) -> list[str]:
    """The vector and the nearest tokens of each of some tokens."""
    lines = []
    for token in text.split(","):
        if token not in model.wv:
            raise ValueError(f"--sample_seq: {token!r} is no token of the model")
        near = ", ".join(f"{other} {cosine:.3f}" for other, cosine in model.wv.most_similar(token))
        lines += [f"{token}: {model.wv[token].round(4).tolist()}", f"{token} is near {near}"]
    return lines
