"""Where each class's tokens stand when all classes are encoded together, packed without padding.

A class's sequence is [start] + context and name in the chosen order + ["."] + [end], as in CoOp
(arXiv 2109.01134, section 3.1). Causal attention makes the tokens before the first class-dependent
one equal for all classes: they are kept once, as a prefix, and the classes follow, sorted by length:

    prefix | class a (5 tokens) | class d (5) | class b (7) | class c (9) ...

so that every matrix product runs over real tokens only, and attention runs over slices ("buckets")
of classes of one length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from mvlpt_core.contract.errors import InputError

POSITIONS = ("middle", "front", "end")


@dataclass(frozen=True)
class Bucket:
    """Neighbouring classes of one length: rows [start, stop) of the packed stream."""

    start: int
    stop: int
    classes: int
    length: int
    first_class: int  # index in the chunk's order
    mask: Tensor  # [length, prefix + length] True = may attend


@dataclass(frozen=True)
class Chunk:
    """Classes encoded in one pass."""

    tokens: Tensor  # [T] vocabulary ids; 0 where a context vector stands
    is_token: Tensor  # [T, 1] 1 for vocabulary tokens, 0 where a context vector stands
    positions: Tensor  # [T]
    prefix: int
    prefix_mask: Tensor  # [prefix, prefix]
    buckets: tuple[Bucket, ...]
    end_rows: Tensor  # [C] the end-of-text row of each class
    selection: Tensor  # [T, n_ctx] 0/1: which context vector stands in which row


@dataclass(frozen=True)
class TextLayout:
    chunks: tuple[Chunk, ...]
    order: Tensor  # [C] where class c stands among all chunks' classes


_CONTEXT = -1  # a context vector stands here; encoded as _CONTEXT - j


def text_layout(
    names: Sequence[Sequence[int]],
    *,
    sos: int,
    eos: int,
    suffix: Sequence[int] = (),
    n_ctx: int = 0,
    position: str = "middle",
    context_length: int = 77,
    max_tokens: int | None = None,
    device: torch.device | str = "cpu",
    where: Sequence[str] | None = None,
) -> TextLayout:
    """Lay out `names` (vocabulary ids of each class name) around `n_ctx` context vectors.

    `suffix` holds ids that follow every name (CoOp's full stop). `max_tokens` bounds the packed
    tokens of a chunk, so that memory does not grow with the number of classes. Raises `InputError`
    when a sequence is longer than `context_length`, naming
    the class by `where` (one text a class).
    """
    if position not in POSITIONS:
        raise InputError(
            f"position '{position}' is unknown: expected one of {', '.join(POSITIONS)}"
        )
    context = [_CONTEXT - j for j in range(n_ctx)]
    half = n_ctx // 2
    rows: list[list[int]] = []
    for c, name in enumerate(names):
        ids = list(name)
        body = {
            "end": context + ids,
            "middle": context[:half] + ids + context[half:],
            "front": ids + context,
        }[position]
        row = [sos, *body, *suffix, eos]
        if len(row) > context_length:
            raise InputError(
                f"{where[c] if where else f'class {c}'} needs {len(row)} text tokens with {n_ctx} "
                f"context vectors, but the backbone has {context_length}: expected a shorter class "
                "name or a smaller n_ctx"
            )
        rows.append(row)
    leading = {"end": n_ctx, "middle": half, "front": 0}[position]
    prefix = 1 + leading

    by_length = sorted(
        range(len(rows)), key=lambda c: len(rows[c])
    )  # stable: ties keep class order
    groups: list[list[int]] = [[]]
    used = prefix
    for c in by_length:
        own = len(rows[c]) - prefix
        if groups[-1] and max_tokens is not None and used + own > max_tokens:
            groups.append([])
            used = prefix
        groups[-1].append(c)
        used += own
    chunks = tuple(_chunk(g, rows, prefix, n_ctx, device) for g in groups)
    order = torch.empty(len(rows), dtype=torch.long, device=device)
    order[torch.tensor(by_length, device=device)] = torch.arange(len(rows), device=device)
    return TextLayout(chunks, order)


def _chunk(
    classes: list[int],
    rows: list[list[int]],
    prefix: int,
    n_ctx: int,
    device: torch.device | str,
) -> Chunk:
    tokens = list(rows[classes[0]][:prefix])
    positions = list(range(prefix))
    buckets, ends, first = [], [], 0
    for length, group in groupby(classes, key=lambda c: len(rows[c]) - prefix):
        members = list(group)
        start = len(tokens)
        for c in members:
            tokens += rows[c][prefix:]
            positions += range(prefix, prefix + length)
            ends.append(len(tokens) - 1)
        causal = torch.ones(length, prefix + length, dtype=torch.bool, device=device).tril(prefix)
        buckets.append(Bucket(start, len(tokens), len(members), length, first, causal))
        first += len(members)
    selection = torch.zeros(len(tokens), n_ctx)
    for row, token in enumerate(tokens):
        if token <= _CONTEXT:
            selection[row, _CONTEXT - token] = 1
    return Chunk(
        tokens=torch.tensor([max(t, 0) for t in tokens], device=device),
        is_token=1 - selection.sum(1, keepdim=True).to(device),
        positions=torch.tensor(positions, device=device),
        prefix=prefix,
        prefix_mask=torch.ones(prefix, prefix, dtype=torch.bool, device=device).tril(),
        buckets=tuple(buckets),
        end_rows=torch.tensor(ends, device=device),
        selection=selection.to(device),
    )
