"""Contrastive losses and their gradients by PyTorch in float64, with the logits written out.

Writes ../fixtures/losses.safetensors. Run by hand: python3 tests/reference/losses.py

Inputs `q`, `k` [37, 20], `queue` [51, 20]; rows are not normalised. For each case `CASE.loss` and the gradients
`CASE.dq`, `CASE.dk`. The temperature of each case is in its name, in thousandths.
"""

import os

import torch
import torch.nn.functional as F

from fixture import save

HERE = os.path.dirname(os.path.abspath(__file__))
TAUS = [5, 20, 70, 200, 500]


def info_nce(q, k, queue, tau):
    return F.cross_entropy(F.normalize(q) @ F.normalize(k).T / tau, torch.arange(len(q)))


def info_nce_dot(q, k, queue, tau):
    return F.cross_entropy(q @ k.T / tau, torch.arange(len(q)))


def nt_xent(q, k, queue, tau):
    n = len(q)
    z = F.normalize(torch.cat([q, k]))
    logits = (z @ z.T / tau).masked_fill(torch.eye(2 * n, dtype=torch.bool), float("-inf"))
    return F.cross_entropy(logits, (torch.arange(2 * n) + n) % (2 * n))


def moco(q, k, queue, tau):
    """As in facebookresearch/moco: the positive is column 0; the key gets a gradient too."""
    q, k = F.normalize(q), F.normalize(k)
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ F.normalize(queue).T], dim=1) / tau
    return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))


def main():
    torch.manual_seed(5)
    q = torch.randn(37, 20)
    k = q + 0.7 * torch.randn(37, 20)
    queue = torch.randn(51, 20)
    out = {"q": q, "k": k, "queue": queue}
    for loss in [info_nce, info_nce_dot, nt_xent, moco]:
        for tau in TAUS:
            x, y = q.double().requires_grad_(), k.double().requires_grad_()
            value = loss(x, y, queue.double(), tau / 1000)
            value.backward()
            case = f"{loss.__name__}.{tau}"
            out |= {f"{case}.loss": value, f"{case}.dq": x.grad, f"{case}.dk": y.grad}
    save(os.path.join(HERE, "..", "fixtures", "losses.safetensors"), out)


main()
