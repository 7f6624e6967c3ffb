"""Five steps of every optimiser on three small tensors, in float64, from fixed gradients.

Writes ../fixtures/optim.safetensors. Run by hand: python3 tests/reference/optim.py
SGD, AdamW and clipping are PyTorch's. LARS follows the public code of VICReg and Barlow Twins (facebookresearch).

`start.P` are the parameters, `grad.K.P` the gradients of step K, `CASE.K.P` the parameters after step K;
`clip.global.P`, `clip.tensor.P` the clipped gradients of step 0, `clip.norm` the norm before clipping.
P: `w` [7, 19] (133 elements, not a multiple of 64), `b` [3], `head` [64].
"""

import os

import torch

from fixture import save
from resnet import HERE

SHAPES, STEPS = {"w": (7, 19), "b": (3,), "head": (64,)}, 5
LR = [0.1, 0.07, 0.05, 0.02, 0.01]


def sgd_case(out, case, start, grads, make):
    params = {k: v.clone().requires_grad_() for k, v in start.items()}
    optimiser = make(params)
    fixed = [g["lr"] if g.get("fixed") else None for g in optimiser.param_groups]
    for step in range(STEPS):
        for group, lr in zip(optimiser.param_groups, fixed):
            group["lr"] = LR[step] if lr is None else lr
        for k, p in params.items():
            p.grad = grads[step][k].clone()
        optimiser.step()
        out.update({f"{case}.{step}.{k}": p.clone() for k, p in params.items()})


class Lars(torch.optim.Optimizer):
    """q = eta |w| / |g + wd w|; 1-d tensors without weight decay and with q = 1; heavy-ball momentum on q (g + wd w)."""

    def __init__(self, params, lr, weight_decay, momentum, eta):
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay, momentum=momentum, eta=eta))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                update = p.grad
                if p.dim() > 1:
                    update = update + group["weight_decay"] * p
                    pn, un = p.norm(), update.norm()
                    if pn > 0 and un > 0:
                        update = update * group["eta"] * pn / un
                mu = self.state[p].setdefault("mu", torch.zeros_like(p))
                mu.mul_(group["momentum"]).add_(update)
                p.sub_(mu, alpha=group["lr"])


def main():
    torch.manual_seed(3)
    start = {k: torch.randn(s).double() for k, s in SHAPES.items()}
    grads = [{k: torch.randn(s).double() for k, s in SHAPES.items()} for _ in range(STEPS)]
    out = {f"start.{k}": v for k, v in start.items()}
    for step, g in enumerate(grads):
        out.update({f"grad.{step}.{k}": v for k, v in g.items()})

    sgd, adamw = torch.optim.SGD, torch.optim.AdamW
    every = lambda p: list(p.values())
    sgd_case(out, "sgd", start, grads, lambda p: sgd(every(p), 0.1, weight_decay=0.01))
    sgd_case(out, "momentum", start, grads, lambda p: sgd(every(p), 0.1, momentum=0.9, weight_decay=0.01))
    sgd_case(out, "nesterov", start, grads, lambda p: sgd(every(p), 0.1, momentum=0.9, nesterov=True, weight_decay=0.01))
    groups = lambda p: [dict(params=[p["w"]]), dict(params=[p["b"]], weight_decay=0.0),
                        dict(params=[p["head"]], lr=0.03, fixed=True)]
    sgd_case(out, "groups", start, grads, lambda p: sgd(groups(p), 0.1, momentum=0.9, weight_decay=0.01))
    sgd_case(out, "adamw", start, grads, lambda p: adamw(every(p), 0.1, betas=(0.9, 0.99), weight_decay=0.05))
    sgd_case(out, "lars", start, grads, lambda p: Lars(every(p), 0.1, 0.01, 0.9, 0.1))

    for kind in ["global", "tensor"]:
        params = {k: v.clone().requires_grad_() for k, v in start.items()}
        for k, p in params.items():
            p.grad = grads[0][k].clone()
        if kind == "global":
            out["clip.norm"] = torch.nn.utils.clip_grad_norm_(every(params), 5.0).reshape(1)
        else:
            for p in params.values():
                torch.nn.utils.clip_grad_norm_([p], 5.0)
        out.update({f"clip.{kind}.{k}": p.grad for k, p in params.items()})
    save(os.path.join(HERE, "optim.safetensors"), out)


if __name__ == "__main__":
    main()
