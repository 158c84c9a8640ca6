"""Random sequences with a planted motif, and whether a found one reads like it."""

import numpy as np
import pandas as pd

from genomelm_utils.motifs.motif import Motif
from genomelm_utils.sequences.alphabet import decode, reverse_complement

SHARES = (0.3, 0.2, 0.2, 0.3)


def plant(
    rng: np.random.Generator,
    word: str,
    *,
    n: int,
    share: float,
    length: int = 200,
    redrawn: float = 0.0,
) -> tuple[list[str], pd.DataFrame]:
    """n texts, `word` (n: any base) in a share of them on either strand; the truth: index, start,
    end, strand. Each base of a word is redrawn from the background with chance `redrawn`."""
    rows, truth = [], []
    for i in range(n):
        codes = rng.choice(4, length, p=SHARES).astype(np.uint8)
        if rng.random() < share:
            start = int(rng.integers(0, length - len(word) + 1))
            site = codes[start : start + len(word)].copy()
            for j, letter in enumerate(word):
                if letter != "n" and rng.random() >= redrawn:
                    site[j] = "ACGT".index(letter)
            strand = "+-"[int(rng.integers(0, 2))]
            codes[start : start + len(word)] = reverse_complement(site) if strand == "-" else site
            truth.append((i, start, start + len(word), strand))
        rows.append(decode(codes))
    return rows, pd.DataFrame(truth, columns=["index", "start", "end", "strand"])


def reads(motif: Motif, word: str) -> bool:
    """Whether the consensus, on one strand, agrees with the word wherever both name one base."""
    for one in (motif, motif.reverse_complement()):
        text = one.consensus
        for shift in range(-len(text) + 5, len(word) - 4):
            pairs = [
                (letter, word[i + shift])
                for i, letter in enumerate(text)
                if 0 <= i + shift < len(word) and letter in "ACGT" and word[i + shift] != "n"
            ]
            if len(pairs) >= min(5, len(word.replace("n", ""))) and all(a == b for a, b in pairs):
                return True
    return False
