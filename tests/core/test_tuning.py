"""The training loop against a plain loop that tunes one prompt at a time on open_clip's modules."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mvlpt_core.backbone.textlayout import text_layout
from mvlpt_core.backbone.towers import Backbone, build_backbone
from mvlpt_core.contract.methods import METHODS, Method
from mvlpt_core.contract.settings import Tuning
from mvlpt_core.prompts import starts
from mvlpt_core.prompts.modules import Prompt, Towers, UnifiedPrompt, Vectors, make_prompt
from mvlpt_core.screen import first_order
from mvlpt_core.tuning.classifier import Classifier, Pool, losses
from mvlpt_core.tuning.loop import Tuned, tune
from mvlpt_core.tuning.optimizer import Optimizer
from mvlpt_core.tuning.progress import Progress
from mvlpt_core.tuning.schedule import batch_order, schedule
from mvlpt_core.tuning.scoring import Evaluation
from speed.plain import plain_image, plain_text
from support.engine_reference import (
    CONTEXT,
    DOT,
    EOS,
    NAMES,
    SOS,
    pixels,
    plain_lr,
    random_images,
    small_clip,
    small_clip_weights,
)

IMAGES, CLASSES = 11, len(NAMES)
LABELS = torch.arange(IMAGES) % CLASSES
RATE = {"sgd": 0.5, "adamw": 0.02}
BUDGET = {
    "sgd": Tuning(steps=6, batch_size=4, optimizer="sgd", warmup_lr=0.01),
    "adamw": Tuning(steps=6, batch_size=4, optimizer="adamw"),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "text": {"n_ctx": 4},
    "visual": {"n_ctx": 3},
    "unified": {"n_ctx_text": 2, "n_ctx_visual": 3, "width": 64},
}


def settings_of(method: str, **options: Any) -> Method:
    return METHODS[method](**{**SETTINGS[method], **options})


def prompts(settings: Method, seeds: list[int], backbone: Backbone) -> Prompt:
    """One fresh prompt a seed."""
    prompt = make_prompt(settings, Towers.of(backbone), len(seeds))
    for r, seed in enumerate(seeds):
        starts.random(seed)(prompt, r)
    return prompt


def classifier_for(backbone: Backbone, settings: Method) -> Classifier:
    if not settings.text_ctx:
        with torch.no_grad():
            fixed = backbone.text(text_layout(NAMES, sos=SOS, eos=EOS, context_length=CONTEXT))[0]
        return Classifier(backbone, text_features=fixed)
    layout = text_layout(
        NAMES,
        sos=SOS,
        eos=EOS,
        suffix=[DOT],
        n_ctx=settings.text_ctx,
        position=settings.position,  # type: ignore[union-attr]
        context_length=CONTEXT,
    )
    return Classifier(backbone, layout)


def pool_for(method: str, backbone: Backbone, images: Tensor, labels: Tensor) -> Pool:
    return Pool(backbone.image(images)[0] if method == "text" else images, labels)


def no_scores(vectors: Vectors, step: int) -> list[Evaluation]:
    return []


def order_of(budget: Tuning, seed: int) -> Tensor:
    return batch_order(IMAGES, schedule(budget, 1.0, IMAGES), seed)


def run(
    method: str, backbone: Backbone, prompt: Prompt, order: Tensor, budget: Tuning, pool: Pool
) -> Tuned:
    return tune(
        classifier_for(backbone, prompt.settings),
        prompt,
        pool,
        order,
        schedule(budget, RATE[budget.optimizer], IMAGES),
        budget,
        no_scores,
        dropout_seeds=range(prompt.runs),
    )


class PlainCoupler(nn.Module):
    """The coupler of one run, from torch's own modules."""

    def __init__(self, prompt: UnifiedPrompt, run: int) -> None:
        super().__init__()
        w = prompt.settings.width
        self.apart = prompt.settings.coupling == "per_token"
        p = {k: v.detach()[run].clone() for k, v in prompt.coupler.items()}
        self.has = {
            k for k in ("text_in", "text_out", "visual_in", "visual_out") if f"{k}_weight" in p
        }
        self.norm_1, self.norm_2 = nn.LayerNorm(w), nn.LayerNorm(w)
        self.attention = nn.MultiheadAttention(w, 1, batch_first=True)
        self.linears = nn.ModuleDict()
        for name in (*self.has, "fc", "proj"):
            size_out, size_in = p[f"{name}_weight"].shape
            self.linears[name] = nn.Linear(size_in, size_out)
        self.double()
        pairs = [
            (self.norm_1, "ln_1"),
            (self.norm_2, "ln_2"),
            (self.attention.out_proj, "out"),
            *((self.linears[k], k) for k in self.linears),
        ]
        with torch.no_grad():
            for module, name in pairs:
                module.weight.copy_(p[f"{name}_weight"])
                module.bias.copy_(p[f"{name}_bias"])
            self.attention.in_proj_weight.copy_(p["qkv_weight"])
            self.attention.in_proj_bias.copy_(p["qkv_bias"])

    def forward(self, text: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        shape = visual.shape

        def maybe(name: str, x: Tensor) -> Tensor:
            return self.linears[name](x) if name in self.has else x

        x = torch.cat([maybe("text_in", text), maybe("visual_in", visual.flatten(0, 1))])
        x = x[:, None] if self.apart else x[None]  # [T, 1, w]: T sequences of one token
        h = self.norm_1(x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        hidden = self.linears["fc"](self.norm_2(x))
        x = (x + self.linears["proj"](hidden * torch.sigmoid(1.702 * hidden))).flatten(0, 1)
        n = len(text)
        return maybe("text_out", x[:n]), maybe("visual_out", x[n:]).reshape(shape)


def plain_loop(
    model: Any,
    backbone: Backbone,
    method: str,
    prompt: Prompt,
    run: int,
    order: Tensor,
    budget: Tuning,
    images: Tensor,
) -> dict[str, Tensor]:
    """Tune one prompt, encoding both towers at every step; returns its final vectors."""
    values = {
        name: nn.Parameter(value.detach()[run].clone())
        for name, value in prompt.named_parameters()
        if not name.startswith("coupler")
    }
    coupler = PlainCoupler(prompt, run) if isinstance(prompt, UnifiedPrompt) else None
    parameters = [*values.values(), *(coupler.parameters() if coupler else ())]
    optimizer: torch.optim.Optimizer
    if budget.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            parameters, lr=1.0, momentum=budget.momentum, weight_decay=budget.weight_decay
        )
    else:
        optimizer = torch.optim.AdamW(parameters, lr=1.0, weight_decay=budget.weight_decay)

    def vectors() -> tuple[Tensor | None, Tensor | None]:
        if coupler is not None:
            return coupler(values["text"], values["visual"])
        return values.get("text"), values.get("visual")

    for step, index in enumerate(order):
        text, visual = vectors()
        suffix = [] if method == "visual" else [DOT]
        position = getattr(prompt.settings, "position", "middle")
        classes = plain_text(model, NAMES, text, position, suffix)
        features = plain_image(model, pixels(images[index], backbone), visual)
        logits = backbone.logit_scale * features @ classes.T  # exp(scale) was rounded to fp32
        for group in optimizer.param_groups:
            now = plain_lr(
                RATE[budget.optimizer], budget.warmup, budget.warmup_lr, step, budget.steps or 0
            )
            group["lr"] = now
        optimizer.zero_grad()
        F.cross_entropy(logits, LABELS[index]).backward()
        optimizer.step()
    text, visual = vectors()
    return {k: v.detach() for k, v in (("text", text), ("visual", visual)) if v is not None}


@pytest.mark.parametrize("own_order", [False, True], ids=["shared-order", "own-order"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("text", {}),
        ("text", {"position": "end"}),
        ("visual", {}),
        ("visual", {"depth": "shallow"}),
        ("unified", {}),
        ("unified", {"width": 48, "position": "front"}),
        ("unified", {"coupling": "per_token"}),
    ],
)
def test_each_run_gets_the_numbers_it_would_have_got_alone(
    method: str, options: dict[str, Any], optimizer: str, own_order: bool
) -> None:
    model, backbone = small_clip()
    images, budget = random_images(IMAGES), BUDGET[optimizer]
    prompt = prompts(settings_of(method, **options), [3, 1, 2], backbone)
    orders = [order_of(budget, seed if own_order else 0) for seed in range(3)]
    expected = [
        plain_loop(model, backbone, method, prompt, r, orders[r], budget, images) for r in range(3)
    ]
    before = {k: v.detach().clone() for k, v in vars(prompt()).items() if v is not None}
    order = torch.stack(orders) if own_order else orders[0]
    run(method, backbone, prompt, order, budget, pool_for(method, backbone, images, LABELS))
    after = prompt()
    for name, start in before.items():
        found = getattr(after, name)
        assert (found - start).abs().max() > 1e-3  # tuning did something
        for r in range(3):
            torch.testing.assert_close(found[r], expected[r][name], rtol=1e-8, atol=1e-9)


def test_a_diverged_run_leaves_its_neighbours_alone() -> None:
    _, backbone = small_clip()
    images, budget = random_images(IMAGES), BUDGET["adamw"]
    for method in SETTINGS:
        settings = settings_of(method)
        pool, order = pool_for(method, backbone, images, LABELS), order_of(budget, 0)
        alone = prompts(settings, [5], backbone)
        run(method, backbone, alone, order, budget, pool)
        pack = prompts(settings, [4, 5, 6], backbone)
        with torch.no_grad():
            for parameter in pack.parameters():
                parameter[0] = math.nan
        tuned = run(method, backbone, pack, order, budget, pool)
        assert tuned.alive == [False, True, True]
        assert tuned.lasted == [0, 6, 6]
        for name, value in alone.state_of(0).items():
            torch.testing.assert_close(pack.state_of(1)[name], value, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", SETTINGS)
def test_fp16_tunes_each_run_as_fp32_does(method: str) -> None:
    weights, config = small_clip_weights()
    images, budget = random_images(IMAGES), BUDGET["sgd"].model_copy(update={"warmup": 0})
    moved = {}
    for dtype in (torch.float32, torch.float16):
        backbone = build_backbone(weights, config, torch.device("cpu"), dtype)
        pool, order = pool_for(method, backbone, images, LABELS), order_of(budget, 0)
        for seeds in ([5], [4, 5]):
            prompt = prompts(settings_of(method), seeds, backbone)
            before = prompt.state_of(len(seeds) - 1)
            plan = schedule(budget, 0.001, IMAGES)
            tuned = tune(
                classifier_for(backbone, prompt.settings),
                prompt,
                pool,
                order,
                plan,
                budget,
                no_scores,
                dropout_seeds=seeds,
            )
            assert tuned.alive == [True] * len(seeds)
            after = prompt.state_of(len(seeds) - 1)
            moved[dtype, len(seeds)] = torch.cat([(after[k] - before[k]).flatten() for k in after])
    full, half, packed = (
        moved[key] for key in ((torch.float32, 1), (torch.float16, 1), (torch.float16, 2))
    )
    assert full.norm() > 1e-4
    assert F.cosine_similarity(full, half, 0) > 0.999
    assert F.cosine_similarity(half, packed, 0) > 0.999


@pytest.mark.parametrize("method", SETTINGS)
def test_fp16_screens_as_fp32_does(method: str) -> None:
    weights, config = small_clip_weights()
    found = []
    for dtype in (torch.float32, torch.float16):
        backbone = build_backbone(weights, config, torch.device("cpu"), dtype)
        prompt = prompts(settings_of(method), [4, 5], backbone)
        pool = pool_for(method, backbone, random_images(IMAGES), LABELS)
        loss, slopes = first_order(classifier_for(backbone, prompt.settings), prompt, pool, 4)
        found.append((loss, torch.cat([slope.flatten(1) for slope in slopes.values()], 1)))
    (full, gradient), (half, coarse) = found
    torch.testing.assert_close(full, half, rtol=0.01, atol=0.01)
    assert (F.cosine_similarity(gradient, coarse) > 0.999).all()
    torch.testing.assert_close(gradient.norm(dim=1), coarse.norm(dim=1), rtol=0.01, atol=0)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_gradient_that_overflows_passes_its_own_step_alone(kind: str) -> None:
    start, gradients = torch.randn(3, 4), torch.randn(3, 3, 4)  # [R, n], [steps, R, n]

    def tuned(scaled: bool, wrong: list[int]) -> tuple[Tensor, Optimizer]:
        p = nn.Parameter(start.clone())
        optimizer = Optimizer([p], kind, 0.9, 0.1, scaled=scaled)
        for step, g in enumerate(gradients):
            g = g.clone()
            if step in wrong:
                g[1, 2] = math.inf
            optimizer.backward((p * g).sum(1))
            optimizer.step(0.1)
            if step == 0 and wrong == [0]:
                assert torch.equal(p[1], start[1])
        return p.detach(), optimizer

    plain, _ = tuned(False, [])
    whole, optimizer = tuned(True, [])
    assert optimizer.scale is not None
    assert optimizer.scale.tolist() == [1024, 1024, 1024]
    torch.testing.assert_close(whole, plain)  # powers of two change no digit but at underflow
    for wrong in ([0], [1]):
        found, optimizer = tuned(True, wrong)
        assert optimizer.scale is not None
        assert optimizer.scale.tolist() == [1024, 512, 1024]
        assert torch.equal(found[[0, 2]], whole[[0, 2]])
        assert found[1].isfinite().all()
        assert not torch.equal(found[1], whole[1])


def test_a_small_gradient_survives_fp16_by_its_scale() -> None:
    weights, config = small_clip_weights()
    found = []
    for dtype, scaled in ((torch.float32, False), (torch.float16, True), (torch.float16, False)):
        backbone = build_backbone(weights, config, torch.device("cpu"), dtype)
        prompt = prompts(settings_of("visual"), [5], backbone)
        features = classifier_for(backbone, prompt.settings)
        pool = pool_for("visual", backbone, random_images(IMAGES), LABELS)
        optimizer = Optimizer(prompt.parameters(), "sgd", 0.9, 0.0, scaled=scaled)
        vectors = prompt()
        logits = features.logits(features.text(vectors), features.image(vectors, pool.inputs))
        optimizer.backward(losses(logits, pool) * 1e-6)
        (gradient,) = (p.grad for p in prompt.parameters())
        assert gradient is not None
        found.append(gradient.flatten())
    full, kept, lost = found
    assert F.cosine_similarity(full, kept, 0) > 0.999
    assert F.cosine_similarity(full, lost, 0) < 0.99


def test_a_run_may_draw_its_batches_from_tasks_with_different_classes() -> None:
    """Two tasks in one pool, each image limited to its task's classes: the loss is each task's own."""
    _, _backbone = small_clip()
    logits = torch.randn(2, 6, CLASSES, dtype=torch.float64)
    allowed = torch.zeros(6, CLASSES, dtype=torch.bool)
    allowed[:3, :4] = allowed[3:, 4:] = True
    targets = torch.tensor([0, 3, 1, 4, 6, 5])
    found = losses(logits, Pool(torch.zeros(6), targets, allowed))
    first = F.cross_entropy(
        logits[:, :3, :4].flatten(0, 1), targets[:3].repeat(2), reduction="none"
    )
    second = F.cross_entropy(
        logits[:, 3:, 4:].flatten(0, 1), targets[3:].repeat(2) - 4, reduction="none"
    )
    expected = torch.cat([first.view(2, 3), second.view(2, 3)], 1).mean(1)
    torch.testing.assert_close(found, expected)
    soft = F.one_hot(targets, CLASSES).double()
    torch.testing.assert_close(losses(logits, Pool(torch.zeros(6), soft, allowed)), expected)


@pytest.mark.parametrize("method", ["text", "visual"])
def test_an_epoch_sees_its_view_of_every_image(method: str) -> None:
    _, backbone = small_clip()
    budget = Tuning(epochs=5, batch_size=4, optimizer="adamw", warmup=0)
    views = torch.stack([random_images(IMAGES, seed) for seed in (1, 2, 3)])
    settings, plan = settings_of(method), schedule(budget, 0.02, IMAGES)
    assert plan.per_epoch == 2
    order = batch_order(IMAGES, plan, 0)
    seen = views.flatten(0, 1) if method == "visual" else backbone.image(views.flatten(0, 1))[0]
    shown = Pool(torch.zeros_like(seen[:IMAGES]), LABELS, views=seen.unflatten(0, (3, IMAGES)))
    # The same as one pool of all views, whose order is written out.
    every = Pool(seen, LABELS.repeat(3))
    epochs = torch.arange(plan.steps)[:, None] // 2
    found = []
    for pool, where in ((shown, order), (every, order + IMAGES * (epochs % 3))):
        prompt = prompts(settings, [1, 2], backbone)
        before = prompt.state_of(0)
        tune(
            classifier_for(backbone, settings),
            prompt,
            pool,
            where,
            plan,
            budget,
            no_scores,
            dropout_seeds=[1, 2],
        )
        found.append(prompt.state_of(0))
        assert not torch.equal(found[-1][method], before[method])
    assert torch.equal(found[0][method], found[1][method])


def test_dropout_is_drawn_for_each_run_alone() -> None:
    _, backbone = small_clip()
    images, budget = random_images(IMAGES), BUDGET["adamw"]
    settings = settings_of("visual", dropout=0.5)
    pool, order = pool_for("visual", backbone, images, LABELS), order_of(budget, 0)
    together = prompts(settings, [0, 1], backbone)
    run("visual", backbone, together, order, budget, pool)
    alone = prompts(settings, [0], backbone)
    run("visual", backbone, alone, order, budget, pool)
    without = prompts(settings_of("visual"), [0], backbone)
    run("visual", backbone, without, order, budget, pool)
    torch.testing.assert_close(together.visual[0], alone.visual[0], rtol=1e-8, atol=1e-9)
    assert (alone.visual - without.visual).abs().max() > 1e-3


def test_best_val_keeps_the_first_best_prompt_and_last_the_final_one() -> None:
    """With several tasks the mean of their validation scores decides."""
    _, backbone = small_clip()
    images = random_images(IMAGES)
    scores = {2: [0.1, 0.9], 4: [0.5, 0.2], 6: [0.5, 0.3]}
    seen: dict[int, Tensor] = {}

    def validate(vectors: Vectors, step: int) -> list[Evaluation]:
        assert vectors.text is not None
        seen[step] = vectors.text.clone()
        if step == 0:
            return []
        shifted = [[score + shift for score in scores[step]] for shift in (-0.1, 0.1)]
        return [
            Evaluation(step, "val", target, [0, 1], own, [0.0, 0.0], [None, None], 3)
            for target, own in zip("ab", shifted, strict=True)
        ]

    for rule, expected in (("best_val", [4, 2]), ("last", [6, 6])):
        budget = Tuning(
            steps=6,
            batch_size=4,
            optimizer="adamw",
            evaluations=3,
            checkpoint=rule,  # type: ignore[arg-type]
        )
        prompt = prompts(settings_of("text"), [0, 1], backbone)
        tuned = tune(
            classifier_for(backbone, prompt.settings),
            prompt,
            pool_for("text", backbone, images, LABELS),
            order_of(budget, 0),
            schedule(budget, 0.02, IMAGES),
            budget,
            validate,
            dropout_seeds=[0, 1],
        )
        assert tuned.selected == expected
        for r, step in enumerate(expected):
            torch.testing.assert_close(tuned.states[r]["text"], seen[step][r].float())


def test_progress_says_step_loss_rate_and_time_left(caplog: pytest.LogCaptureFixture) -> None:
    now = iter([0.0, 0.5, 1.0, 7.0, 10.0])
    with caplog.at_level("INFO"):
        say = Progress("text, mnist from dtd", 4, 3, clock=lambda: next(now))
        for step in range(1, 5):
            say(step, torch.tensor([1.0, 2.0, math.nan]))
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3  # the first step, one after more than 5 s, the last
    assert lines[1] == (
        "text, mnist from dtd: step 3 of 4, mean loss 1.5000, 1.3 runs x steps/s, 2 s left"
    )


def test_tuning_does_not_import_torch_compiler() -> None:
    """It would cost every training job as much processor time as importing torch itself."""
    code = (
        "import sys, torch; from mvlpt_core.tuning.optimizer import Optimizer;"
        "p = torch.nn.Parameter(torch.ones(2));"
        "o = Optimizer([p], 'adamw', 0.9, 0.0); p.sum().backward(); o.step(0.1); import mvlpt_core.jobs;"
        "sys.exit('torch._dynamo' in sys.modules or 'open_clip' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
