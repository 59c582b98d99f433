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
from mvlpt_core.backbone.towers import Backbone
from mvlpt_core.contract.errors import InputError
from mvlpt_core.prompts.modules import Prompt, UnifiedPrompt, Vectors, make_prompt, parse_settings
from mvlpt_core.tuning.classifier import Classifier, Pool, losses
from mvlpt_core.tuning.loop import (
    Evaluation,
    Tuned,
    Tuning,
    batch_order,
    derive_seed,
    parse_tuning,
    tune,
)
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
)

IMAGES, CLASSES = 11, len(NAMES)
LABELS = torch.arange(IMAGES) % CLASSES
BUDGET = {
    "sgd": Tuning(lr=0.5, steps=6, batch_size=4, optimizer="sgd", warmup_lr=0.01),
    "adamw": Tuning(lr=0.02, steps=6, batch_size=4, optimizer="adamw"),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "text": {"n_ctx": 4},
    "visual": {"n_ctx": 3},
    "unified": {"n_ctx_text": 2, "n_ctx_visual": 3, "width": 64},
}


def classifier_for(method: str, backbone: Backbone, settings: Any) -> Classifier:
    if method == "visual":
        with torch.no_grad():
            fixed = backbone.text(text_layout(NAMES, sos=SOS, eos=EOS, context_length=CONTEXT))[0]
        return Classifier(backbone, text_features=fixed)
    layout = text_layout(
        NAMES,
        sos=SOS,
        eos=EOS,
        suffix=[DOT],
        n_ctx=settings.n_ctx if method == "text" else settings.n_ctx_text,
        position=settings.position,
        class_specific=getattr(settings, "class_specific", False),
        context_length=CONTEXT,
    )
    return Classifier(backbone, layout)


def pool_for(method: str, backbone: Backbone, images: Tensor, labels: Tensor) -> Pool:
    return Pool(backbone.image(images)[0] if method == "text" else images, labels)


def no_scores(vectors: Vectors, step: int) -> list[Evaluation]:
    return []


def run(
    method: str, backbone: Backbone, prompt: Prompt, order: Tensor, budget: Tuning, pool: Pool
) -> Tuned:
    return tune(
        classifier_for(method, backbone, prompt.settings),
        prompt,
        pool,
        order,
        budget,
        no_scores,
        n_images=IMAGES,
        dropout_seeds=range(prompt.runs),
    )


class PlainCoupler(nn.Module):
    """The coupler of one run, from torch's own modules."""

    def __init__(self, prompt: UnifiedPrompt, run: int) -> None:
        super().__init__()
        w = prompt.settings.width
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

        x = torch.cat([maybe("text_in", text), maybe("visual_in", visual.flatten(0, 1))])[None]
        h = self.norm_1(x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        hidden = self.linears["fc"](self.norm_2(x))
        x = (x + self.linears["proj"](hidden * torch.sigmoid(1.702 * hidden)))[0]
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
            now = plain_lr(budget.lr, budget.warmup, budget.warmup_lr, step, budget.steps or 0)
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
        ("text", {"class_specific": True, "position": "end"}),
        ("visual", {}),
        ("visual", {"depth": "shallow"}),
        ("unified", {}),
        ("unified", {"width": 48, "position": "front"}),
    ],
)
def test_each_run_gets_the_numbers_it_would_have_got_alone(
    method: str, options: dict[str, Any], optimizer: str, own_order: bool
) -> None:
    model, backbone = small_clip()
    images, budget = random_images(IMAGES), BUDGET[optimizer]
    settings = parse_settings(method, {**SETTINGS[method], **options})
    prompt = make_prompt(settings, [3, 1, 2], backbone, CLASSES)
    orders = [batch_order(IMAGES, budget, seed if own_order else 0) for seed in range(3)]
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
        settings = parse_settings(method, SETTINGS[method])
        pool, order = pool_for(method, backbone, images, LABELS), batch_order(IMAGES, budget, 0)
        alone = make_prompt(settings, [5], backbone, CLASSES)
        run(method, backbone, alone, order, budget, pool)
        pack = make_prompt(settings, [4, 5, 6], backbone, CLASSES)
        with torch.no_grad():
            for parameter in pack.parameters():
                parameter[0] = math.nan
        tuned = run(method, backbone, pack, order, budget, pool)
        assert tuned.alive == [False, True, True]
        for name, value in alone.state_of(0).items():
            torch.testing.assert_close(pack.state_of(1)[name], value, rtol=0, atol=1e-6)


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


def test_dropout_is_drawn_for_each_run_alone() -> None:
    _, backbone = small_clip()
    images, budget = random_images(IMAGES), BUDGET["adamw"]
    settings = parse_settings("visual", {"n_ctx": 3, "dropout": 0.5})
    pool, order = pool_for("visual", backbone, images, LABELS), batch_order(IMAGES, budget, 0)
    together = make_prompt(settings, [0, 1], backbone, CLASSES)
    run("visual", backbone, together, order, budget, pool)
    alone = make_prompt(settings, [0], backbone, CLASSES)
    run("visual", backbone, alone, order, budget, pool)
    without = make_prompt(parse_settings("visual", {"n_ctx": 3}), [0], backbone, CLASSES)
    run("visual", backbone, without, order, budget, pool)
    torch.testing.assert_close(together.visual[0], alone.visual[0], rtol=1e-8, atol=1e-9)
    assert (alone.visual - without.visual).abs().max() > 1e-3


def test_best_val_keeps_the_first_best_prompt_and_last_the_final_one() -> None:
    _, backbone = small_clip()
    images = random_images(IMAGES)
    settings = parse_settings("text", SETTINGS["text"])
    scores = {2: [0.1, 0.9], 4: [0.5, 0.2], 6: [0.5, 0.3]}
    seen: dict[int, Tensor] = {}

    def validate(vectors: Vectors, step: int) -> list[Evaluation]:
        assert vectors.text is not None
        seen[step] = vectors.text.clone()
        if step == 0:
            return []
        return [Evaluation(step, "val", scores[step], [0.0, 0.0], [None, None], 3)]

    for rule, expected in (("best_val", [4, 2]), ("last", [6, 6])):
        budget = Tuning(
            lr=0.02, steps=6, batch_size=4, optimizer="adamw", evaluations=3, checkpoint=rule
        )
        prompt = make_prompt(settings, [0, 1], backbone, CLASSES)
        tuned = tune(
            classifier_for("text", backbone, settings),
            prompt,
            pool_for("text", backbone, images, LABELS),
            batch_order(IMAGES, budget, 0),
            budget,
            validate,
            n_images=IMAGES,
            dropout_seeds=[0, 1],
        )
        assert tuned.selected == expected
        for r, step in enumerate(expected):
            torch.testing.assert_close(tuned.states[r]["text"], seen[step][r].float())


def test_learning_rate_follows_warm_up_and_cosine_by_epoch() -> None:
    budget = Tuning(lr=0.002, epochs=4, batch_size=5)
    assert budget.batches(11) == 2
    assert budget.total_steps(11) == 8
    rates = [budget.lr_at(step, 11) for step in range(8)]
    cosine = [0.002 * (1 + math.cos(math.pi * e / 4)) / 2 for e in range(4)]
    assert rates == [1e-5, 1e-5, cosine[1], cosine[1], cosine[2], cosine[2], cosine[3], cosine[3]]
    assert Tuning(lr=1.0, steps=4, warmup=0).lr_at(2, 11) == pytest.approx(0.5)


def test_batches_are_shuffles_one_after_the_other() -> None:
    budget = Tuning(lr=1.0, epochs=3, batch_size=5)
    order = batch_order(11, budget, seed=7)
    assert order.shape == (6, 5)
    for epoch in order.view(3, 10):
        assert len(set(epoch.tolist())) == 10
    assert torch.equal(order, batch_order(11, budget, seed=7))
    assert not torch.equal(order, batch_order(11, budget, seed=8))
    assert batch_order(3, budget, seed=7).shape == (3, 3)  # a small pool is one batch


def test_evaluations_are_spread_and_end_at_the_end() -> None:
    assert Tuning(lr=1.0, steps=40, evaluations=4).evaluation_steps(9) == [10, 20, 30, 40]
    assert Tuning(lr=1.0, steps=2, evaluations=5).evaluation_steps(9) == [1, 2]


def test_seeds_are_the_same_everywhere() -> None:
    assert derive_seed("init", "text", "mnist", 1) == 4165713860432254941
    assert derive_seed("a", "bc") != derive_seed("ab", "c")


@pytest.mark.parametrize(
    ("tuning", "message"),
    [
        ({}, "either 'epochs' or 'steps'"),
        ({"epochs": 1, "steps": 1}, "either 'epochs' or 'steps'"),
        ({"steps": 0}, r"tuning\.steps is 0; expected a whole number"),
        (
            {"steps": 1, "optimizer": "lion"},
            r"tuning\.optimizer is 'lion'; expected one of sgd, adamw",
        ),
        ({"steps": 1, "checkpoint": "best"}, r"tuning\.checkpoint is 'best'"),
        ({"steps": 1, "momentum": math.nan}, r"tuning\.momentum is nan"),
        ({"steps": 1, "step": 2}, "unknown key 'step'"),
    ],
)
def test_bad_budgets_are_one_sentence(tuning: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_tuning(tuning, 0.1)


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("texts", {}, "method 'texts' is unknown; expected one of text, visual, unified"),
        ("text", {"n_ctx": 0}, r"methods\.text\.n_ctx is 0"),
        ("text", {"depth": "deep"}, r"methods\.text has the unknown key 'depth'"),
        ("visual", {"depth": "deeper"}, r"methods\.visual\.depth is 'deeper'"),
        ("visual", {"dropout": 1.0}, r"methods\.visual\.dropout is 1\.0"),
        ("unified", {"position": "left"}, r"methods\.unified\.position is 'left'"),
    ],
)
def test_bad_prompt_settings_are_one_sentence(method: str, settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_settings(method, settings)


def test_tuning_does_not_import_torch_compiler() -> None:
    """It would cost every training job as much processor time as importing torch itself."""
    code = (
        "import sys, torch; from mvlpt_core.tuning.optimizer import Optimizer;"
        "p = torch.nn.Parameter(torch.ones(2));"
        "o = Optimizer([p], 'adamw', 0.9, 0.0); p.sum().backward(); o.step(0.1); import mvlpt_core.jobs;"
        "sys.exit('torch._dynamo' in sys.modules or 'open_clip' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
