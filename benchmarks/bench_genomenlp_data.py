"""Learned words, k-mers and data sets of sequences, against what genomeNLP's commands do.

    python benchmarks/bench_genomenlp_data.py [--rounds 3] [--records 2000] [--no-write]

Four tasks, on the E. coli promoters and non-promoters under GENOMELM_DATA where it is set, else on
random sequences of 81 bp; bases per second count those of the input once:

    train      a unigram vocabulary of 2,000; peer: the trainer of the library `tokenizers`
    encode     token ids of all sequences; peer: the library's encoder, all sequences at once
    kmerise    FASTA to the CSV of overlapping 6-mers with other strands; peer: as the released
               command goes about it, every k-mer a slice, every list printed by numpy, the file
               read again and rewritten row by row through pandas
    dataset    FASTA to train, test and valid with other strands, as CSV, JSON, Parquet and Arrow;
               peer: as released, a tokenizer call per row, rows through CSV, then the library
               `datasets` for splits and files

The peers are written anew, plainly, from the description of what those commands do. Before any time
is taken tokens and rows must be equal. Rounds are interleaved; the best wall time of each is kept,
and the CPU seconds of that round. Each task is run once before, so ours is compiled.
"""

import argparse
import csv
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from machine import write_result

from genomelm_utils.datasets.class_records import FastaClasses
from genomelm_utils.datasets.split_plan import Cut, plan_split
from genomelm_utils.datasets.token_files import TokenWriter
from genomelm_utils.datasets.token_reading import read_token_set
from genomelm_utils.datasets.token_sets import create_token_set, iter_rows
from genomelm_utils.sequences.letters import LetterStream, reverse_complement_text
from genomelm_utils.tokenizers.seen_kmers import SeenKmers
from genomelm_utils.tokenizers.unigram import list_tokens, train_unigram
from genomelm_utils.tokenizers.unigram_encoding import LetterEncoder

K, VOCAB = 6, 2000
FORMATS = ("csv", "json", "parquet", "datasets")


def find_files(folder: Path, n_records: int) -> list[Path]:
    """Two FASTA files of the first `n_records` of each class."""
    data = os.environ.get("GENOMELM_DATA")
    rng = np.random.default_rng(0)
    paths = []
    for name in ("promoter", "non_promoter"):
        path = folder / f"{name}.fa"
        if data:
            source = Path(data, "classification", "genomenlp", f"{name}.fasta.gz")
            texts = [(one.header, one.text) for one in LetterStream(source)][:n_records]
        else:
            letters = list("ACGT")
            texts = [(f"{name}{i}", "".join(rng.choice(letters, 81))) for i in range(n_records)]
        path.write_text("".join(f">{header}\n{text}\n" for header, text in texts))
        paths.append(path)
    return paths


# --- k-mers --------------------------------------------------------------------------------


def kmerise_ours(paths: list[Path], folder: Path) -> Path:
    records, cut, kmers = FastaClasses(paths), Cut(None, True), SeenKmers(K, "dna")
    for record in records:
        kmers.add(text for _, text in cut.rows(record, records.kind))
    options = {"formats": ["csv"], "tokens": kmers.tokens, "counter": True}
    writer = TokenWriter(folder, "ours", records.class_names, **options)
    for rows in iter_rows(records, records.kind, cut, kmers.encode):
        writer.write(rows)
    writer.close()
    kmers.save(folder / "mappings.json", folder / "tokeniser.json")
    return folder / "ours.csv"


def iter_peer_rows(paths: list[Path]) -> Iterator[tuple[str, str, int]]:
    """Name, letters and label of every row, other strands behind."""
    for label, path in enumerate(paths):
        for record in LetterStream(path):
            name = record.header.replace(",", "__")
            yield name, record.text, label
            yield f"{name}__RC", reverse_complement_text(record.text), label


def kmerise_peer(paths: list[Path], folder: Path) -> Path:
    """Every list printed, then the file again a row at a time, to put in ids."""
    temporary, path = folder / "temporary.csv", folder / "peer.csv"
    seen: set[str] = set()
    with temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["idx", "feature", "labels", "input_str"])
        for name, text, label in iter_peer_rows(paths):
            words = [text[i : i + K] for i in range(len(text) - K + 1)]
            seen |= set(words)
            writer.writerow([name, text, label, np.array(words)])
    id_of = {word: i for i, word in enumerate(sorted(seen), 5)}
    options = {"chunksize": 1, "keep_default_na": False, "dtype": {"idx": str}}
    for i, table in enumerate(pd.read_csv(temporary, **options)):
        words = table["input_str"].iloc[0].strip("[]").replace("'", "").split()
        ids = np.array([id_of[word] for word in words])
        table["input_ids"] = [ids]
        table["token_type_ids"] = [np.zeros_like(ids)]
        table["attention_mask"] = [np.ones_like(ids)]
        table.to_csv(path, mode="a" if i else "w", header=not i)
    temporary.unlink()
    return path


# --- data sets -----------------------------------------------------------------------------


def dataset_ours(paths: list[Path], folder: Path, encoder: LetterEncoder) -> Path:
    out = folder / "ours"
    shutil.rmtree(out, ignore_errors=True)
    records, cut = FastaClasses(paths), Cut(None, True)
    plan = plan_split(records, records.kind, cut, seed=1)
    where = (records.class_names, encoder.encode, out, plan, cut)
    create_token_set(records, records.kind, *where, formats=FORMATS, seed=1)
    return out


def dataset_peer(paths: list[Path], folder: Path, tokenizer) -> Path:
    """A tokenizer call per row, rows through CSV, then `datasets`; rows are dealt at random."""
    import datasets

    out = folder / "peer"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    lists = ["input_ids", "token_type_ids", "attention_mask"]
    with (out / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["idx", "feature", "labels", *lists])
        for name, text, label in iter_peer_rows(paths):
            ids = np.array(tokenizer(text)["input_ids"])
            writer.writerow([name, text, label, ids, np.zeros_like(ids), np.ones_like(ids)])
    table = pd.read_csv(out / "rows.csv", keep_default_na=False, dtype={"idx": str})
    for column in lists:
        table[column] = [np.array(cell.strip("[]").split(), int) for cell in table[column]]
    whole = datasets.Dataset.from_pandas(table)
    first = whole.train_test_split(0.1, seed=1)
    rest = first["test"].train_test_split(0.5, seed=1)
    for part, rows in (("train", first["train"]), ("test", rest["test"]), ("valid", rest["train"])):
        rows.to_csv(str(out / f"{part}.csv"), index=False)
        rows.to_json(str(out / f"{part}.json"))
        rows.to_parquet(str(out / f"{part}.parquet"))
        rows.save_to_disk(str(out / part))
    (out / "rows.csv").unlink()
    return out


# --- measuring -----------------------------------------------------------------------------


def check_equal(paths: list[Path], folder: Path, tokenizer, encoder: LetterEncoder) -> None:
    """The end if anything differs between the two."""
    texts = [one.text for path in paths for one in LetterStream(path)]
    ids, offsets = encoder.encode(texts)
    peer = [row.ids for row in tokenizer.backend_tokenizer.encode_batch_fast(texts)]
    equal = {"ids": [ids[a:b].tolist() for a, b in pairwise(offsets)] == peer}
    engines = (train_unigram(texts, VOCAB, engine=one) for one in ("compiled", "tokenizers"))
    ours, theirs = (set(list_tokens(one)["token"]) for one in engines)
    equal["tokens"] = ours == theirs
    kmers = [read_token_set(one(paths, folder)) for one in (kmerise_ours, kmerise_peer)]
    equal["k-mers"] = kmers[0].names == kmers[1].names and (kmers[0].ids == kmers[1].ids).all()
    rows = []
    for one in (dataset_ours(paths, folder, encoder), dataset_peer(paths, folder, tokenizer)):
        parts = [read_token_set(one / f"{part}.parquet") for part in ("train", "test", "valid")]
        rows.append(sorted((p.names[i], p.row(i).tolist()) for p in parts for i in range(len(p))))
    equal["rows"] = rows[0] == rows[1]
    if wrong := [name for name, same in equal.items() if not same]:
        raise SystemExit(f"{', '.join(wrong)} differ between the two: no timing")


def time_rounds(
    tasks: dict[str, Callable[[], object]], rounds: int
) -> dict[str, tuple[float, float]]:
    """The best (wall, CPU) seconds of each task."""
    best: dict[str, tuple[float, float]] = {}
    for _ in range(rounds):
        for name, task in tasks.items():
            wall, cpu = time.perf_counter(), sum(os.times()[:4])
            task()
            taken = time.perf_counter() - wall, sum(os.times()[:4]) - cpu
            best[name] = min(best.get(name, taken), taken)
    return best


def measure(paths: list[Path], folder: Path, rounds: int) -> list[dict]:
    """A row per task: bases per second of both, and their ratio."""
    texts = [one.text for path in paths for one in LetterStream(path)]
    n_bases = sum(map(len, texts))
    tokenizer = train_unigram(texts, VOCAB)
    encoder = LetterEncoder(tokenizer)
    check_equal(paths, folder, tokenizer, encoder)
    tasks = {
        "train": (
            lambda: train_unigram(texts, VOCAB),
            lambda: train_unigram(texts, VOCAB, engine="tokenizers"),
        ),
        "encode": (
            lambda: encoder.encode(texts),
            lambda: tokenizer.backend_tokenizer.encode_batch_fast(texts),
        ),
        "kmerise": (lambda: kmerise_ours(paths, folder), lambda: kmerise_peer(paths, folder)),
        "dataset": (
            lambda: dataset_ours(paths, folder, encoder),
            lambda: dataset_peer(paths, folder, tokenizer),
        ),
    }
    rows = []
    for name, (ours, peer) in tasks.items():
        best = time_rounds({"ours": ours, "peer": peer}, rounds)
        rows.append(
            {
                "task": name,
                "n_records": len(texts),
                "n_bases": n_bases,
                "bases_per_s": round(n_bases / best["ours"][0]),
                "bases_per_s_peer": round(n_bases / best["peer"][0]),
                "times_peer": round(best["peer"][0] / best["ours"][0], 1),
                "times_peer_cpu": round(best["peer"][1] / max(best["ours"][1], 0.01), 1),
                **{f"{one}_s": round(best[one][0], 3) for one in best},
                **{f"{one}_cpu_s": round(best[one][1], 3) for one in best},
                "rounds": rounds,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--records", type=int, default=2000, help="of each class [2000]")
    parser.add_argument("--no-write", action="store_true", help="print only")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    with tempfile.TemporaryDirectory() as place:
        rows = measure(find_files(Path(place), args.records), Path(place), args.rounds)
    for row in rows:
        print("  ".join(f"{key}={value}" for key, value in row.items()))
    if not args.no_write:
        print(write_result("genomenlp_data", rows))


if __name__ == "__main__":
    main()
