"""One door to motif discovery: the same call and the same result from every engine."""

import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from genomelm_utils.motifs import rgadem
from genomelm_utils.motifs.motif import Discovery, Motif
from genomelm_utils.motifs.parameters import make_parameters
from genomelm_utils.motifs.records import Sequences, collect

logger = logging.getLogger(__name__)

ENGINES = ("gadem", "rgadem")
MAX_MOTIFS = 1000


def discover(
    sequences: Sequences,
    engine: str = "gadem",
    n_motifs: int = 25,
    seed: int = 1,
    *,
    start_motifs: Sequence[Motif] = (),
    threads: int | None = None,
    **parameters: Any,
) -> Discovery:
    """Motifs that the sequences share, with their sites, in the order in which they were found.

    engine: `gadem` (ours, no R) or `rgadem` (Bioconductor's, through rpy2). Both take the same
    parameters, rGADEM's in the house's spelling, and rGADEM's defaults, see
    `motifs.parameters.Parameters`. The same input, engine, seed and parameters give the same
    result, on any number of threads.

    Args:
        sequences: a FASTA or FASTQ file, `Records`, a mapping of names to sequences, or a list;
            texts or base codes. What cannot hold a motif is left out and named in `skipped`.
        n_motifs: the most motifs looked for; both engines stop earlier when nothing is left.
        start_motifs: matrices to begin with (rGADEM's seeded analysis).
        threads: cores to use, by default OMP_NUM_THREADS or all that the process may use; rGADEM
            reads OMP_NUM_THREADS itself.

    Raises: ValueError for fewer than three usable sequences, an unknown engine or parameter, or a
        value out of range; `rgadem.MissingR` where R, rpy2 or rGADEM is missing (`choose_engine`
        tells beforehand).
    """
    if engine not in ENGINES:
        raise ValueError(f"engine is {engine!r}, expected one of {', '.join(ENGINES)}")
    if not 1 <= n_motifs <= MAX_MOTIFS:
        raise ValueError(f"n_motifs is {n_motifs}, expected 1 to {MAX_MOTIFS}")
    settings = make_parameters(parameters)
    data = collect(sequences)
    used = {"n_motifs": n_motifs, "seed": seed, **vars(settings)}
    if start_motifs:
        used["start_motifs"] = [motif.name for motif in start_motifs]
    options = {"n_motifs": n_motifs, "seed": seed, "parameters": settings}
    if engine == "rgadem":
        motifs, notes = rgadem.search(data, start_motifs=start_motifs, **options)
        name = f"rGADEM {rgadem.package_version('rGADEM')}"
        definite = data.codes[data.codes < 4]
        shares = np.bincount(definite, minlength=4) / len(definite)
    else:
        from genomelm_utils.motifs import gadem  # needs numba

        threads = count_threads() if threads is None else threads
        motifs, background, notes = gadem.search(
            data, start_motifs=start_motifs, threads=threads, **options
        )
        name, shares = "gadem, native", background.shares
    return Discovery(motifs, name, used, data.names, data.skipped, tuple(map(float, shares)), notes)


def choose_engine(wanted: str) -> tuple[str, str]:
    """(engine, why): the one wanted, or `gadem` where R or rGADEM is missing, with the reason.

    The reason is a sentence that names the command that brings what is missing; empty when nothing
    had to be chosen.
    """
    if wanted not in ENGINES:
        raise ValueError(f"engine is {wanted!r}, expected one of {', '.join(ENGINES)}")
    if wanted == "rgadem":
        try:
            rgadem.check_rgadem()
        except rgadem.MissingR as error:
            why = f"The native engine stands in for rGADEM: {error}."
            logger.warning(why)
            return "gadem", why
    return wanted, ""


def count_threads() -> int:
    """OMP_NUM_THREADS where it is set, otherwise the cores that this process may use."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
