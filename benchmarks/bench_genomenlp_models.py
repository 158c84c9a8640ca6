"""Features and classifiers of learned words, against what genomeNLP's commands do.

    python benchmarks/bench_genomenlp_models.py [--rounds 3] [--records 2000] [--no-write]

Three tasks, on the E. coli promoters and non-promoters under GENOMELM_DATA where it is set, else on
random sequences of 81 bp, cut into the words of a vocabulary of 2,000:

    tfidf     TF-IDF of all rows; peer: ids looked up, joined to text, and cut again by scikit-learn
              into a dense table, as released
    word2vec  vectors of tokens from rows; peer: as released, but with a list that gensim can read
              again (what is released reads it once, and learns nothing); both wait for gensim
    train     one epoch of a DistilBERT of two layers, width 96; peer: the Hugging Face `Trainer`
              with dynamic padding; same network, rows per step, rate, schedule and threads

Before any time is taken the tables and the vectors must be equal. Rounds are interleaved; the best
wall time of each is kept, and the CPU seconds of that round.
"""

import argparse
import logging
import os
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
from bench_genomenlp_data import find_files, time_rounds
from machine import write_result

from genomelm_utils.baselines.token_counts import fit_token_counts
from genomelm_utils.baselines.word2vec import TokenSentences, train_word2vec
from genomelm_utils.models.sequence_classifier import build_config
from genomelm_utils.sequences.letters import LetterStream
from genomelm_utils.tasks.sequence_models import unigram_tokens
from genomelm_utils.tasks.sequence_training import train_classifier
from genomelm_utils.tasks.sequence_validation import TrainingSettings
from genomelm_utils.tokenizers.unigram import list_tokens, train_unigram
from genomelm_utils.tokenizers.unigram_encoding import LetterEncoder

VOCAB, BATCH, RATE = 2000, 32, 1e-3
CLASSES = ("non_promoter", "promoter")


def tfidf_ours(rows, vocabulary):
    return fit_token_counts(rows, vocabulary, words="reference").transform(rows)


def tfidf_peer(rows, vocabulary):
    """Text of every row, cut again by a regular expression, as a dense table."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    name_of = dict(enumerate(vocabulary))
    texts = [" ".join(name_of[int(i)].lstrip("▁") for i in row) for row in rows]
    return TfidfVectorizer(lowercase=False).fit_transform(texts).toarray()


def word2vec_ours(rows, vocabulary):
    return train_word2vec(TokenSentences(rows, vocabulary)).wv


def word2vec_peer(rows, vocabulary):
    from gensim.models import Word2Vec

    name_of = dict(enumerate(vocabulary))
    sentences = [[name_of[int(i)] for i in row] for row in rows]
    return Word2Vec(
        sentences, vector_size=100, window=10, min_count=1, sg=1, seed=1, workers=1
    ).wv  # fmt: skip


def network(n_tokens: int, pad_id: int):
    sizes = {"layers": 2, "width": 96, "heads": 4, "positions": 128}
    return build_config("distilbert", n_tokens + 2, CLASSES, pad_id=pad_id, **sizes)


def train_ours(rows, labels, vocabulary) -> None:
    pad_id = vocabulary.index("<pad>")
    settings = TrainingSettings(
        epochs=1, batch_size=BATCH, learning_rate=RATE, pooling="first", on_collapse="keep"
    )
    tokens = unigram_tokens(len(vocabulary), pad_id)
    train_classifier(
        (rows, labels), network(len(vocabulary), pad_id), tokens, CLASSES, settings, seed=1
    )


def train_peer(rows, labels, vocabulary) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

    pad_id = vocabulary.index("<pad>")
    model = AutoModelForSequenceClassification.from_config(network(len(vocabulary), pad_id))
    n = len(vocabulary)
    data = [
        {"input_ids": [n + 1, *map(int, row), n], "label": int(label)}
        for row, label in zip(rows, labels, strict=True)
    ]

    def collate(batch):
        longest = max(len(one["input_ids"]) for one in batch)
        ids = torch.full((len(batch), longest), pad_id)
        for i, one in enumerate(batch):
            ids[i, : len(one["input_ids"])] = torch.tensor(one["input_ids"])
        labels = torch.tensor([one["label"] for one in batch])
        return {"input_ids": ids, "attention_mask": (ids != pad_id).long(), "labels": labels}

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=BATCH, num_train_epochs=1,
            learning_rate=RATE, warmup_steps=int(0.1 * -(-len(rows) // BATCH)), save_strategy="no",
            report_to=[], disable_tqdm=True, use_cpu=True, seed=1, logging_strategy="no",
        )  # fmt: skip
        Trainer(model=model, args=arguments, train_dataset=data, data_collator=collate).train()


def check_equal(rows, vocabulary) -> None:
    """The end if a table or a vector differs between the two."""
    ours, theirs = tfidf_ours(rows, vocabulary), tfidf_peer(rows, vocabulary)
    if not np.allclose(ours.toarray(), theirs, atol=1e-6):
        raise SystemExit("the TF-IDF tables differ: no timing")
    ours, theirs = word2vec_ours(rows, vocabulary), word2vec_peer(rows, vocabulary)
    if ours.index_to_key != theirs.index_to_key or not np.allclose(ours.vectors, theirs.vectors):
        raise SystemExit("the word2vec vectors differ: no timing")


def measure(paths: list[Path], rounds: int) -> list[dict]:
    """A row per task: rows per second of both, and their ratio."""
    texts = [[one.text for one in LetterStream(path)] for path in paths]
    labels = np.repeat([0, 1], [len(part) for part in texts])
    tokenizer = train_unigram(texts[0] + texts[1], VOCAB)
    vocabulary = list_tokens(tokenizer)["token"].tolist()
    ids, offsets = LetterEncoder(tokenizer).encode(texts[0] + texts[1])
    rows = [ids[a:b] for a, b in pairwise(offsets)]
    check_equal(rows, vocabulary)
    tasks = {
        "tfidf": (tfidf_ours, tfidf_peer, (rows, vocabulary)),
        "word2vec": (word2vec_ours, word2vec_peer, (rows, vocabulary)),
        "train": (train_ours, train_peer, (rows, labels, vocabulary)),
    }
    found = []
    for name, (ours, peer, given) in tasks.items():
        best = time_rounds(
            {"ours": lambda f=ours, g=given: f(*g), "peer": lambda f=peer, g=given: f(*g)}, rounds
        )
        found.append(
            {
                "task": name,
                "n_rows": len(rows),
                "n_tokens": len(ids),
                "rows_per_s": round(len(rows) / best["ours"][0]),
                "rows_per_s_peer": round(len(rows) / best["peer"][0]),
                "times_peer": round(best["peer"][0] / best["ours"][0], 2),
                **{f"{one}_s": round(best[one][0], 3) for one in best},
                **{f"{one}_cpu_s": round(best[one][1], 3) for one in best},
                "rounds": rounds,
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--records", type=int, default=2000, help="of each class [2000]")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-write", action="store_true", help="print only")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    logging.disable(logging.WARNING)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with tempfile.TemporaryDirectory() as place:
        rows = measure(find_files(Path(place), args.records), args.rounds)
    for row in rows:
        print("  ".join(f"{key}={value}" for key, value in row.items()))
    if not args.no_write:
        print(write_result("genomenlp_models", rows))


if __name__ == "__main__":
    main()
