"""Hashes of the code a stage runs: its notebook's cells and what they import, by syntax tree.

Comments, docstrings, blank lines and line numbers never change a hash; a constant does.
"""

import ast
from functools import lru_cache
from pathlib import Path

from genomelm_utils import paths
from genomelm_utils.pipeline.params import has_tag, load_cells
from genomelm_utils.pipeline.receipts import hash_json, hash_text

PACKAGE_PARENT = Path(__file__).resolve().parents[2]
# What notebooks use of this room counts (it decides, for one, how a table is written), but not
# what those modules use of the room in turn: how stages are run is not what they compute.
ENGINE_ROOM = "genomelm_utils.pipeline."


def hash_notebook(path: Path) -> tuple[str, dict[str, str]]:
    """The hash of a notebook's code cells, and module name -> hash of all local code it imports.

    The parameters cell does not count: its values are hashed as parameters. Lines IPython alone
    understands (`%matplotlib inline`, `!ls`) count as text. Imports are found anywhere, also inside
    functions, and followed through the package; names built at run time are not seen.
    """
    cells = [
        cell["source"]
        for cell in load_cells(path)
        if cell["cell_type"] == "code"
        and not has_tag(cell, "parameters")
        and not has_tag(cell, "injected-parameters")
    ]
    dumps, imported = [], set()
    for source in cells:
        tree, magic = _parse_cell(source)
        dumps.append([*magic, _dump(tree)] if tree else [source])
        imported |= _imported_names(tree, "") if tree else set()
    return hash_json(dumps), hash_modules(imported)


def hash_modules(names: set[str]) -> dict[str, str]:
    """Module name -> syntax hash, for the named modules and everything they import, transitively.

    Only modules found beside the notebooks (under the project's root) or in this package count;
    a module's parents (`__init__.py`) count with it.
    """
    found: dict[str, str] = {}
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        for module in _with_parents(name):
            file = _find_module(module)
            if file is None or module in found:
                continue
            stamp = file.stat()
            code_hash, imports = _hash_file(file, module, stamp.st_mtime_ns, stamp.st_size)
            found[module] = code_hash
            waiting |= {name for name in imports if not _is_engine(module, name)}
    return dict(sorted(found.items()))


def _is_engine(importer: str, imported: str) -> bool:
    return importer.startswith(ENGINE_ROOM) and imported.startswith(ENGINE_ROOM)


@lru_cache(maxsize=4096)
def _hash_file(file: Path, module: str, mtime_ns: int, size: int) -> tuple[str, frozenset[str]]:
    """Syntax hash and imported names of one file; time and size make the cache notice edits."""
    text = file.read_text(encoding="utf-8")
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    try:
        tree = ast.parse(text)
    except SyntaxError:  # the stage will fail and say so; until then the text is the code
        return hash_text(text), frozenset()
    _drop_docstring(tree)
    return hash_text(_dump(tree)), frozenset(_imported_names(tree, package))


def _dump(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            _drop_docstring(node)
    return ast.dump(tree, annotate_fields=False)


def _drop_docstring(
    node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
) -> None:
    first = node.body[0] if node.body else None
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        del node.body[0]


def _parse_cell(source: str) -> tuple[ast.Module | None, list[str]]:
    """The syntax tree of a cell and its magic lines; None where it is not Python at all.

    Only lines that Python cannot read are taken for magic: `% 3` may go on with an expression.
    """
    lines, magic = source.splitlines(), []
    while True:
        try:
            return ast.parse("\n".join(lines)), magic
        except SyntaxError as error:
            number = (error.lineno or 0) - 1
            line = lines[number] if 0 <= number < len(lines) else ""
        text = line.lstrip()
        if not text.startswith(("%", "!")) or text.startswith("%%"):
            return None, []
        magic.append(text.rstrip())
        lines[number] = line[: len(line) - len(text)] + "pass"


def _imported_names(tree: ast.Module, package: str) -> set[str]:
    """Dotted names a syntax tree imports; `from a import b` gives both `a` and `a.b`."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node.module or "", node.level, package)
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return names


def _absolute(module: str, level: int, package: str) -> str:
    if not level:
        return module
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], *([module] if module else [])])


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _find_module(name: str) -> Path | None:
    """The file of a module that lies in the project, or None (standard library, site-packages)."""
    for folder in dict.fromkeys((paths.ROOT, PACKAGE_PARENT)):
        stem = folder.joinpath(*name.split("."))
        for file in (stem / "__init__.py", stem.with_name(f"{stem.name}.py")):
            if file.is_file():
                return file
    return None
