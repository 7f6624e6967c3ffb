"""Losses and their gradients by PyTorch in float64, with the logits written out.

Writes ../fixtures/losses.safetensors and ../fixtures/ssl.safetensors. Run by hand: python3 tests/reference/losses.py

losses: inputs `q`, `k` [37, 20], `queue` [51, 20]; rows are not normalised. For each case `CASE.loss` and the gradients
`CASE.dq`, `CASE.dk`. The temperature of each case is in its name, in thousandths.

ssl: inputs `a`, `b`, `c`, `e` [13, 6], `bank` [29, 6] of unit rows, `scores` [36, 7] and `teacher` [18, 7] of 9 images,
`center` [7], `queue_scores` [22, 7]; `at`, `negatives` and `labels` are integers. For each case `CASE.loss` and a gradient
for each input that has one, `CASE.d0`, `CASE.d1` in the order of the function's arguments.
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


def bank_rows(bank, z, at, negatives):
    """The own row and the negatives of each image: [n, 1 + m, d]."""
    return bank[torch.cat([at[:, None], negatives.view(len(z), -1)], dim=1)]


def instance(z, *, bank, at, tau, **_):
    return F.cross_entropy(F.normalize(z) @ bank.T / tau, at)


def nce(z, *, bank, at, negatives, tau, **_):
    """NCEAverage and NCECriterion of zhirongw/lemniscate.pytorch, without their 1e-7."""
    m, size = len(negatives) // len(z), len(bank)
    out = torch.exp(torch.einsum("nmd,nd->nm", bank_rows(bank, z, at, negatives), F.normalize(z)) / tau)
    out = out / (out.detach().mean() * size)
    noise = m / size
    own = torch.log(out[:, 0] / (out[:, 0] + noise))
    others = torch.log(noise / (out[:, 1:] + noise))
    return -(own.sum() + others.sum()) / len(z)


def simsiam(p1, p2, *, c, e, **_):
    """facebookresearch/simsiam, main_simsiam.py."""
    return -(F.cosine_similarity(p1, c).mean() + F.cosine_similarity(p2, e).mean()) * 0.5


def simsiam_squared(p1, p2, *, c, e, **_):
    return ((p1 - c) ** 2).sum(1).mean() / 2 + ((p2 - e) ** 2).sum(1).mean() / 2


def byol(p1, p2, *, c, e, **_):
    def term(p, z):
        return 2 - 2 * (F.normalize(p) * F.normalize(z)).sum(-1)

    return (term(p1, c) + term(p2, e)).mean()


def vicreg(x, y, **_):
    """facebookresearch/vicreg, main_vicreg.py."""
    n, d = x.shape
    invariance = F.mse_loss(x, y)
    x, y = x - x.mean(0), y - y.mean(0)
    std_x, std_y = torch.sqrt(x.var(0) + 1e-4), torch.sqrt(y.var(0) + 1e-4)
    variance = F.relu(1 - std_x).mean() / 2 + F.relu(1 - std_y).mean() / 2
    cov_x, cov_y = x.T @ x / (n - 1), y.T @ y / (n - 1)
    off = ~torch.eye(d, dtype=torch.bool)
    covariance = cov_x[off].pow(2).sum() / d + cov_y[off].pow(2).sum() / d
    return 25 * invariance + 25 * variance + covariance


def barlow(x, y, **_):
    """facebookresearch/barlowtwins, main.py."""
    d = x.shape[1]
    norm = torch.nn.BatchNorm1d(d, affine=False).double()
    c = norm(x).T @ norm(y) / len(x)
    off = ~torch.eye(d, dtype=torch.bool)
    return (torch.diagonal(c) - 1).pow(2).sum() + 0.0051 * c[off].pow(2).sum()


def swapped(targets, scores, tau):
    """Pairs of views i != j as loops: DINOLoss.forward and SwAV's main_swav.py."""
    views = (scores / tau).chunk(len(scores) // len(targets[0]))
    terms = [
        torch.sum(-q * F.log_softmax(views[j], dim=-1), dim=-1).mean()
        for i, q in enumerate(targets)
        for j in range(len(views))
        if j != i
    ]
    return sum(terms) / len(terms)


def dino(student, *, teacher, center, tau, **_):
    """The teacher at .6 of the temperature."""
    targets = F.softmax((teacher - center) / (0.6 * tau), dim=-1).chunk(2)
    return swapped(targets, student, tau)


def sinkhorn(scores, epsilon):
    """distributed_sinkhorn of facebookresearch/swav on one process."""
    q = torch.exp(scores / epsilon).T
    q /= q.sum()
    for _ in range(3):
        q = q / q.sum(dim=1, keepdim=True) / q.shape[0]
        q = q / q.sum(dim=0, keepdim=True) / q.shape[1]
    return (q * q.shape[1]).T


def swav(scores, *, tau, **_):
    targets = [sinkhorn(s, 0.05) for s in scores.detach().chunk(4)[:2]]
    return swapped(targets, scores, tau)


def swav_queue(scores, *, queue_scores, tau, **_):
    own, queue = scores.detach().chunk(4), queue_scores.chunk(2)
    targets = [sinkhorn(torch.cat([queue[i], own[i]]), 0.05)[len(queue[i]) :] for i in range(2)]
    return swapped(targets, scores, tau)


def nnclr(p1, p2, *, bank, c, e, tau, **_):
    def term(z, p):
        z = F.normalize(z)
        near = bank[(z @ bank.T).argmax(1)]
        return F.cross_entropy(near @ F.normalize(p).T / tau, torch.arange(len(p)))

    return (term(c, p2) + term(e, p1)) / 2


def sup_con(z1, z2, *, labels, tau, **_):
    """HobbitLong/SupContrast, losses.py, base temperature equal to the temperature."""
    z, y = F.normalize(torch.cat([z1, z2])), labels.repeat(2)
    logits = z @ z.T / tau
    logits = logits - logits.max(1, keepdim=True)[0].detach()
    others = 1 - torch.eye(len(z), dtype=torch.double)
    mask = (y[:, None] == y[None]).double() * others
    log_prob = logits - torch.log((torch.exp(logits) * others).sum(1, keepdim=True))
    return -((mask * log_prob).sum(1) / mask.sum(1)).mean()


def contrastive():
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


def methods():
    torch.manual_seed(6)
    a = torch.randn(13, 6)
    near = [a + 0.5 * torch.randn(13, 6) for _ in range(3)]
    unit = F.normalize(torch.randn(36, 5)) @ F.normalize(torch.randn(5, 7), dim=0)
    data = {
        "a": a,
        "b": near[0],
        "c": near[1],
        "e": near[2],
        "bank": F.normalize(torch.randn(29, 6)),
        "scores": unit,
        "teacher": F.normalize(torch.randn(18, 5)) @ F.normalize(torch.randn(5, 7), dim=0),
        "center": 0.1 * torch.randn(7),
        "queue_scores": F.normalize(torch.randn(22, 5)) @ F.normalize(torch.randn(5, 7), dim=0),
        "at": torch.arange(13) * 7 % 29,
        "negatives": torch.randint(29, (13 * 4,)),
        "labels": torch.arange(13) % 3,
    }
    out = dict(data)
    fixed = {name: x.double() if x.is_floating_point() else x for name, x in data.items()}
    without_tau = [simsiam, simsiam_squared, byol, vicreg, barlow]
    cases = [(loss, ["a", "b"], 1000) for loss in without_tau]
    for tau in TAUS:
        cases += [(loss, ["a"], tau) for loss in [instance, nce]]
        cases += [(loss, ["scores"], tau) for loss in [dino, swav, swav_queue]]
        cases += [(loss, ["a", "b"], tau) for loss in [nnclr, sup_con]]
    for loss, names, tau in cases:
        leaves = [data[name].double().requires_grad_() for name in names]
        value = loss(*leaves, tau=tau / 1000, **{name: x for name, x in fixed.items() if name not in names})
        value.backward()
        case = f"{loss.__name__}.{tau}"
        out[f"{case}.loss"] = value
        out |= {f"{case}.d{i}": leaf.grad for i, leaf in enumerate(leaves)}
    save(os.path.join(HERE, "..", "fixtures", "ssl.safetensors"), out)


contrastive()
methods()
