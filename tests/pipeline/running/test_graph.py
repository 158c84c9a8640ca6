"""The graph of runs, and the truth table of staleness: which change makes what stale, and why."""

import html
import os

import pytest

from genomelm_utils.datasets import registry
from genomelm_utils.pipeline import cli, engine
from genomelm_utils.pipeline.graph import build_graph, explain_change, plan
from genomelm_utils.pipeline.receipts import (
    Identity,
    Receipt,
    collect_outputs,
    read_receipt,
    write_receipt,
)
from genomelm_utils.pipeline.report import build_report
from genomelm_utils.pipeline.survey import survey_runs
from genomelm_utils.pipeline.work import lock_run


def pretend(project, **options) -> None:
    """Give every run a result and a receipt, as if it had just been executed."""
    for node in build_graph("demo", **options).nodes.values():
        folder = project.folder(node.id)
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        (folder / "tables" / "x.csv").write_text(f"x\n{node.key}\n")
        parents = {
            name: read_receipt(project.folder(name)).results_sha256 for name in node.parent_ids
        }
        identity = node.identity
        receipt = Receipt(
            profile="demo",
            stage=node.stage,
            run=node.run,
            key=node.key,
            params=identity.params,
            notebook=identity.notebook,
            modules=identity.modules,
            inputs=identity.inputs,
            parents=identity.parents,
            parents_by_param={name: list(ids) for name, ids in node.parents.items()},
            parent_results=parents,
            outputs=collect_outputs(folder),
            overrides=list(options.get("overrides", [])),
        )
        write_receipt(folder, receipt)


ALL = {"01_data/default", "02_train/0.1", "02_train/0.5"}


def test_nothing_has_run(chain):
    rows = chain.plan()
    assert list(rows) == ["01_data/default", "02_train/0.1", "02_train/0.5"]
    assert {row.reason for row in rows.values()} == {"no receipt"}


def test_everything_is_up_to_date(chain):
    pretend(chain)
    assert chain.reasons() == {}
    assert {row.reason for row in chain.plan().values()} == {"up to date"}


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def change(chain, what):
    """Make one change to the project."""
    notebook = chain.root / "notebooks" / "02_train.ipynb"
    match what:
        case "parameter":
            chain.params(
                "profile: {seed: 7}\n01_data: {n: 4}\n02_train: {matrix: {share: [0.1, 0.5]}}"
            )
        case "child parameter":
            edit(
                chain.root / "params/demo.yaml",
                "02_train:",
                "02_train:\n  common: {table: default}",
            )
            edit(notebook, 'default\\"  # table', 'default\\"  # the table')
        case "default used":
            edit(chain.root / "notebooks" / "01_data.ipynb", "n: int = 3", "n: int = 5")
        case "notebook code":
            edit(notebook, "scale(x, share)", "scale(x, share + 0)")
        case "notebook comment":
            edit(notebook, "import toy.helper as helper", "import toy.helper as helper  # why")
        case "notebook text":
            edit(notebook, "# Stage 02_train", "# Title")
        case "docstring":
            edit(chain.root / "toy/helper.py", "Scale.", "Scale a table.")
        case "comment":
            edit(chain.root / "toy/deep.py", "FACTOR = 2", "# two\nFACTOR = 2")
        case "constant":
            edit(chain.root / "toy/helper.py", "* share", "* share * 1")
        case "constant of a late import":
            edit(chain.root / "toy/deep.py", "2", "3")
        case "output missing":
            (chain.folder("02_train/0.1") / "tables/x.csv").unlink()
        case "parent's output missing":
            (chain.folder("01_data/default") / "tables/x.csv").unlink()
        case "receipt gone":
            (chain.folder("02_train/0.5") / "receipt.json").unlink()
        case "receipt damaged":
            (chain.folder("02_train/0.5") / "receipt.json").write_text("{")
        case "resources":
            edit(
                chain.root / "params/demo.yaml", "02_train:", "02_train:\n  resources: {threads: 2}"
            )


CHILDREN = {"02_train/0.1": "parent (01_data/default)", "02_train/0.5": "parent (01_data/default)"}
BOTH = ("02_train/0.1", "02_train/0.5")


@pytest.mark.parametrize(
    ("what", "reasons"),
    [
        ("parameter", {"01_data/default": "parameters (n: 3 -> 4)", **CHILDREN}),
        ("default used", {"01_data/default": "parameters (n: 3 -> 5)", **CHILDREN}),
        ("child parameter", {}),
        ("notebook code", dict.fromkeys(BOTH, "notebook code")),
        ("notebook comment", {}),
        ("notebook text", {}),
        ("docstring", {}),
        ("comment", {}),
        ("constant", dict.fromkeys(BOTH, "package code (toy.helper)")),
        ("constant of a late import", dict.fromkeys(BOTH, "package code (toy.deep)")),
        ("output missing", {"02_train/0.1": "outputs missing (tables/x.csv)"}),
        (
            "parent's output missing",
            {"01_data/default": "outputs missing (tables/x.csv)", **CHILDREN},
        ),
        ("receipt gone", {"02_train/0.5": "no receipt"}),
        ("resources", {}),
    ],
)
def test_staleness(chain, what, reasons):
    pretend(chain)
    change(chain, what)
    assert chain.reasons() == reasons


@pytest.mark.parametrize("look", ["plan", "survey", "list"])
def test_results_left_between_two_renames_are_put_back_by_who_looks(chain, look, capsys):
    """A kill came after the earlier run was put aside, before the new one took its place."""
    pretend(chain)
    folder = chain.folder("02_train/0.1")
    folder.rename(folder.with_name("0.1.old"))
    with lock_run(folder):  # a process is about to do the second rename
        assert chain.reasons() == {"02_train/0.1": "no receipt"}
    assert not folder.exists()
    if look == "plan":
        assert chain.reasons() == {}
    elif look == "survey":
        assert {view.status for view in survey_runs("demo").runs} == {"done"}
    else:
        assert cli.main(["list"]) == cli.OK
        assert "no receipt" not in capsys.readouterr().out
    assert (folder / "receipt.json").is_file()
    assert not folder.with_name("0.1.old").exists()


def test_a_lost_file_outside_tables_and_figures_is_noticed(chain):
    store = chain.module("data/runs/demo/01_data/default/store/codes.npy", "ACGT")
    pretend(chain)
    assert chain.reasons() == {}
    store.unlink()
    assert chain.reasons()["01_data/default"] == "outputs missing (store/codes.npy)"


def test_runs_made_with_set_say_so_afterwards(chain):
    pretend(chain, overrides=["02/0.5.share=0.7"])
    assert chain.reasons(overrides=["02/0.5.share=0.7"]) == {}
    told = "parameters differ from params/demo.yaml (run with --set; share: 0.7 -> 0.5)"
    assert chain.reasons() == {"02_train/0.5": told}
    (stale,) = [view for view in survey_runs("demo").runs if view.status == "stale"]
    assert stale.reason == told
    index = build_report("demo")
    assert told in html.unescape(index.read_text())
    page = index.parent / "runs" / "02_train" / "0.5" / "index.html"
    assert told in html.unescape(page.read_text())
    change(chain, "parameter")  # another value, in the file
    assert chain.reasons()["01_data/default"] == "parameters (n: 3 -> 4)"


def test_damaged_receipt_is_named(chain):
    pretend(chain)
    change(chain, "receipt damaged")
    assert chain.reasons()["02_train/0.5"].startswith("damaged receipt")


def test_input_file(project):
    project.notebook("01_data", 'genome: str = ""  # FASTA; data')
    project.params("01_data: {genome: mine.fa}")
    path = project.root / "mine.fa"
    path.write_text(">a\nACGT\n")
    pretend(project)
    assert project.reasons() == {}
    os.utime(path, (1, 1))
    assert project.reasons() == {}
    path.write_text(">a\nACGA\n")
    assert project.reasons() == {"01_data/default": "input (mine.fa)"}


def test_registry_file_and_folder(project, monkeypatch, tmp_path):
    project.notebook("01_data", 'sets: list[str] = ["set", "one.fa"]  # files; data')
    project.params("01_data:")
    header = "\t".join(registry.COLUMNS)
    rows = [
        f"{name}\t{digit * 64}\t1\thttps://x.test/{name}\tCC0\tcopy\ts\tw"
        for name, digit in (
            ("set/a.tsv", "a"),
            ("set/b.tsv", "b"),
            ("one.fa", "c"),
            ("other.fa", "d"),
        )
    ]
    project.module("data/registry.tsv", "\n".join([header, *rows]) + "\n")
    registry._parse_registry.cache_clear()
    graph = build_graph("demo")
    inputs = graph.nodes["01_data/default"].identity.inputs
    assert inputs == {"set/a.tsv": "a" * 64, "set/b.tsv": "b" * 64, "one.fa": "c" * 64}

    tried = []

    def offline(name, **_):
        tried.append(name)
        raise FileNotFoundError("the download failed\nand so on")

    monkeypatch.setattr("genomelm_utils.pipeline.inputs.fetch_file", offline)
    with pytest.raises(FileNotFoundError, match="3 missing, 0 damaged; nothing was") as caught:
        engine.check_inputs(graph, plan(graph))
    lines = str(caught.value).splitlines()
    assert "  set/b.tsv (for 01_data) from https://x.test/set/b.tsv" in lines
    assert lines[-1] == "the download failed"
    assert tried == ["set/a.tsv"]
    registry._parse_registry.cache_clear()


@pytest.fixture
def lacking(project):
    """01_data runs a, b and c, of which a and b want files that are not there; 02_use reads a."""
    project.notebook("01_data", 'genome: str = ""  # FASTA; data')
    project.notebook("02_use", 'data: str = "a"  # records; run of 01_data')
    project.params(
        "01_data: {runs: {a: {genome: no.fa}, b: {genome: nor.fa}, c: {genome: ''}}}\n02_use:"
    )
    return project


def test_missing_input_files_stop_only_what_needs_them(lacking):
    rows = {name: (row.action, row.reason) for name, row in lacking.plan().items()}
    assert rows == {
        "01_data/a": ("cannot run", "input missing (no.fa)"),
        "01_data/b": ("cannot run", "input missing (nor.fa)"),
        "01_data/c": ("run", "no receipt"),
        "02_use/default": ("cannot run", "reads 01_data/a, which cannot run"),
    }
    assert lacking.plan(only=["01/c"])["01_data/a"].action == "not selected"


def test_a_result_whose_input_file_is_gone_is_not_up_to_date(lacking):
    for name in ("no.fa", "nor.fa"):
        lacking.module(name, ">a\nACGT\n")
    pretend(lacking)
    assert {row.action for row in lacking.plan().values()} == {"skip"}
    (lacking.root / "no.fa").unlink()
    assert {name: row.action for name, row in lacking.plan().items()} == {
        "01_data/a": "cannot run",
        "01_data/b": "skip",
        "01_data/c": "skip",
        "02_use/default": "cannot run",
    }


def test_a_run_that_lacks_input_files_is_refused_with_all_their_names(lacking):
    graph = build_graph("demo")
    with pytest.raises(FileNotFoundError) as caught:
        engine.check_inputs(graph, plan(graph))
    assert "01_data/a.genome is 'no.fa', expected a name in data/registry.tsv" in str(caught.value)
    assert "01_data/b.genome is 'nor.fa'" in str(caught.value)
    graph = build_graph("demo", only=["01/c"])
    engine.check_inputs(graph, plan(graph))


def test_results_of_a_parent_that_was_rerun_alone_count(chain):
    pretend(chain)
    folder = chain.folder("01_data/default")
    (folder / "tables/x.csv").write_text("x\nanother result\n")
    receipt = read_receipt(folder)
    changed = Receipt(**{**receipt.__dict__, "outputs": collect_outputs(folder)})
    write_receipt(folder, changed)
    assert chain.reasons() == CHILDREN


def test_several_reasons_the_first_in_order_is_told():
    old = Identity({"a": 1, "b": 2}, "n", {"m": "1"}, {"i": "1"}, {"p": "1"})
    new = Identity({"a": 3, "c": 4}, "x", {"m": "2"}, {"i": "2"}, {"p": "2"})
    assert explain_change(old, new) == "parameters (a: 1 -> 3, c: unset -> 4, b: 2 -> unset)"
    same = old.params
    assert explain_change(old, Identity(same, "x", {}, {}, {})) == "notebook code"
    assert explain_change(old, Identity(same, "n", {}, {"i": "2"}, {})) == "package code (m)"
    assert explain_change(old, Identity(same, "n", {"m": "1"}, {"j": "1"}, {})) == "input (j, i)"
    assert explain_change(old, Identity(same, "n", {"m": "1"}, {"i": "1"}, {})) == "parent (p)"
    assert explain_change(old, old) == ""


def test_selection(chain):
    def actions(**options):
        return {n for n, row in chain.plan(**options).items() if row.action == "run"}

    assert actions(until="data") == {"01_data/default"}
    assert actions(from_stage="01") == ALL
    assert actions(until="02/0.1") == {"01_data/default", "02_train/0.1"}
    pretend(chain)
    assert actions(only=["train"], force=True) == {"02_train/0.1", "02_train/0.5"}
    assert actions(only=["02/0.5"], force=True) == {"02_train/0.5"}
    assert actions(force=True) == ALL
    assert chain.plan(only=["02/0.5"], force=True)["02_train/0.1"].action == "not selected"
    with pytest.raises(ValueError, match="select no stage"):
        chain.plan(from_stage="02", until="01")
    with pytest.raises(ValueError, match=r"--only trian: trian is not a stage.*did you mean train"):
        chain.plan(only=["trian"])


def test_only_needs_parents_that_are_up_to_date(chain):
    sentence = (
        r"02_train/0.1 reads 01_data, which is not up to date \(no receipt\); "
        r"run first: python run_all.py run --profile demo --until 01_data"
    )
    with pytest.raises(ValueError, match=sentence):
        chain.plan(only=["train"])


def test_parents_by_name_pattern_and_list(project):
    project.notebook("01_models", "n: int = 1  # n")
    project.notebook("02_use", 'models: list[str] = ["*"]  # models; run of 01_models')
    project.params("01_models: {runs: {a1: , a2: , b: }}\n02_use: {models: ['a*', b]}")
    node = build_graph("demo").nodes["02_use/default"]
    assert node.params["models"] == ["a1", "a2", "b"]
    assert node.parents["models"] == ("01_models/a1", "01_models/a2", "01_models/b")
    with pytest.raises(ValueError, match="names the run 'c', expected one of a1, a2, b"):
        build_graph("demo", ["use.models=[c]"])
    project.params("02_use:")
    assert build_graph("demo").nodes["02_use/default"].params["models"] == []
    with pytest.raises(ValueError, match=r"reads 01_models, which is not in params/demo.yaml"):
        build_graph("demo", ["use.models=[a1]"])


def test_circle_is_named(project):
    project.notebook("01_a", 'b: str = "default"  # b; run of 02_b')
    project.notebook("02_b", 'a: str = "default"  # a; run of 01_a')
    project.params("01_a:\n02_b:")
    with pytest.raises(
        ValueError, match=r"in a circle: .*01_a/default -> .*02_b/default|in a circle"
    ):
        build_graph("demo")
