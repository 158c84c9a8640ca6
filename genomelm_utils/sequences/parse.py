"""Compiled parsing of FASTA bytes: the one pass behind `fasta.read_fasta`.

A chunk is a range of the file's bytes that starts at a line start. Kept bases are written over the
front of their own chunk (there are never more bases than bytes), so reading needs no second array
as long as the file. The functions release the interpreter lock: chunks run in threads.

Byte classes (`CLASS_TABLE`): 0..14 base code, + LOWER when the letter was lower case; BLANK and
NEWLINE are skipped, WRONG stops the chunk.
"""

import numpy as np
from numba import njit

from genomelm_utils.sequences.alphabet import ENCODE_TABLE, INVALID

LOWER = 32
BLANK = 64
NEWLINE = 65
WRONG = 66
_HEAD = ord(">")
_LINE_FEED = ord("\n")


def _make_class_table() -> np.ndarray:
    table = ENCODE_TABLE.copy()
    table[ord("a") : ord("z") + 1] |= LOWER
    table[INVALID == ENCODE_TABLE] = WRONG
    table[[ord(" "), ord("\t"), ord("\r")]] = BLANK
    table[_LINE_FEED] = NEWLINE
    return table


CLASS_TABLE = _make_class_table()


@njit(cache=True, nogil=True)
def _grow(array):
    larger = np.empty((2 * array.shape[0],) + array.shape[1:], array.dtype)  # noqa: RUF005
    larger[: array.shape[0]] = array
    return larger


@njit(cache=True, nogil=True)
def _copy_name(data, begin, end, names, n_name_bytes):
    """Append the first word of the header line [begin, end) and a line feed to `names`."""
    while begin < end and data[begin] <= 32:
        begin += 1
    while names.shape[0] <= n_name_bytes + end - begin:
        names = _grow(names)
    while begin < end and data[begin] > 32:
        names[n_name_bytes] = data[begin]
        n_name_bytes += 1
        begin += 1
    names[n_name_bytes] = _LINE_FEED
    return names, n_name_bytes + 1


@njit(cache=True, nogil=True)
def compact_chunk(
    data: np.ndarray, begin: int, end: int, table: np.ndarray
) -> tuple[int, bool, np.ndarray, np.ndarray, int]:
    """Turn the chunk data[begin:end] into classes of kept bases at its front, in place.

    Returns (n_kept, has_lower, headers, names, wrong): `headers` int64[h, 2] holds for each header
    line its byte offset and how many bases of the chunk came before it; `names` is the first word
    of each, one per line; `wrong` is the offset of the first byte that is no base, or -1.
    """
    headers = np.empty((16, 2), np.int64)
    names = np.empty(1024, np.uint8)
    n_headers, n_name_bytes = 0, 0
    seen = np.uint8(0)
    read, write = begin, begin
    line_start = True
    while read < end:
        if line_start and data[read] == _HEAD:
            stop = read + 1
            while stop < end and data[stop] != _LINE_FEED:
                stop += 1
            if n_headers == headers.shape[0]:
                headers = _grow(headers)
            headers[n_headers, 0] = read
            headers[n_headers, 1] = write - begin
            n_headers += 1
            names, n_name_bytes = _copy_name(data, read + 1, stop, names, n_name_bytes)
            read = stop + 1
            continue
        line_start = False
        # The hot loop: one line. Bytes behind `write` may already be overwritten, so a line start
        # is remembered and never looked up.
        while read < end:
            kind = table[data[read]]
            if kind >= BLANK:
                break
            data[write] = kind
            seen |= kind
            write += 1
            read += 1
        if read < end:
            if kind == WRONG:
                return write - begin, False, headers[:n_headers], names[:n_name_bytes], read
            line_start = kind == NEWLINE
            read += 1
    return write - begin, (seen & LOWER) != 0, headers[:n_headers], names[:n_name_bytes], -1


@njit(cache=True, nogil=True)
def take_case(data: np.ndarray, begin: int, end: int) -> np.ndarray:
    """Clear the LOWER bits of data[begin:end]; returns int64[c], where the case changes.

    Offsets count from `begin`, the text before it is taken as upper case, and a chunk that ends in
    lower case closes at its end: the offsets always pair up to half-open intervals.
    """
    changes = np.empty(64, np.int64)
    n_changes = 0
    at, lower = begin, np.uint8(0)
    while True:
        while at < end and (data[at] & np.uint8(LOWER)) == lower:
            at += 1
        if at == end and lower == 0:
            break
        if n_changes == changes.shape[0]:
            changes = _grow(changes)
        changes[n_changes] = at - begin
        n_changes += 1
        if at == end:
            break
        lower ^= np.uint8(LOWER)
    for i in range(begin, end):
        data[i] &= np.uint8(LOWER - 1)
    return changes[:n_changes]
