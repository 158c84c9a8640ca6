"""Clusters of similar sequences: by MMseqs2 or CD-HIT-EST when installed, else by our own search.

A cluster is a representative and what is at least `identity` alike to it over at least `coverage`
of both. Whatever the engine, equal sequences and reverse complements of each other always end up in
one cluster, so that a split by cluster never parts them.

Shape suffixes: S sequences, U distinct sequences (either strand).
"""

import logging
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.sequences.alphabet import decode, reverse_complement

logger = logging.getLogger(__name__)

AUTO = "auto"
# The programs in order of preference (the first is the paper's), then our own.
PROGRAMS = {"mmseqs": "mmseqs", "cd-hit-est": "cd-hit-est"}
BUILTIN = "builtin"
ENGINES = (*PROGRAMS, BUILTIN)
IDENTITY, COVERAGE = 0.8, 0.8  # Source: released `05-cluster-maize_seq.sh`; MMseqs2's default
# Word length that CD-HIT-EST needs from this identity on. Source: CD-HIT user's guide.
_CD_HIT_WORDS = ((0.95, 10), (0.90, 8), (0.88, 7), (0.85, 6), (0.80, 5), (0.75, 4))


@dataclass(frozen=True)
class Clusters:
    """What was found. representative_S: int64[S], the row of the representative of every sequence
    (its own for a representative). engine: the program and its version. reason: why this one, and
    what was added to its answer."""

    names: tuple[str, ...]
    representative_S: np.ndarray
    engine: str
    reason: str

    @property
    def numbers(self) -> np.ndarray:
        """A cluster number per sequence, int64[S], by first appearance."""
        return pd.factorize(self.representative_S)[0].astype(np.int64)

    @property
    def n_clusters(self) -> int:
        """How many clusters there are."""
        return len(np.unique(self.representative_S))


def choose_engine(engine: str = AUTO) -> tuple[str, str]:
    """(engine, why). Raises ValueError for an unknown engine, FileNotFoundError for one that is not
    installed."""
    if engine == AUTO:
        for name, program in PROGRAMS.items():
            if shutil.which(program):
                return name, f"{program} is installed"
        return BUILTIN, f"neither {' nor '.join(PROGRAMS.values())} is installed"
    if engine not in ENGINES:
        raise ValueError(f"engine is {engine!r}, expected one of {', '.join((AUTO, *ENGINES))}")
    if engine in PROGRAMS and not shutil.which(PROGRAMS[engine]):
        raise FileNotFoundError(
            f"{PROGRAMS[engine]} is not installed; on Debian: apt install mmseqs2 cd-hit; or "
            f"choose engine {BUILTIN!r}"
        )
    return engine, "as asked"


def cluster_sequences(
    names: Sequence[str],
    codes: Sequence[np.ndarray],
    *,
    identity: float = IDENTITY,
    coverage: float = COVERAGE,
    engine: str = AUTO,
    threads: int = 1,
) -> Clusters:
    """Clusters of sequences, both strands taken as one.

    names: unique. codes: base codes uint8, one array per sequence, none empty. identity: 0.75 to 1
    (equal bases over columns of the alignment; CD-HIT-EST: over the shorter sequence). coverage: of
    both sequences, 0 to 1. A sequence that a program leaves out (they have minimal lengths) is a
    cluster of its own; the reason says how many.

    The same input and engine give the same clusters. Raises ValueError for repeated names, empty
    sequences and numbers out of range, what `choose_engine` raises, and RuntimeError when a program
    fails.
    """
    _check(names, codes, identity, coverage)
    engine, reason = choose_engine(engine)
    group_S, first_U = _group_copies(codes)
    distinct = [codes[row] for row in first_U]
    if len(first_U) < len(names):
        reason += f"; {len(names) - len(first_U)} copies joined their first"
    run = {"mmseqs": _run_mmseqs, "cd-hit-est": _run_cd_hit, BUILTIN: _run_builtin}[engine]
    representative_U, version, remark = run(distinct, identity, coverage, threads)
    representative_S = first_U[representative_U[group_S]]
    logger.info("%d clusters by %s (%s)", len(np.unique(representative_S)), engine, reason)
    return Clusters(tuple(names), representative_S, f"{engine} {version}".strip(), reason + remark)


def link_clusters(
    found: Clusters,
    codes: Sequence[np.ndarray],
    *,
    identity: float = IDENTITY,
    coverage: float = COVERAGE,
) -> Clusters:
    """The clusters joined wherever two of their members are similar: no similar pair is parted.

    Clusters alone do not promise that: members are like their representative, and two of them from
    different clusters may be alike too (every program that picks representatives leaves such
    pairs). Chains of similar sequences become one cluster here, which may grow large. The search is
    our own, all against all; codes: of the same sequences, in order.
    """
    from genomelm_utils.sequences.similar import build_index, find_similar

    group_S, first_U = _group_copies(codes)
    distinct = [codes[row] for row in first_U]
    cluster_U = found.representative_S[first_U]
    index = build_index(distinct)
    done_U = np.zeros(len(distinct), dtype=bool)
    pairs = [np.stack([found.representative_S, np.arange(len(codes))], axis=1)]
    pairs.append(np.stack([first_U[group_S], np.arange(len(codes))], axis=1))
    for row in range(len(distinct)):
        done_U[row] = True
        blocked_U = done_U | (cluster_U == cluster_U[row])
        targets, _, _ = find_similar(index, row, blocked_U, identity, coverage)
        pairs.append(np.stack([np.full(len(targets), first_U[row]), first_U[targets]], axis=1))
    representative_S = _join_components(np.concatenate(pairs), len(codes), codes)
    n_joined = found.n_clusters - len(np.unique(representative_S))
    reason = f"{found.reason}; {n_joined} clusters joined others that hold similar sequences"
    return Clusters(found.names, representative_S, found.engine, reason)


def write_clusters(clusters: Clusters, path: str | Path) -> None:
    """One line per sequence, representative TAB member, without header (the format of MMseqs2).

    Clusters follow each other by first appearance; the representative is its own first member.
    """
    rows = np.arange(len(clusters.names))
    is_other = clusters.representative_S != rows
    order = np.lexsort((rows, is_other, clusters.numbers))
    names = np.array(clusters.names, dtype=object)
    left, right = names[clusters.representative_S[order]], names[order]
    text = "".join(f"{a}\t{b}\n" for a, b in zip(left, right, strict=True))
    Path(path).write_text(text, encoding="utf-8")


def read_clusters(path: str | Path) -> Clusters:
    """The clusters of a file with representative TAB member per line, as MMseqs2 writes it.

    Sequences are in the order of the file's second column; a line that repeats another (some
    programs list the representative twice) is read once. Raises FileNotFoundError, or ValueError
    naming file and line for other than two columns, a member of two clusters, and a representative
    that is no member of its own cluster.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected clusters (representative, member)")
    representative_of: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split("\t")
        if len(fields) != 2:
            raise ValueError(f"{path}, line {number}: {len(fields)} columns, expected 2 with a tab")
        representative, member = fields
        if representative_of.setdefault(member, representative) != representative:
            raise ValueError(
                f"{path}, line {number}: {member!r} is in the clusters of {representative!r} and "
                f"{representative_of[member]!r}"
            )
    row_of = {name: row for row, name in enumerate(representative_of)}
    for member, representative in representative_of.items():
        if representative_of.get(representative) != representative:
            raise ValueError(
                f"{path}: {representative!r} represents {member!r} but is not in its own cluster"
            )
    rows = np.array([row_of[name] for name in representative_of.values()], dtype=np.int64)
    return Clusters(tuple(row_of), rows, f"file {path.name}", "read")


# --- the engines: distinct sequences in; representative int64[U], version, remark out ------------


def _run_builtin(codes, identity: float, coverage: float, threads: int):
    """Longest first, see `similar.cluster_greedily`; one thread."""
    from genomelm_utils.sequences.similar import build_index, cluster_greedily

    order = np.argsort([-len(one) for one in codes], kind="stable")
    found = cluster_greedily(build_index(list(codes)), order, identity, coverage)
    return found, "", ""


def _run_mmseqs(codes, identity: float, coverage: float, threads: int):
    """MMseqs2 does not compare strands when it clusters nucleotides (tried: a sequence and its
    reverse complement stay apart), so it gets both strands of every sequence, and clusters that
    share a sequence are joined."""
    n = len(codes)
    with tempfile.TemporaryDirectory() as folder:
        fasta, out = Path(folder, "in.fa"), Path(folder, "out")
        _write_numbered([*codes, *[reverse_complement(one) for one in codes]], fasta)
        command = [
            *("mmseqs", "easy-cluster", str(fasta), str(out), str(Path(folder, "tmp"))),
            *("--min-seq-id", str(identity), "-c", str(coverage), "--cov-mode", "0"),
            *("--threads", str(threads), "-v", "1"),
        ]
        _call(command)
        pairs = np.loadtxt(f"{out}_cluster.tsv", dtype=np.int64, ndmin=2)
    version = _call(["mmseqs", "version"]).strip()
    seen = len(np.unique(pairs[:, 1] % n))
    representative = _join_components(pairs % n, n, codes)
    return representative, version, _unseen(n - seen)


def _run_cd_hit(codes, identity: float, coverage: float, threads: int):
    words = [n for bound, n in _CD_HIT_WORDS if identity >= bound]
    if not words:
        raise ValueError(f"identity is {identity}, CD-HIT-EST needs 0.75 or more")
    with tempfile.TemporaryDirectory() as folder:
        fasta, out = Path(folder, "in.fa"), Path(folder, "out")
        _write_numbered(codes, fasta)
        command = [
            *("cd-hit-est", "-i", str(fasta), "-o", str(out), "-c", str(identity)),
            *("-n", str(words[0]), "-r", "1", "-aL", str(coverage), "-aS", str(coverage)),
            *("-d", "0", "-M", "0", "-T", str(threads)),
        ]
        printed = _call(command)
        pairs = np.array(_parse_cd_hit(Path(f"{out}.clstr")), dtype=np.int64).reshape(-1, 2)
    representative = np.arange(len(codes))
    representative[pairs[:, 1]] = pairs[:, 0]
    version = printed.partition("Program: CD-HIT, V")[2].partition(" ")[0]
    return representative, version, _unseen(len(codes) - len(pairs))


def _parse_cd_hit(path: Path) -> list[tuple[int, int]]:
    """(representative, member) of a .clstr file; the representative's line ends in `*`."""
    pairs, members, head = [], [], -1
    for line in [*path.read_text().splitlines(), ">end"]:
        if line.startswith(">"):
            pairs += [(head, member) for member in members]
            members, head = [], -1
            continue
        number = int(line.partition(">")[2].partition("...")[0])
        members.append(number)
        if line.endswith("*"):
            head = number
    return pairs


# --- helpers -------------------------------------------------------------------------------


def _check(names, codes, identity: float, coverage: float) -> None:
    if len(names) != len(codes) or not len(names):
        raise ValueError(f"{len(names)} names for {len(codes)} sequences, expected one each")
    doubled = pd.Series(names).loc[lambda s: s.duplicated()]
    if len(doubled):
        raise ValueError(f"name {doubled.iloc[0]!r} stands twice; names must be unique")
    empty = [name for name, one in zip(names, codes, strict=True) if not len(one)]
    if empty:
        raise ValueError(f"{len(empty)} sequences are empty, such as {empty[0]!r}; drop them first")
    if not 0.75 <= identity <= 1 or not 0 < coverage <= 1:
        raise ValueError(
            f"identity {identity}, coverage {coverage}: expected 0.75 to 1, and above 0 to 1"
        )


def _group_copies(codes) -> tuple[np.ndarray, np.ndarray]:
    """(group int64[S] of equal sequences on either strand, first row int64[U] of every group)."""
    keys = [min(one.tobytes(), reverse_complement(one).tobytes()) for one in codes]
    group_S = pd.factorize(np.array(keys, dtype=object))[0].astype(np.int64)
    return group_S, np.unique(group_S, return_index=True)[1].astype(np.int64)


def _join_components(pairs: np.ndarray, n: int, codes) -> np.ndarray:
    """The representative of every node: of its connected component the longest one, the first of
    equals."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    component = connected_components(graph, directed=False)[1]
    order = np.argsort([-len(one) for one in codes], kind="stable")
    first = np.unique(component[order], return_index=True)[1]
    return order[first][component]


def _write_numbered(codes, path: Path) -> None:
    path.write_text("".join(f">{i}\n{decode(one)}\n" for i, one in enumerate(codes)))


def _unseen(n: int) -> str:
    return f"; {n} sequences too short for it are clusters of their own" if n else ""


def _call(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = (done.stdout + done.stderr).strip().splitlines()[-3:]
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {' | '.join(tail)}")
    return done.stdout
