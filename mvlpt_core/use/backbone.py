"""A backbone by its name or folder, converted once and kept."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mvlpt_core.backbone.convert import convert_backbone
from mvlpt_core.backbone.device import cached_backbone
from mvlpt_core.backbone.named import located_backbone
from mvlpt_core.backbone.towers import Backbone
from mvlpt_core.contract.errors import InputError
from mvlpt_core.tasks.prepare import read_preprocess

_BUILT_IN = "local-dir:mvlpt_core/testbed/backbone"
_ABOUT = "backbone.json"


@dataclass(frozen=True)
class OpenBackbone:
    """A converted backbone's folder, and where and how precisely to compute."""

    folder: Path
    device: str = "auto"
    precision: str = "auto"

    @property
    def about(self) -> Path:
        """Its description (backbone.json)."""
        return self.folder / _ABOUT

    @property
    def towers(self) -> Backbone:
        """Its towers on the device, read at the first use."""
        return cached_backbone(self.folder, self.device, self.precision)

    @property
    def preprocess(self) -> dict[str, Any]:
        """How images are brought to its size."""
        return read_preprocess(self.about)


def open_backbone(
    name: str | Path,
    pretrained: str = "",
    *,
    folder: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> OpenBackbone:
    """Open a backbone: the folder of a converted one (a study's results/<study>/backbone), `testbed`
    (the small built-in one), or open_clip's name with its `pretrained` tag, `hf-hub:org/model` or
    `local-dir:folder`.

    The last are converted into `folder`, by default one below the user's cache ($XDG_CACHE_HOME), where the
    next call finds them. Raises `InputError` for what cannot be loaded or is no ViT CLIP.
    """
    name = str(name)
    if (Path(name) / _ABOUT).is_file():
        return OpenBackbone(Path(name), device, precision)
    if Path(name).is_dir():
        raise InputError(f"{name} has no {_ABOUT}: expected the folder of a converted backbone")
    if name == "testbed":
        name = _BUILT_IN
    found = located_backbone(name)
    out = Path(folder) if folder else _kept(found, pretrained)
    if not (out / _ABOUT).is_file():
        convert_backbone(name, pretrained, out, found)
    return OpenBackbone(out, device, precision)


def backbone_of(
    header: dict[str, Any],
    prompt: Path,
    given: str | Path | None,
    device: str = "auto",
    precision: str = "auto",
) -> OpenBackbone:
    """The backbone that a prompt file with this `header` was tuned on: the one `given`, else that of the
    study whose folder holds the file, else the one of its name.

    Raises `InputError` for one with other weights.
    """
    options = {"device": device, "precision": precision}
    if given is not None:
        found = open_backbone(given, **options)
    else:
        above = (folder / "backbone" for folder in prompt.resolve().parents)
        near = next((folder for folder in above if (folder / _ABOUT).is_file()), None)
        name, pretrained = model_name(header["backbone"])
        found = (
            open_backbone(near, **options) if near else open_backbone(name, pretrained, **options)
        )
    if found.towers.digest != header["backbone_digest"]:
        raise InputError(
            f"prompt file '{prompt}' was tuned on backbone '{header['backbone']}': {found.folder} "
            "has other weights: expected the folder of that one, converted"
        )
    return found


def model_name(label: str) -> tuple[str, str]:
    """open_clip's name and tag of a backbone, from the label that files carry (ViT-B-16/openai)."""
    if label.startswith(("hf-hub:", "local-dir:")):
        return label, ""
    name, _, pretrained = label.partition("/")
    return name, pretrained


def _kept(found: str, pretrained: str) -> Path:
    """Where a converted model is kept: a folder of its own for each state of a local one."""
    said = [found, pretrained]
    scheme, _, folder = found.partition(":")
    if scheme == "local-dir":
        files = sorted(path for path in Path(folder).glob("open_clip_*") if path.is_file())
        said += [f"{path.resolve()} {path.stat().st_mtime_ns}" for path in files]
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    digest = hashlib.sha256("\0".join(said).encode()).hexdigest()[:12]
    return Path(cache) / "mvlpt" / "backbones" / digest
