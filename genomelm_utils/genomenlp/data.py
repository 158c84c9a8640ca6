"""Verbs that make data sets: of k-mers, of learned tokens, of texts, and synthetic negatives."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from genomelm_utils.genomenlp.options import (
    FORMATS,
    KINDS,
    MODES,
    PROGRAM,
    add_out,
    add_seed,
    share,
    whole,
)

if TYPE_CHECKING:
    from genomelm_utils.datasets.split_plan import Cut, SplitPlan
    from genomelm_utils.datasets.token_sets import Created

GROUPS = ("sequence", "shared_words", "clusters")
METHODS = ("frequency", "bootstrap", "dinucleotide")
SHARES = {"train": 0.90, "test": 0.05, "val": 0.05}  # Source: genomeNLP
WORD, BLOCK = 40, 2
SETTINGS = "dataset.json"  # in the folder of a data set
EXAMPLES = {
    "kmerise_bio": """examples:
  {program} kmerise_bio -i promoter.fa.gz non_promoter.fa.gz -l 1 0 -k 6 -o kmers.csv
The tokenizer that is written has the same ids as the data set.""",
    "create_dataset_bio": """examples:
  {program} create_dataset_bio non_promoter.fa.gz promoter.fa.gz tokeniser.json -o dataset/
  {program} create_dataset_bio dbp.fa rbp.fa tokeniser.json -c 512 --class_names dna rna -o dataset/
The first file is class 0. What is made of one sequence (chunks, the other strand) stays in one
part, with its copies; --groups shared_words keeps relatives together, too. records.tsv in the
folder says where every sequence went, leaks.tsv how many rows of test were trained on.""",
    "create_dataset_nlp": """examples:
  {program} create_dataset_nlp reviews.csv tokeniser.json title sentiment text -o dataset/""",
    "generate_synthetic": """examples:
  {program} generate_synthetic promoter.fa.gz -c dinucleotide -o negatives.fa.gz --seed 3
create_dataset_bio keeps a negative in the same part as the sequence it was made of.""",
}


# --- kmerise_bio ---------------------------------------------------------------------------


def add_kmerise_bio(parser: argparse.ArgumentParser) -> None:
    """Options of `kmerise_bio`."""
    add = parser.add_argument
    add("-i", "--infile_path", type=Path, nargs="+", required=True, metavar="FASTA")
    out = Path("kmers.csv")
    add_out(parser, ("-o", "--outfile_path"), f".csv, .json or .parquet [{out}]", default=out)
    add("-c", "--chunk", type=whole(1), metavar="N", help="letters of a row [whole records]")
    for flag, name, default, about in (
        ("-m", "--mappings", Path("mappings.json"), "the id of every k-mer"),
        ("-t", "--tokeniser_path", Path("tokeniser.json"), "the tokenizer"),
    ):
        dest = "mappings_out" if flag == "-m" else "tokeniser_out"
        help_text = f"where to write {about} [{default}]"
        add(flag, name, dest=dest, type=Path, default=default, metavar="JSON", help=help_text)
    add("-k", "--kmer_size", dest="k", type=whole(1), required=True, help="letters of a k-mer")
    add("-l", "--label", nargs="+", help="class of every file [its name]")
    _add_strands(parser)
    add("--kind", choices=KINDS, default="auto", help="of the letters [auto]")
    add("--ids", choices=MODES, default="corrected", help="reference: from 0, in the data set only")


def kmerise_bio(given: argparse.Namespace) -> list[str]:
    """A data set of k-mers, the ids of k-mers, and a tokenizer file."""
    from genomelm_utils.command_outputs import check_outputs, open_output
    from genomelm_utils.datasets.class_records import FastaClasses
    from genomelm_utils.datasets.split_plan import Cut, choose_strands
    from genomelm_utils.datasets.token_files import TokenWriter
    from genomelm_utils.datasets.token_sets import iter_rows
    from genomelm_utils.genomenlp.tokens import check_free
    from genomelm_utils.tokenizers.seen_kmers import SeenKmers

    formats = {".csv": "csv", ".json": "json", ".parquet": "parquet"}
    if given.out.suffix not in formats:
        raise ValueError(f"-o is {given.out}, expected a name in {', '.join(formats)}")
    check_outputs(given)
    check_free([given.mappings_out, given.tokeniser_out], given.infile_path)
    labels = given.label or [path.name for path in given.infile_path]
    records = FastaClasses(given.infile_path, labels, kind=given.kind, min_classes=1)
    cut = Cut(given.chunk, choose_strands(records.kind, given.strands), given.complement)
    kmers = SeenKmers(given.k, records.kind.name, ids=given.ids)
    for record in records:
        kmers.add(text for _, text in cut.rows(record, records.kind))
    n_short = n_tokens = 0
    with open_output(given.out) as output:
        writer = TokenWriter(
            output.folder,
            given.out.stem,
            records.class_names,
            formats=[formats[given.out.suffix]],
            tokens=kmers.tokens,
            counter=True,
        )
        for rows in iter_rows(records, records.kind, cut, kmers.encode):
            writer.write(rows)
            n_short += int((rows.offsets[1:] == rows.offsets[:-1]).sum())
            n_tokens += len(rows.ids)
        writer.close()
        output.write_skipped(records.skipped)
        found = {"n_rows": writer.n_rows, "n_tokens": n_tokens, "n_kmers": len(kmers.words)}
        output.write_settings(given, PROGRAM, **found, classes=records.class_names)
    kmers.save(given.mappings_out, given.tokeniser_out)
    lines = [
        f"{given.out}: {writer.n_rows:,} rows, {n_tokens:,} {given.k}-mers, {len(kmers.words):,} "
        "different ones"
    ]
    if n_short:
        lines.append(f"{n_short:,} rows are shorter than {given.k} letters and have no k-mer")
    return lines


def _add_strands(parser: argparse.ArgumentParser) -> None:
    choice = parser.add_mutually_exclusive_group()
    add = choice.add_argument
    add(
        "--no_reverse_complement",
        dest="strands",
        action="store_false",
        default=None,
        help="leave the other strand out [DNA and RNA have it, protein does not]",
    )
    add("--reverse_complement", dest="strands", action="store_true", help="or insist on it")
    parser.add_argument(
        "--complement", choices=MODES, default="corrected", help="of ambiguous bases [corrected]"
    )


# --- create_dataset ------------------------------------------------------------------------


def add_create_dataset_bio(parser: argparse.ArgumentParser) -> None:
    """Options of `create_dataset_bio`."""
    add = parser.add_argument
    add("infile_path_1", type=Path, help="FASTA of class 0")
    add("infile_path_2", type=Path, help="FASTA of class 1")
    add("tokeniser_path", type=Path, help="a tokenizer of tokenise_bio or kmerise_bio (JSON)")
    add("--class_names", nargs=2, default=["NEGATIVE", "POSITIVE"], metavar="NAME")
    _add_dataset_options(parser)
    _add_strands(parser)
    add("--groups", choices=GROUPS, default="sequence", help="what stays in one part [sequence]")
    add("--word", type=whole(1), default=WORD, help=f"letters, for shared_words [{WORD}]")
    add("--kind", choices=KINDS, default="auto", help="of the letters [auto]")
    add("--kmers", choices=MODES, default="corrected", help="k-mers overlap [corrected]")


def add_create_dataset_nlp(parser: argparse.ArgumentParser) -> None:
    """Options of `create_dataset_nlp`."""
    add = parser.add_argument
    add("infile_path", type=Path, help="a table: CSV or TSV, plain or gzipped")
    add("tokeniser_path", type=Path, help="a unigram tokenizer (JSON)")
    for name, about in (("title", "names"), ("labels", "classes"), ("content", "texts")):
        add(name, help=f"column of the {about}")
    add("-d", "--data_column", help="not used, as in genomeNLP")
    _add_dataset_options(parser)


def _add_dataset_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    folder = Path("hf_out")
    add_out(parser, ("-o", "--outfile_dir"), f"a new folder [{folder}]", default=folder)
    add("-s", "--special_tokens", nargs="+", metavar="TOKEN", help="the tokenizer must have them")
    add("-c", "--chunk", type=whole(1), metavar="N", help="letters of a row [whole records]")
    for name, value in SHARES.items():
        add(f"--split_{name}", type=share, default=value, metavar="SHARE", help=f"[{value}]")
    add("--no_shuffle", action="store_true", help="rows stay in the order of the input")
    add(
        "--split", choices=MODES, default="corrected", help="reference: rows at random, which leaks"
    )
    add("--formats", nargs="+", choices=FORMATS, default=list(FORMATS), help="[all]")
    add("--input_str", action="store_true", help="a column with the token strings, too")
    add_seed(parser)


def create_dataset_bio(given: argparse.Namespace) -> list[str]:
    """Train, test and valid of two FASTA files, tokenised."""
    from genomelm_utils.datasets.class_records import FastaClasses
    from genomelm_utils.datasets.split_plan import Cut, choose_strands
    from genomelm_utils.tokenizers.seen_kmers import load_encoder

    paths = [given.infile_path_1, given.infile_path_2]
    records = FastaClasses(paths, given.class_names, kind=given.kind)
    strands = choose_strands(records.kind, given.strands)
    cut = Cut(given.chunk, strands, given.complement)
    encoder = load_encoder(given.tokeniser_path, kmers=given.kmers)
    return _create(given, records, cut, encoder, {"groups": given.groups, "word": given.word})


def create_dataset_nlp(given: argparse.Namespace) -> list[str]:
    """Train, test and valid of a table of texts, tokenised."""
    from genomelm_utils.datasets.class_records import TextTable
    from genomelm_utils.datasets.split_plan import Cut
    from genomelm_utils.tokenizers.unigram import load_unigram
    from genomelm_utils.tokenizers.unigram_encoding import TextEncoder

    records = TextTable(given.infile_path, given.title, given.labels, given.content)
    encoder = TextEncoder(load_unigram(given.tokeniser_path))
    return _create(given, records, Cut(given.chunk), encoder, {})


def _create(given: argparse.Namespace, records, cut: "Cut", encoder, grouping: dict) -> list[str]:
    from genomelm_utils.command_outputs import check_new_folder, describe_run, tell
    from genomelm_utils.datasets.split_plan import plan_split
    from genomelm_utils.datasets.token_sets import create_token_set

    check_new_folder(given.out)
    missing = [token for token in given.special_tokens or () if token not in encoder.tokens]
    if missing:
        raise ValueError(
            f"{given.tokeniser_path} has no {', '.join(missing)}: make it with those special tokens"
        )
    shares = {"train": given.split_train, "test": given.split_test, "valid": given.split_val}
    options = {"split": given.split, "shuffle": not given.no_shuffle, "seed": given.seed}
    plan = plan_split(records, records.kind, cut, shares=shares, **options, **grouping)
    for warning in plan.warnings:
        tell(warning)
    created = create_token_set(
        records,
        records.kind,
        records.class_names,
        encoder.encode,
        given.out,
        plan,
        cut,
        formats=given.formats,
        tokens=encoder.tokens if given.input_str else None,
        shuffle=not given.no_shuffle,
        seed=given.seed,
    )
    found = {"kind": records.kind.name, "both_strands": cut.both_strands}
    found |= {"classes": records.class_names, "n_tokens": created.n_tokens}
    found |= {"rows": created.counts.to_dict("records"), "warnings": plan.warnings}
    found |= {"leaks": created.leaks.to_dict("records"), "skipped": len(records.skipped)}
    (given.out / SETTINGS).write_text(describe_run(given, PROGRAM, **found))
    if len(records.skipped):
        path = given.out / "skipped.tsv"
        records.skipped.to_csv(path, sep="\t", index=False, lineterminator="\n")
        tell(f"left out {len(records.skipped)} records (named in {path})")
    return _describe(given, records, created, plan, encoder.tokens)


def _describe(
    given: argparse.Namespace, records, created: "Created", plan: "SplitPlan", tokens: list[str]
) -> list[str]:
    counts = created.counts.pivot_table("n_rows", "part", "label", sort=False)
    lines = [f"{given.out}: {len(plan.records):,} records ({records.kind.name}), rows by class:"]
    for part, row in counts.iterrows():
        each = ", ".join(f"{name} {int(row[name]):,}" for name in records.class_names)
        lines.append(f"{part}\t{int(row.sum()):,}\t{each}")
    for row in created.leaks.itertuples():
        lines.append(f"{row.part}: {row.n_either_strand:,} of {row.n_rows:,} rows were trained on")
    if created.sample is not None:
        first = [f"{i} {tokens[i]}" for i in created.sample.ids[:5].tolist()]
        lines.append(f"{created.sample.names[0]}: {', '.join(first)} ...")
    return lines


# --- generate_synthetic --------------------------------------------------------------------


def add_generate_synthetic(parser: argparse.ArgumentParser) -> None:
    """Options of `generate_synthetic`."""
    add = parser.add_argument
    add("infile_path", type=Path, help="FASTA, plain or gzipped")
    add("-b", "--block_size", type=whole(1), default=BLOCK, help=f"letters of a word [{BLOCK}]")
    add("-c", "--control_dist", choices=METHODS, default="frequency", help="[frequency]")
    out = Path("out.fa")
    add_out(parser, ("-o", "--outfile_path"), f"FASTA, gzipped if *.gz [{out}]", default=out)
    add("--do_reverse_complement", action="store_true", help="the other strand of each, too")
    add("--kind", choices=KINDS, default="auto", help="of the letters [auto]")
    add("--mode", choices=MODES, default="corrected", help="reference: words of A, C, G, T only")
    add_seed(parser)


def generate_synthetic(given: argparse.Namespace) -> list[str]:
    """One synthetic negative per record."""
    from genomelm_utils.command_outputs import check_outputs, open_output
    from genomelm_utils.sequences.synthetic import write_synthetic

    check_outputs(given)
    if given.out.exists():
        raise ValueError(f"{given.out} is there; remove it, or give -o another name")
    with open_output(given.out) as output:
        written = write_synthetic(
            given.infile_path,
            output.path(),
            given.control_dist,
            seed=given.seed,
            block=given.block_size,
            kind=given.kind,
            reverse_complement=given.do_reverse_complement,
            mode=given.mode,
        )
        output.write_skipped(written.skipped)
        found = {"n_records": written.n_records, "n_letters": written.n_letters}
        output.write_settings(given, PROGRAM, **found)
    return [f"{given.out}: {written.n_records:,} records, {written.n_letters:,} letters"]
