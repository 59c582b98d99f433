"""Suites: what is read, and the sentence for every way a file can be wrong."""

from pathlib import Path

import pytest

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.suite import TaskRow, read_groups, read_suite

SUITES = Path(__file__).parents[2] / "config" / "suites"
HEADER = "task\tkind\tlocation\tmetric\n"


def suite(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "suite.tsv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_keep_order_and_optional_columns(tmp_path: Path) -> None:
    path = suite(
        tmp_path,
        "\ufefftask\tmetric\tkind\tlocation\ttemplates\tfamily\tstyle\n"
        "b\taccuracy\twds\tdeep/b\ta {c}.| the {c} \tpets\tplain\n"
        "\n"
        "a\troc_auc\tfolder\ta\t\t\t\n",
    )
    assert read_suite(path) == [
        TaskRow(
            *("b", "wds", "deep/b", "accuracy", ("a {c}.", "the {c}")),
            factors={"family": "pets", "style": "plain"},
        ),
        TaskRow("a", "folder", "a", "roc_auc", factors={"family": "", "style": ""}),
    ]


def test_what_a_copy_should_be_is_no_factor(tmp_path: Path) -> None:
    path = suite(
        tmp_path,
        HEADER[:-1] + "\trepo\trevision\tclasses\ttrain\ttest\tnote\tera\n"
        "a\twds\ta\taccuracy\tme/wds_a\tmain\t3\t40\t20\thalf of it\told\n"
        "b\twds\tb\taccuracy\t\t\t\t\t\t\t\n",
    )
    first, second = read_suite(path)
    assert (first.repo, first.revision, first.note) == ("me/wds_a", "main", "half of it")
    assert (first.classes, first.train, first.test) == (3, 40, 20)
    assert first.factors == {"era": "old"}
    assert second == TaskRow("b", "wds", "b", "accuracy", factors={"era": ""})


def test_how_a_task_is_read(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\nsea lion\n")
    (tmp_path / "coop.py").write_text("TEMPLATES = ['a {}.', 'the {}.']\n")
    path = suite(
        tmp_path,
        HEADER[:-1] + "\ttemplates\tnames\torientation\tgrey_bits\n"
        "a\twds\ta\taccuracy\tcoop.py\tnames.txt\texif\t12\n"
        'b\twds\tb\taccuracy\t["a {}.", "the {class}."]\tcat|dog\t\t\n',
    )
    first, second = read_suite(path)
    assert first.templates == second.templates == ("a {c}.", "the {c}.")
    assert (first.names, second.names) == (("cat", "sea lion"), ("cat", "dog"))
    assert (first.orientation, first.grey_bits) == ("exif", 12)
    assert (second.orientation, second.grey_bits, second.factors) == ("", None, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"suite.tsv is empty"),
        (HEADER, r"suite.tsv has no rows"),
        (HEADER[:-1] + "\tself\n", r"unknown column 'self'.*task, kind.*or a factor"),
        (HEADER[:-1] + "\ttask\n", r"column 'task' occurs twice"),
        ("task\tkind\tlocation\nx\twds\tx\n", r"column 'metric' is missing"),
        (HEADER + "x\twds\tx\n", r"line 2: 3 tab-separated fields: expected 4"),
        (HEADER + "x wds x accuracy\n", r"line 2: 1 tab-separated fields"),
        (HEADER + "X\twds\tx\taccuracy\n", r"line 2: task name 'X' must be made of a-z"),
        (
            HEADER + "scratch\twds\tx\taccuracy\n",
            r"line 2: task name 'scratch' means something else",
        ),
        (HEADER + "x\tzip\tx\taccuracy\n", r"line 2: kind 'zip' .*testbed, wds, folder"),
        (HEADER + "x\twds\tx\tf1\n", r"line 2: metric 'f1' .*accuracy, mean_per_class"),
        (HEADER + "x\twds\t\taccuracy\n", r"line 2: location '' of task x"),
        (HEADER + "x\twds\t/x\taccuracy\n", r"location '/x' of task x must be a relative path"),
        (HEADER + "x\twds\t../x\taccuracy\n", r"location '../x' of task x"),
        (
            HEADER + "x\twds\tx\taccuracy\ny\twds\ty\taccuracy\nx\twds\tz\taccuracy\n",
            r"line 4: task 'x' occurs already in line 2",
        ),
        (
            HEADER[:-1] + "\ttemplates\nx\twds\tx\taccuracy\ta {c}|a photo\n",
            r"line 2: template 'a photo' of task x: expected text with \{c\}",
        ),
        (HEADER[:-1] + "\trepo\nx\twds\tx\taccuracy\twds_x\n", r"repo 'wds_x' of task x: expected"),
        (
            HEADER[:-1] + "\trevision\nx\twds\tx\taccuracy\tmain\n",
            r"line 2: revision 'main' of task x has no repo",
        ),
        (
            HEADER[:-1] + "\torientation\nx\twds\tx\taccuracy\tleft\n",
            r"line 2: orientation 'left' of task x is unknown: expected one of nothing, exif",
        ),
        (
            HEADER[:-1] + "\tgrey_bits\nx\twds\tx\taccuracy\t17\n",
            r"line 2: grey_bits 17 of task x: expected 1 to 16",
        ),
        (
            HEADER[:-1] + "\tnames\nx\twds\tx\taccuracy\tnames.txt\n",
            r"line 2: names 'names.txt': .*names.txt cannot be read",
        ),
        (
            HEADER.replace("\t", ","),
            r"has one column, 'task,kind,.*': expected several, separated by tabs",
        ),
        (HEADER + "x" * 81 + "\twds\tx\taccuracy\n", r"task name 'x*' must be .*, 80 at most"),
        (HEADER[:-1] + "\ttest\nx\twds\tx\taccuracy\t1k\n", r"line 2: test '1k': expected"),
        (HEADER[:-1] + "\ttrain\nx\twds\tx\taccuracy\t0\n", r"line 2: train '0': expected"),
    ],
)
def test_bad_suite_names_file_line_and_value(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_suite(suite(tmp_path, text))
    assert "suite.tsv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_programs_leave_in_a_table(tmp_path: Path) -> None:
    text = HEADER[:-1] + "\tnote\t\t\n" + "a\twds\ta\taccuracy\tone\u2028line\t\t\n\t\t\t\n"
    for encoding in ("utf-8-sig", "utf-16"):  # as spreadsheets save it
        path = tmp_path / "suite.tsv"
        path.write_bytes(text.replace("\n", "\r\n").encode(encoding))
        assert read_suite(path) == [TaskRow("a", "wds", "a", "accuracy", note="one\u2028line")]


def test_unreadable_suite(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.tsv: no such file"):
        read_suite(tmp_path / "none.tsv")
    (tmp_path / "latin.tsv").write_bytes(HEADER.encode() + b"\xff\n")
    with pytest.raises(InputError, match=r"latin\.tsv cannot be read as UTF-8"):
        read_suite(tmp_path / "latin.tsv")
    (tmp_path / "s.xlsx").write_bytes(b"PK\3\4\xff")
    with pytest.raises(InputError, match=r"s\.xlsx cannot be read .*\(it holds a zip archive"):
        read_suite(tmp_path / "s.xlsx")


def test_shipped_suites() -> None:
    real = {row.task: row for row in read_suite(SUITES / "realtasks.tsv")}
    assert len(real) == 20
    assert real["voc_multilabel"].metric == "map_11point"
    assert real["blood_cells"].metric == "mean_per_class"

    elevater = {row.task: row for row in read_suite(SUITES / "elevater.tsv")}
    coop = {row.task: row for row in read_suite(SUITES / "coop.tsv")}
    assert (len(elevater), len(coop)) == (20, 11)
    assert elevater["hateful-memes"].kind == "hateful_memes"
    assert elevater["hateful-memes"].metric == "roc_auc"
    mean_per_class = {name for name, row in elevater.items() if row.metric == "mean_per_class"}
    assert mean_per_class == {
        "caltech-101",
        "fgvc-aircraft-2013b-variants102",
        "oxford-flower-102",
        "oxford-iiit-pets",
    }
    for row in [*elevater.values(), *coop.values()]:
        assert row.location.startswith("wds_") == (row.kind == "wds")
        assert None not in (row.classes, row.train, row.test)
        # Each copy on the hub is named; what is not there says why.
        if row.kind == "wds":
            assert row.repo == f"clip-benchmark/{row.location}"
        else:
            assert row.repo or row.note
    assert {row.kind for row in coop.values()} == {"wds", "coop"}
    assert not set(elevater) & set(coop)  # one may be the other's source_suite
    # The copies that are known to hold another split than the paper's.
    noted = {name for name, row in elevater.items() if row.repo and row.note}
    assert noted == {
        "caltech-101",
        "cifar-100",
        "eurosat_clip",
        "oxford-iiit-pets",
        "resisc45_clip",
    }


def test_names_are_text_letter_by_letter(tmp_path: Path) -> None:
    lines = "".join(f"{n}\twds\tx{n}\taccuracy\n" for n in ("1", "01", "007", "nan", "na"))
    names = [row.task for row in read_suite(suite(tmp_path, HEADER + lines))]
    assert names == ["1", "01", "007", "nan", "na"]


def test_two_names_for_one_location(tmp_path: Path) -> None:
    path = suite(tmp_path, HEADER + "a\twds\tx/y\taccuracy\nb\twds\t./x//y\taccuracy\n")
    with pytest.raises(InputError, match=r"line 3: task 'b' has the location './x//y' of task 'a'"):
        read_suite(path)


def test_groups_are_named_sets_of_the_suites_tasks(tmp_path: Path) -> None:
    path = suite(tmp_path, "group\ttask\nboth\ta\nrest\tc\nboth\tb\n")
    assert read_groups([path], ["a", "b", "c"]).members == {"both": ("a", "b"), "rest": ("c",)}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a\tb", "line 2: group 'a' has a task's name"),
        ("random\tb", "line 2: group name 'random' means something else"),
        ("x\tz", "line 2: 'z' is no task of the suite"),
        ("x\tb\nx\tb", "line 3: task 'b' is in group 'x' twice"),
    ],
)
def test_bad_groups_name_file_line_and_value(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_groups([suite(tmp_path, f"group\ttask\n{line}\n")], ["a", "b"])
