"""A prompt in the form that open_clip or transformers takes, with a few lines of code that load it.

The files stand by themselves: a tensor file (safetensors: `class_weights` [C, D] with rows of length 1,
`logit_scale` [], where the method prompts the image tower `visual` [L, n, W], and the class names in its
header) and beside it a module that needs torch and safetensors alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save

from mvlpt_core.backbone.convert import load_open_clip
from mvlpt_core.backbone.named import located_backbone
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import write_atomic
from mvlpt_core.use.backbone import model_name
from mvlpt_core.use.model import PromptModel

TARGETS = ("open_clip", "transformers")
_IMAGES = 10
_TOLERANCE = 1e-4  # of a cosine

_LOADER = '''\
"""{about}"""

import json

import torch
from safetensors import safe_open


def load(file="{file}"):
    """Class names, and class weights [C, D] times the scale of the logits."""
    with safe_open(file, "pt") as tensors:
        weights = tensors.get_tensor("class_weights") * tensors.get_tensor("logit_scale")
        return json.loads(tensors.metadata()["classnames"]), weights


# {usage}
'''

_TOWER = '''

class PromptedTower(torch.nn.Module):
    """open_clip's image tower with prompt tokens: new ones at every layer, or one set at the first."""

    def __init__(self, tower, prompt):
        super().__init__()
        self.tower, self.prompt = tower, torch.nn.Parameter(prompt, requires_grad=False)

    def forward(self, images):
        tower = self.tower
        x = tower._embeds(images)
        own, layers = x.shape[1], tower.transformer.resblocks
        for i, layer in enumerate(layers):
            if i < len(self.prompt):
                tokens = self.prompt[i].to(x).expand(len(x), -1, -1)
                x = torch.cat([x[:, :own], tokens], 1)
            x = layer(x) if tower.transformer.batch_first else layer(x.transpose(0, 1)).transpose(0, 1)
        x = tower.ln_post(x[:, 0])
        return x if tower.proj is None else x @ tower.proj


def prompted(model, file="{file}"):
    """An open_clip model whose `encode_image` sees images through the prompt; `model` itself is changed."""
    with safe_open(file, "pt") as tensors:
        model.visual = PromptedTower(model.visual, tensors.get_tensor("visual"))
    return model
'''

_USAGE = {
    "text": "logits = model.encode_image(images, normalize=True) @ weights.T",
    "tower": "logits = prompted(model).encode_image(images, normalize=True) @ weights.T",
    "transformers": "logits = normalize(model.get_image_features(pixel_values), dim=-1) @ weights.T",
}


def export(model: PromptModel, to: str, out: str | Path) -> list[Path]:
    """Write the prompt for `to` (open_clip, transformers) as `out` (.safetensors) and a module beside it
    (.py).

    For open_clip the module is loaded and its logits on ten images compared with ours. Raises
    `InputError` for a target that is none, for visual and unified prompts to transformers, whose towers
    take no prompts, and where the logits differ.
    """
    out = Path(out)
    if to not in TARGETS:
        raise InputError(f"--to is '{to}': expected one of {', '.join(TARGETS)}")
    if out.suffix != ".safetensors":
        raise InputError(f"--out {out}: expected a name that ends in .safetensors")
    visual = model.vectors.visual
    if visual is not None and to == "transformers":
        raise InputError(
            f"{model.path} holds a {model.method} prompt, which the image tower of transformers does "
            "not take: expected a text prompt, or --to open_clip"
        )
    tensors: dict[str, NDArray[Any]] = {
        "class_weights": model.class_weights(),
        "logit_scale": np.asarray(float(model.backbone.towers.logit_scale), np.float32),
    }
    if visual is not None:
        tensors["visual"] = np.ascontiguousarray(visual[0].float().cpu().numpy())
    header = {
        "classnames": json.dumps(model.classnames),
        "backbone": str(model.header["backbone"]),
        "preprocess": json.dumps(model.header["preprocess"]),
    }
    write_atomic(out, save(tensors, metadata=header))
    code = _code(model, to, out)
    module = out.with_suffix(".py")
    write_atomic(module, code)
    if to == "open_clip":
        _check(model, out, code)
    return [out, module]


def _code(model: PromptModel, to: str, out: Path) -> str:
    about = f"A {model.method} prompt tuned on {model.header['group']}, for {to}."
    tower = model.vectors.visual is not None
    usage = _USAGE["transformers" if to == "transformers" else "tower" if tower else "text"]
    code = _LOADER.rstrip().replace("{about}", about).replace("{usage}", usage)
    head, _, comment = code.rpartition("\n\n\n# ")
    code = head + "\n" + _TOWER * tower + f"\n\n# {comment}\n"
    return code.replace("{file}", out.name)


@torch.no_grad()
def _check(model: PromptModel, out: Path, code: str) -> None:
    """Compare the module's logits on ten images with ours."""
    name, pretrained = model_name(model.header["backbone"])
    theirs, _ = load_open_clip(located_backbone(name), pretrained)
    own: dict[str, Any] = {}
    exec(compile(code, str(out.with_suffix(".py")), "exec"), own)
    load: Callable[[str], tuple[list[str], torch.Tensor]] = own["load"]
    _, weights = load(str(out))
    if "prompted" in own:
        theirs = own["prompted"](theirs, str(out))
    preprocess = model.header["preprocess"]
    side = int(preprocess["size"])
    images = np.random.default_rng(0).integers(0, 256, (_IMAGES, side, side, 3), dtype=np.uint8)
    pixels = torch.from_numpy(images).float() / 255
    pixels = (pixels - torch.tensor(preprocess["mean"])) / torch.tensor(preprocess["std"])
    features: Any = theirs
    found = features.encode_image(pixels.permute(0, 3, 1, 2), normalize=True) @ weights.T
    scale = float(model.backbone.towers.logit_scale)
    apart = float(np.abs(found.numpy() - model.logits(images)).max()) / scale
    if not apart <= _TOLERANCE:
        raise InputError(
            f"{out}: open_clip's cosines with it differ from ours by {apart:.2g}: expected at most "
            f"{_TOLERANCE} (is the prompt open in fp32?)"
        )
