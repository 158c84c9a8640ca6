"""Small sets and genomes for tests of activity tasks."""

import numpy as np

from genomelm_utils.datasets.activity_task import ActivitySet, TaskSpec, make_set


def toy_genome(length: int = 3000, seed: int = 1, chromosomes=("1", "2", "4", "7")):
    """(fetch, base codes by chromosome): ValueError beyond an end, as the real one."""
    rng = np.random.default_rng(seed)
    codes = {f"chr{c}": rng.integers(0, 4, length, dtype=np.uint8) for c in chromosomes}

    def fetch(name: str, start: int, end: int) -> np.ndarray:
        if name not in codes or start < 0 or end > len(codes[name]):
            raise ValueError(f"{name}:{start}-{end} is not in the genome")
        return codes[name][start:end].copy()

    return fetch, codes


def toy_set(
    n: int = 60, *, name: str = "toy", kind: str = "regression", outputs=("a", "b"), seed: int = 0,
    length: int = 40, classes=(), **spec,
) -> ActivitySet:  # fmt: skip
    """Random sequences whose first label is their GC share; 60 % train, 20 % valid, 20 % test."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (n, length), dtype=np.uint8)
    gc_S = ((codes == 1) | (codes == 2)).mean(1)
    labels_ST = np.stack([gc_S * (t + 1) for t in range(len(outputs))], axis=1)
    if kind == "multilabel":
        labels_ST = labels_ST > np.median(labels_ST, axis=0)
    elif classes:
        labels_ST = np.floor(gc_S * len(classes) * 0.999)[:, None].repeat(len(outputs), 1)
    parts = np.array(["train"] * 3 + ["valid"] + ["test"], dtype=object)[np.arange(n) % 5]
    made = TaskSpec(name, kind, tuple(outputs), classes=tuple(classes), **spec)
    return make_set(made, list(codes), labels_ST, part_S=parts)
