"""The few-shot sets of GeneMask: published files as they are, or seeded draws without leakage.

    train, test, dropped = load_fewshot("Prom-core", 50, draw=3, as_shipped=False, seed=1)

Source: Data-B of github.com/roysoumya/GeneMask.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.datasets.identity import is_first, sequence_keys
from genomelm_utils.datasets.labelled import LabelledSet, mark_quotes, read_labelled
from genomelm_utils.datasets.registry import fetch_file

__all__ = [
    "SETS",
    "FewshotSet",
    "LabelledSet",
    "clean_pool",
    "draw_cleaned",
    "draw_shots",
    "load_fewshot",
    "read_labelled",
]

_ROOM = "classification/genemask"


@dataclass(frozen=True)
class FewshotSet:
    """One few-shot set: sequence length, classes, and where its files are.

    `train` maps the number of shots to a registry name. `test` is the registry name of the test
    file; `held_out` instead takes that many sequences per class out of the largest training file,
    because nothing else is published. `test_is_stand_in`: the test file is another collection's.
    """

    length_bp: int
    n_classes: int
    train: dict[int, str]
    test: str | None
    held_out: int = 0
    test_is_stand_in: bool = False

    @property
    def shots(self) -> tuple[int, ...]:
        """The published numbers of shots."""
        return tuple(self.train)


def _train_files(name: str, *shots: int) -> dict[int, str]:
    return {n: f"{_ROOM}/{name}/{n}/train.tsv.gz" for n in shots}


# Splice-40 `dev.tsv` is nowhere here: it is a piece of the test file.
SETS = {
    "Prom-core": FewshotSet(
        length_bp=70,
        n_classes=2,
        train=_train_files("Prom-core", 10, 50, 100, 500, 1000),
        test=f"{_ROOM}/Prom-core/test.tsv.gz",
    ),
    # The published test file is not to be had. GUE's comes from the same promoter database; it
    # loses what is in the training files, which are the published part, and so stays the same for
    # every number of shots and every draw.
    "Prom-300": FewshotSet(
        length_bp=300,
        n_classes=2,
        train=_train_files("Prom-300", 10, 50, 100, 500, 1000),
        test="classification/gue/prom/prom_300_all/test.csv.gz",
        test_is_stand_in=True,
    ),
    # Neither is this one. 140 per class is the most (in tens) that leaves 500 to draw from.
    "Cohn-enh": FewshotSet(
        length_bp=500,
        n_classes=2,
        train=_train_files("Cohn-enh", 10, 50, 100, 500),
        test=None,
        held_out=140,
    ),
    "Splice-40": FewshotSet(
        length_bp=40,
        n_classes=3,
        train=_train_files("Splice-40", 10, 50, 100, 500),
        test=f"{_ROOM}/Splice-40/test.tsv.gz",
    ),
}


def draw_shots(labels: np.ndarray, n_per_class: int, rng: np.random.Generator) -> np.ndarray:
    """Indices int64[n_per_class * classes] of a balanced draw without replacement, shuffled.

    Classes are 0 .. max(labels). Raises ValueError when a class is too small, naming it.
    """
    counts = np.bincount(labels)
    small = np.flatnonzero(counts < n_per_class)
    if len(small):
        found = ", ".join(f"class {c} has {counts[c]}" for c in small)
        raise ValueError(
            f"cannot draw {n_per_class} sequences per class without replacement: {found}; ask for "
            f"{counts.min()} or fewer"
        )
    drawn = [
        rng.choice(np.flatnonzero(labels == c), n_per_class, replace=False)
        for c in range(len(counts))
    ]
    return rng.permutation(np.concatenate(drawn))


def draw_cleaned(pool: LabelledSet, shots: int, draw: int, seed: int) -> LabelledSet:
    """Draw number `draw` of `shots` sequences per class: a pure function of its arguments.

    Draws of different numbers of shots are independent, not nested.
    """
    rng = np.random.default_rng([seed, draw, shots])
    try:
        return pool.take(draw_shots(pool.labels, shots, rng))
    except ValueError as error:
        raise ValueError(f"{pool.source}: {error}") from error


def clean_pool(
    pool: LabelledSet, test: LabelledSet, *, test_gives_way: bool = False
) -> tuple[LabelledSet, LabelledSet, pd.DataFrame]:
    """A pool to draw from and a test set that share nothing: (pool, test, rows left out).

    From the pool go repeats (a reverse complement is one), sequences with two labels, and what is
    in the test set; from the test set repeats. With `test_gives_way` the test set instead loses
    what is in the pool. The table has the columns part (train or test), name, label, reason.
    """
    pool, keys, dropped = _drop_repeats(pool)
    test, test_keys, dropped_test = _clean_test(test, keys if test_gives_way else keys[:0])
    in_test = np.isin(keys, test_keys)
    reports = [dropped, dropped_test, _dropped("train", pool, in_test, "in the test file")]
    return pool.take(~in_test), test, pd.concat(reports, ignore_index=True)


def load_fewshot(
    name: str,
    shots: int,
    *,
    draw: int,
    as_shipped: bool,
    seed: int,
    keep_quotes: bool = False,
    data_dir: Path | None = None,
) -> tuple[LabelledSet, LabelledSet, pd.DataFrame]:
    """Training set, test set, and the table of rows that were left out (part, name, label, reason).

    Drawn (`as_shipped` False): exactly `shots` sequences per class from all published training
    files of the set together, each sequence once (reverse complements count as the same), none of
    them in the test set, none with two labels; the test set without repeats. A pure function of
    (name, shots, draw, seed).

    As shipped: the published file of that many shots, with its repeats and its leaks into the test
    set, and for Splice-40 with ten times as many rows. Only where the test set is a stand-in or
    held out is something dropped: the stand-in loses what is in any training file, and the
    training file what is held out.

    Args:
        name: a key of `SETS`.
        shots: sequences per class; as shipped, one of the published numbers.
        draw: which draw, 0, 1, ...; there is one as shipped (0).
        keep_quotes: mark the quotes of the training files as the reference reader does
            (`read_labelled`); the published test files have none.
    """
    if name not in SETS:
        raise ValueError(f"few-shot set {name!r}, expected one of {', '.join(SETS)}")
    spec = SETS[name]
    if as_shipped:
        train, test, dropped = _as_shipped(name, shots, draw, data_dir)
    else:
        pool, test, dropped = _pool_and_test(name, data_dir)
        train = draw_cleaned(pool, shots, draw, seed)
    assert len(np.unique(train.labels)) == spec.n_classes
    if keep_quotes and train.quoted:
        train = replace(train, codes=mark_quotes(train.codes))
    return train, test, dropped.copy()


def _as_shipped(
    name: str, shots: int, draw: int, data_dir: Path | None
) -> tuple[LabelledSet, LabelledSet, pd.DataFrame]:
    spec = SETS[name]
    if shots not in spec.train:
        raise ValueError(f"{name} as shipped: {shots} shots, published are {spec.shots}")
    if draw != 0:
        raise ValueError(f"{name} as shipped: draw {draw}, but one draw is published (draw 0)")
    train = _read(spec.train[shots], spec.length_bp, data_dir)
    if spec.test and not spec.test_is_stand_in:
        return train, _read(spec.test, spec.length_bp, data_dir), _dropped()
    _, test, dropped = _pool_and_test(name, data_dir)
    leaked = np.isin(sequence_keys(train.codes), sequence_keys(test.codes))
    dropped = dropped[dropped["part"] == "test"]
    lost = _dropped("train", train, leaked, "held out as test")
    return train.take(~leaked), test, pd.concat([dropped, lost], ignore_index=True)


@lru_cache(maxsize=8)
def _pool_and_test(
    name: str, data_dir: Path | None
) -> tuple[LabelledSet, LabelledSet, pd.DataFrame]:
    """Everything that may be drawn, the test set, and what was left out of both.

    Remembered because every draw needs it: do not change the arrays (they are read-only).
    """
    spec = SETS[name]
    pool = _join([_read(file, spec.length_bp, data_dir) for file in spec.train.values()], name)
    if spec.test is None:
        pool, keys, dropped = _drop_repeats(pool)
        held = _hold_out(pool, keys, spec)
        dropped = [dropped, _dropped("train", pool, held, "held out as test")]
        pool, test, dropped = pool.take(~held), pool.take(held), pd.concat(dropped)
    else:
        test = _read(spec.test, spec.length_bp, data_dir)
        pool, test, dropped = clean_pool(pool, test, test_gives_way=spec.test_is_stand_in)
    for part in (pool, test):
        part.codes.setflags(write=False)
        part.labels.setflags(write=False)
    return pool, test, dropped.reset_index(drop=True)


def _drop_repeats(pool: LabelledSet) -> tuple[LabelledSet, np.ndarray, pd.DataFrame]:
    """Each sequence once and none with two labels, the keys, and what was dropped."""
    keys = sequence_keys(pool.codes)
    conflicting = _has_two_labels(keys, pool.labels)
    repeated = ~is_first(keys) & ~conflicting
    dropped = [
        _dropped("train", pool, conflicting, "has two labels"),
        _dropped("train", pool, repeated, "repeated"),
    ]
    kept = ~(conflicting | repeated)
    return pool.take(kept), keys[kept], pd.concat(dropped, ignore_index=True)


def _clean_test(
    test: LabelledSet, unwanted_keys: np.ndarray
) -> tuple[LabelledSet, np.ndarray, pd.DataFrame]:
    """The test set without repeats and unwanted sequences, its keys, and what was dropped."""
    keys = sequence_keys(test.codes)
    trained = np.isin(keys, unwanted_keys)
    repeated = ~is_first(keys) & ~trained
    dropped = [
        _dropped("test", test, trained, "in a training file"),
        _dropped("test", test, repeated, "repeated"),
    ]
    kept = ~(trained | repeated)
    return test.take(kept), keys[kept], pd.concat(dropped, ignore_index=True)


def _hold_out(pool: LabelledSet, keys: np.ndarray, spec: FewshotSet) -> np.ndarray:
    """Which rows are the test set: of the largest file, the n smallest keys of every class.

    Keys are as good as random and belong to the sequence: the split depends on no seed and on no
    order of rows.
    """
    largest = f"{max(spec.train)}/"
    from_largest = np.array([name.startswith(largest) for name in pool.names])
    held = np.zeros(len(pool), dtype=bool)
    for label in np.unique(pool.labels):
        rows = np.flatnonzero(from_largest & (pool.labels == label))
        assert len(rows) >= spec.held_out
        held[rows[np.argsort(keys[rows])[: spec.held_out]]] = True
    return held


def _read(name: str, length_bp: int, data_dir: Path | None) -> LabelledSet:
    found = read_labelled(fetch_file(name, data_dir), length_bp=length_bp)
    names = [f"{Path(name).parent.name}/{row}" for row in found.names]
    return replace(found, names=names, source=name)


def _join(sets: list[LabelledSet], source: str) -> LabelledSet:
    return LabelledSet(
        codes=np.concatenate([one.codes for one in sets]),
        labels=np.concatenate([one.labels for one in sets]),
        names=[name for one in sets for name in one.names],
        source=source,
        skipped=pd.concat([one.skipped for one in sets], ignore_index=True),
        quoted=any(one.quoted for one in sets),
        k=sets[0].k,
    )


def _has_two_labels(keys: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which rows hold a sequence that stands somewhere with another label."""
    _, group = np.unique(keys, return_inverse=True)
    lowest = np.full(group.max() + 1, np.iinfo(np.int64).max)
    highest = np.full(group.max() + 1, -1)
    np.minimum.at(lowest, group, labels)
    np.maximum.at(highest, group, labels)
    return (lowest != highest)[group]


def _dropped(
    part: str = "", rows: LabelledSet | None = None, which: np.ndarray | None = None, why: str = ""
) -> pd.DataFrame:
    """Table of rows left out: part (train or test), name, label, reason."""
    index = [] if rows is None else np.flatnonzero(which)
    return pd.DataFrame(
        {
            "part": [part] * len(index),
            "name": [rows.names[i] for i in index],
            # a type of its own also when empty: joined tables keep whole labels
            "label": np.array([rows.labels[i] for i in index], dtype=np.int64),
            "reason": [why] * len(index),
        }
    )
