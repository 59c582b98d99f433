"""What a frozen tower's layers are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

# x * sigmoid(1.702 x) = silu(1.702 x) / 1.702: with the factors folded into the two MLP matrices the
# activation is torch's fused SiLU, one pass instead of three.
QUICK_GELU = 1.702


def attention_dtype(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """The precision of attention between matrices in `dtype`: a processor takes several times as long over
    its backward pass in half precision."""
    return torch.float32 if device.type == "cpu" and dtype.itemsize == 2 else dtype


@dataclass(frozen=True)
class Norm:
    weight: Tensor
    bias: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        # Normalised in the weights' precision (fp32 or fp64), as autocast would.
        return F.layer_norm(
            x.to(self.weight.dtype), self.weight.shape, self.weight, self.bias, self.eps
        )


@dataclass(frozen=True)
class Linear:
    weight: Tensor  # [out, in]
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias)

    def rows(self, start: int, stop: int) -> Linear:
        return Linear(self.weight[start:stop], None if self.bias is None else self.bias[start:stop])


def tail(
    x: Tensor, attended: Tensor, out: Linear, norm: Norm, fc: Linear, proj: Linear, activation: str
) -> Tensor:
    """A layer behind its attention."""
    x = x + out(attended)
    hidden = fc(norm(x))
    if activation == "silu":
        hidden = F.silu(hidden)
    else:
        hidden = F.gelu(hidden, approximate=activation.removeprefix("gelu_"))
    return x + proj(hidden)


Tail = Callable[[Tensor, Tensor, Linear, Norm, Linear, Linear, str], Tensor]


@dataclass(frozen=True)
class Block:
    """One transformer layer; `q`, `kv` are row slices (views) of `qkv`."""

    ln_1: Norm
    qkv: Linear
    q: Linear
    kv: Linear
    out: Linear
    ln_2: Norm
    fc: Linear
    proj: Linear
    heads: int
    activation: str
    tail: Tail

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Residual, then the MLP with its residual."""
        return self.tail(x, attended, self.out, self.ln_2, self.fc, self.proj, self.activation)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """Multi-head attention over the last two axes [.., T, W]; leading axes must agree."""
        *lead, t, width = q.shape
        split = (-1, self.heads, width // self.heads)
        dtype = attention_dtype(q.device, q.dtype)

        def heads(x: Tensor) -> Tensor:
            x = x.to(dtype)
            return x.reshape(-1, x.shape[-2], *split[1:]).transpose(1, 2)

        attended = F.scaled_dot_product_attention(heads(q), heads(k), heads(v), attn_mask=mask)
        return attended.transpose(1, 2).reshape(*lead, t, width)
