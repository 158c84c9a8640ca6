"""How commands end: lines on standard output, or one sentence on standard error and a status.

Nothing that computes is imported here.
"""

import errno
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

OK, FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130
NOTHING_WRITTEN = "nothing was written"


def run_command(
    name: str,
    task: Callable[[], list[str]],
    *,
    packages: str = "genomelm[train]",
    less_memory: str = "give fewer sequences at a time",
    interrupted: str = NOTHING_WRITTEN,
    readers: Sequence[str] = (),
) -> int:
    """Run `task` and print its lines; status 0 well, 1 no space or memory, 2 the request was wrong,
    130 interrupted.

    An error of the user is one sentence on standard error, never a traceback; warnings of the
    package and of libraries are lines there.

    packages: what to install where a package is missing. less_memory: what to do where memory of
    a device ends. interrupted: what is left after Ctrl-C. readers: ends of the names of loggers
    that stay silent, because the command itself counts and names what they left out.
    """
    try:
        with _messages(tuple(readers)):
            lines = task()
    except ValueError as error:
        return _tell_error(name, str(error), USER_ERROR)
    except ImportError as error:
        missing = f"the package {error.name} is missing" if error.name else str(error)
        return _tell_error(name, f"{missing}; install the package {packages!r}", USER_ERROR)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        status = FAILED if error.errno == errno.ENOSPC else USER_ERROR
        return _tell_error(name, f"{where}{error.strerror or error}", status)
    except RuntimeError as error:
        if "out of memory" not in str(error):
            raise
        return _tell_error(name, f"{error}; {less_memory}", FAILED)
    except MemoryError as error:
        what = f" ({error})" if str(error) else ""
        return _tell_error(name, f"out of memory{what}; give fewer sequences at a time", FAILED)
    except KeyboardInterrupt:
        return _tell_error(name, f"interrupted, {interrupted}", INTERRUPTED)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return OK


def _tell_error(name: str, text: str, status: int) -> int:
    sys.stderr.write(f"{name}: {' '.join(text.split())}\n")
    return status


@contextmanager
def _messages(readers: tuple[str, ...]) -> Iterator[None]:
    """Inside, warnings of the package and of libraries are lines on standard error."""
    logger = logging.getLogger("genomelm_utils")
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.addFilter(lambda record: not (readers and record.name.endswith(readers)))
    logger.addHandler(handler)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            yield
        finally:
            logger.removeHandler(handler)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    sys.stderr.write(f"warning: {' '.join(str(message).split())}\n")
