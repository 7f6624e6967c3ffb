"""Ten steps of SimCLR in float64: the losses, and every gradient of the first step.

Writes ../fixtures/simclr_trace.safetensors. Run by hand: python3 tests/reference/simclr_trace.py

Encoder: stem 3x3 stride 2 on one channel, stages 8-16 of one BasicBlock. Projector: Linear 16-16 without bias, batch norm, ReLU,
Linear 16-8. Both views go through the network as one batch of 2N, so that batch norm sees them together.
NT-Xent, tau .2, mean over 2N. SGD lr .01, momentum .9, weight decay 5e-4 on every parameter.

`step.K.views` is NHWC, first views then second; `encoder` and `projector` tensors carry their initial values under the
names of a module that holds the encoder at the root and the projector as `projector`; `grad.NAME` is the gradient of
step 0 in PyTorch's layout; `losses` has ten entries.
"""

import os

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock

from fixture import save
from resnet import HERE, Small, as_float32

TAU, STEPS, N, SIZE = 0.2, 10, 8, 12


def nt_xent(z, tau):
    """Cross-entropy of each row against its other view, itself left out; mean over the 2N rows (SimCLR, equation 1)."""
    z = nn.functional.normalize(z)
    logits = z @ z.T / tau
    logits.fill_diagonal_(float("-inf"))
    n = len(z) // 2
    target = torch.arange(2 * n).roll(n)
    return nn.functional.cross_entropy(logits, target)


def main():
    torch.manual_seed(11)
    model = Small(BasicBlock, [8, 16], [1, 1], "cifar2", 1)
    model.projector = nn.Sequential(nn.Linear(16, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8))
    as_float32(model).train()
    out = {k: v.clone() for k, v in model.state_dict().items() if k.split(".")[-1] != "num_batches_tracked"}
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    images = torch.rand(N, 1, SIZE, SIZE)
    losses = []
    for step in range(STEPS):
        views = torch.cat([images, images]) + 0.3 * torch.randn(2 * N, 1, SIZE, SIZE)
        out[f"step.{step}.views"] = views.permute(0, 2, 3, 1)
        loss = nt_xent(model.projector(model(views.double())), TAU)
        optimiser.zero_grad()
        loss.backward()
        if step == 0:
            out.update({"grad." + name: p.grad.clone() for name, p in model.named_parameters()})
        optimiser.step()
        losses.append(loss.detach())
    out["losses"] = torch.stack(losses)
    print([round(x.item(), 6) for x in losses])
    save(os.path.join(HERE, "simclr_trace.safetensors"), out)


if __name__ == "__main__":
    assert abs(nt_xent(torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1]]), 0.5).item() - 0.2395447662) < 1e-6
    main()
