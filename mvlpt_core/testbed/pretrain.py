"""Pretrain the testbed's CLIP on captioned drawings, as an open_clip `local-dir:` folder.

    python -m mvlpt_core.testbed.pretrain --out mvlpt_core/testbed/backbone

A seed fixes data and initial weights; sums still round by processor and number of threads.
A step shows one batch of drawings whose parts are plain or tinted each on its own (one light over
a whole drawing, which is what the tasks show, hardly ever happens), with captions of several forms.
A form mentions a given set of parts. Within a form equal captions are merged, and the loss is
CLIP's symmetric cross-entropy with several images a caption.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import save_file
from torch import Tensor, nn

from mvlpt_core.testbed import TASKS, draw_split
from mvlpt_core.testbed.captions import WORDS, caption_ids
from mvlpt_core.testbed.draw import PALETTE, PARTS, SIZE, TINTS, Scenes, render, sample_scenes

MODEL_CFG: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {
        "image_size": SIZE,
        "layers": 4,
        "width": 64,
        "head_width": 32,
        "patch_size": 8,
    },
    "text_cfg": {"context_length": 48, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 4},
}
PREPROCESS_CFG: dict[str, Any] = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "size": SIZE,
}
TINT_SHARE = 0.5  # of the parts, once it has risen from 0 over the first third of the steps
TINT_STRENGTH = (0.3, 0.5)


def pixels(images: NDArray[np.uint8]) -> Tensor:
    """uint8 [N, S, S, 3] to the model's input, float32 [N, 3, S, S]."""
    x = torch.from_numpy(images).float().div_(255)
    mean, std = torch.tensor(PREPROCESS_CFG["mean"]), torch.tensor(PREPROCESS_CFG["std"])
    return ((x - mean) / std).permute(0, 3, 1, 2).contiguous()


class TextTower:
    """The text tower of `model` over the few words of the captions.

    Gradients for a full table of 49408 tokens would cost more than the rest of a step, so the rows
    in use are trained as a table of their own, and `write_back` puts them in their place.
    """

    def __init__(self, model: open_clip.CLIP) -> None:
        tokenizer = SimpleTokenizer()
        pieces = [tokenizer.encode(word) for word in WORDS]
        if any(len(piece) != 1 for piece in pieces):
            raise ValueError("every caption word must be a single token of open_clip's vocabulary")
        ids = [piece[0] for piece in pieces] + [tokenizer.sot_token_id, tokenizer.eot_token_id]
        self.model = model
        self.tokens = torch.tensor(ids)
        rows = model.token_embedding.weight.detach()[self.tokens]
        self.table = nn.Parameter(rows.clone())  # [len(WORDS) + 2, W]

    def __call__(self, ids: NDArray[np.int64]) -> Tensor:
        """Caption ids [N, L] (-1 fills up) to normalised features [N, D]."""
        model, n = self.model, len(ids)
        words = torch.from_numpy(ids)
        start, end = len(WORDS), len(WORDS) + 1
        # What follows the first end token does not matter: attention is causal.
        rows = torch.full((n, ids.shape[1] + 2), end)
        rows[:, 0] = start
        rows[:, 1:-1] = torch.where(words >= 0, words, end)
        length = rows.shape[1]
        x = F.embedding(rows, self.table) + model.positional_embedding[:length]
        x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
        x = model.ln_final(x[torch.arange(n), (words >= 0).sum(1) + 1])
        return F.normalize(x @ model.text_projection, dim=-1)

    @torch.no_grad()
    def write_back(self) -> None:
        self.model.token_embedding.weight[self.tokens] = self.table


class PartHeads(nn.Module):
    """Linear read-outs of every part's colour and tint, shared by both towers; dropped afterwards.

    Contrast alone sees the background first, and takes long to find small parts and to tie a colour
    word to the part it is said of. The read-outs ask both towers for that from the first step.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sizes = [len(PALETTE), len(TINTS) + 1]
        self.linear = nn.Linear(width, len(PARTS) * sum(self.sizes))

    def forward(
        self, features: Tensor, scenes: Scenes, rows: NDArray[np.int64], parts: Sequence[str]
    ) -> Tensor:
        """Mean cross-entropy for `parts` of scenes `rows` [N], from normalised features [N, D]."""
        index = [PARTS.index(part) for part in parts]
        scaled = features * features.shape[1] ** 0.5
        logits = self.linear(scaled).view(len(features), len(PARTS), -1)[:, index].flatten(0, 1)
        colour, tint = logits.split(self.sizes, dim=1)
        of_colour = torch.from_numpy(scenes.colour[rows][:, index]).flatten()
        of_tint = torch.from_numpy(scenes.tint[rows][:, index]).flatten()
        return F.cross_entropy(colour, of_colour) + F.cross_entropy(tint, of_tint)


def contrastive_loss(image: Tensor, text: Tensor, caption: Tensor, scale: Tensor) -> Tensor:
    """CLIP's loss where image i [N, D] has caption `caption[i]` among distinct captions [M, D]."""
    logits = scale * image @ text.T  # [N, M]
    to_text = F.cross_entropy(logits, caption)
    own = F.one_hot(caption, len(text)).float()
    to_image = -((logits.log_softmax(0) * own).sum(0) / own.sum(0)).mean()
    return (to_text + to_image) / 2


def forms(rng: np.random.Generator, step: int) -> list[tuple[str, ...]]:
    """Sets of parts that this step's captions mention: three single parts, and one random set."""
    single = [(PARTS[(3 * step + k) % len(PARTS)],) for k in range(3)]
    chosen = rng.permutation(len(PARTS))[: rng.integers(2, len(PARTS) + 1)]
    return [*single, tuple(PARTS[i] for i in sorted(chosen))]


def step_losses(
    model: open_clip.CLIP,
    tower: TextTower,
    heads: PartHeads,
    scenes: Scenes,
    rng: np.random.Generator,
    step: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Losses of one batch: contrast, read-outs from images, read-outs from captions."""
    n = len(scenes)
    image = F.normalize(model.encode_image(pixels(render(rng, scenes))), dim=-1)
    scale = model.logit_scale.exp().clamp(max=100)
    contrast, said = [], []
    for parts in forms(rng, step):
        ids = caption_ids(scenes, parts, full_stop=bool(rng.integers(2)))
        if len(parts) > 1:
            ids = ids[: n * 3 // 8]  # long captions are nearly all distinct, and cost the most
        distinct, first, inverse = np.unique(ids, axis=0, return_index=True, return_inverse=True)
        text, caption = tower(distinct), torch.from_numpy(inverse.reshape(-1))
        contrast.append(contrastive_loss(image[: len(ids)], text, caption, scale))
        said.append(heads(text, scenes, first, parts))
    seen = heads(image, scenes, np.arange(n), PARTS)
    return torch.stack(contrast).mean(), seen, torch.stack(said).mean()


def pretrain(steps: int, batch: int, lr: float, seed: int) -> open_clip.CLIP:
    """Train from random weights (AdamW, warm-up, cosine); the model comes in evaluation mode."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = open_clip.CLIP(**MODEL_CFG)
    tower, heads = TextTower(model), PartHeads(MODEL_CFG["embed_dim"])
    model.token_embedding.weight.requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    weights = [tower.table, *heads.parameters(), *trained]
    optimizer = torch.optim.AdamW(weights, lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    warmup = max(1, min(100, steps // 10))
    start = time.perf_counter()
    for step in range(steps):
        cosine = 0.5 + 0.5 * math.cos(math.pi * max(0, step - warmup) / max(1, steps - warmup))
        optimizer.param_groups[0]["lr"] = lr * min(cosine, (step + 1) / warmup)
        share = TINT_SHARE * min(1.0, 3 * step / steps)
        scenes = sample_scenes(rng, batch, tint_share=share, tint_strength=TINT_STRENGTH)
        parts = step_losses(model, tower, heads, scenes, rng, step)
        loss = torch.stack(parts).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0 or step == steps - 1:
            contrast, seen, said = (part.item() for part in parts)
            print(
                f"step {step} contrast {contrast:.3f} seen {seen:.3f} said {said:.3f} "
                f"scale {model.logit_scale.exp().item():.1f} {time.perf_counter() - start:.0f} s",
                flush=True,
            )
    tower.write_back()
    return model.eval()


def save(model: open_clip.CLIP, out: Path) -> None:
    """Write open_clip_config.json and open_clip_model.safetensors (half precision)."""
    out.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": MODEL_CFG, "preprocess_cfg": PREPROCESS_CFG}
    (out / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    state = {key: value.half().contiguous() for key, value in model.state_dict().items()}
    save_file(state, out / "open_clip_model.safetensors", metadata={"format": "pt"})


@torch.no_grad()
def zero_shot(model: open_clip.CLIP, name: str) -> float:
    """Accuracy of the task's templates (mean of normalised text features) on its test split."""
    task = TASKS[name]
    tokenizer = SimpleTokenizer(context_length=model.context_length)
    texts = [template.format(c=word) for word in task.classnames for template in task.templates]
    text = F.normalize(model.encode_text(tokenizer(texts)), dim=-1)
    text = text.reshape(len(task.classnames), len(task.templates), -1).mean(1)  # [C, D]
    images, labels = draw_split(name, "test")
    logits = model.encode_image(pixels(images)) @ F.normalize(text, dim=-1).T
    return float((logits.argmax(1).numpy() == labels).mean())


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Pretrain the testbed's CLIP.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--batch", type=int, default=128, help="drawings a step")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    save(pretrain(args.steps, args.batch, args.lr, args.seed), args.out)
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{args.out}")  # as on disk
    scores = {name: zero_shot(model.eval(), name) for name in TASKS}
    for name, score in scores.items():
        print(f"{name}\t{score:.3f}")
    print(f"mean\t{sum(scores.values()) / len(scores):.3f}")


if __name__ == "__main__":
    main()
