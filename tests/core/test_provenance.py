from pathlib import Path

import pytest

from mvlpt_core.contract.provenance import LENGTH, code_digest, config_digest

FILES = {
    "core/__init__.py": '__version__ = "1"\n',
    "core/tuning.py": "import torch\nfrom core import rates\nfrom .shapes.square import side\n",
    "core/rates.py": "def rate():\n    from core.numbers import one\n    return one\n",
    "core/numbers.py": "one = 1\n",
    "core/shapes/__init__.py": "",
    "core/shapes/square.py": "from ..numbers import one\nside = 2\n",
    "core/plot.py": "from core.tuning import rates\n",
}
BEHIND_TUNING = sorted(set(FILES) - {"core/plot.py"})


def write(folder: Path) -> Path:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("name", BEHIND_TUNING)
def test_code_digest_sees_every_file_behind_a_module(tmp_path: Path, name: str) -> None:
    before = code_digest("core.tuning", root=write(tmp_path))
    assert len(before) == LENGTH
    (tmp_path / name).write_text(FILES[name] + "# changed\n")
    assert code_digest("core.tuning", root=tmp_path) != before
    (tmp_path / name).write_text(FILES[name])
    assert code_digest("core.tuning", root=tmp_path) == before


def test_code_digest_ignores_what_a_module_does_not_import(tmp_path: Path) -> None:
    before = code_digest("core.tuning", root=write(tmp_path))
    (tmp_path / "core/plot.py").write_text("colour = 2\n")
    (tmp_path / "core/other.py").write_text("new = 1\n")
    assert code_digest("core.tuning", root=tmp_path) == before


def test_code_digest_does_not_depend_on_the_place_or_on_repetition(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    here, there = write(tmp_path), write(tmp_path_factory.mktemp("elsewhere"))
    assert code_digest("core.plot", root=here) == code_digest("core.plot", "core.rates", root=there)


def test_code_digest_does_not_take_content_moved_between_files_for_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\ny = 2\n")
    (tmp_path / "b.py").write_text("z = 3\n")
    before = code_digest("a", "b", root=tmp_path)
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_text("y = 2\nz = 3\n")
    assert code_digest("a", "b", root=tmp_path) != before


def test_code_digest_names_a_module_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"core\.gone"):
        code_digest("core.tuning", "core.gone", root=write(tmp_path))


def test_config_digest_ignores_key_order_only() -> None:
    assert config_digest({"a": 1, "b": [1, 2]}) == config_digest({"b": [1, 2], "a": 1})
    assert config_digest({"a": 1, "b": [1, 2]}) != config_digest({"a": 1, "b": [2, 1]})
    assert config_digest({"lr": 0.1}) != config_digest({"lr": 0.2})
    with pytest.raises(ValueError, match="JSON"):
        config_digest({"lr": float("nan")})
