#!/usr/bin/env python3
"""The rows of benches/shapes.json in PyTorch, on the GPU beside wgrad: `python3 benches/peers/torch_bench.py`.

Without CUDA it stops, unless --cpu asks for the CPU. Two runs: all rows in f32 with TF32 off for products and convolutions
(cuBLAS, cuDNN, channels-last images), then all in automatic mixed precision (f16; bf16 on the CPU). On a GPU each row also goes
through torch.compile. A time is the median of nine; each repeats the work for 20 ms or more and waits for the device at both
ends. A variant is timed after its results agreed with plain f32. The file says in `tf32` and `amp` how it was measured.

Writes benches/results/<adapter>-torch.json. `--ours <adapter>-peers.json` (of `make peers`, run on the same card just
before) fills in wgrad's times and the ratios, torch / wgrad: above 1 wgrad is faster.
"""

import argparse
import datetime
import json
import math
import pathlib
import re
import statistics
import time

import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parent
RUNS, SHORTEST = 9, 0.020  # timings a row; seconds of one


def data(device, seed, *shape):
    """Uniform in [-1, 1)."""
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.rand(*shape, generator=generator) - 1).to(device)


def images(device, seed, n, h, w, c):
    """`[n, c, h, w]`, channels last in memory: wgrad's NHWC."""
    return data(device, seed, n, c, h, w).contiguous(memory_format=torch.channels_last)


class Work:
    """One row: `loss_or_value` computes from `leaves`; with gradients, backward follows."""

    def __init__(self, compute, leaves=()):
        self.compute, self.leaves = compute, [leaf.requires_grad_() for leaf in leaves]

    def run(self, compute, amp):
        device = "cuda" if torch.cuda.is_available() else "cpu"
        with torch.autocast(device, dtype=torch.float16 if device == "cuda" else torch.bfloat16, enabled=amp):
            value = compute()
        if not self.leaves:
            return [value]
        return [value.detach(), *torch.autograd.grad(value.float(), self.leaves)]


def info_nce(q, k, tau=0.2):
    logits = F.normalize(q) @ F.normalize(k).T / tau
    return F.cross_entropy(logits, torch.arange(len(q), device=q.device))


def nt_xent(z, tau=0.2):
    z = F.normalize(z)
    n = len(z)
    logits = (z @ z.T / tau).masked_fill(torch.eye(n, dtype=torch.bool, device=z.device), -1e4)
    return F.cross_entropy(logits, torch.arange(n, device=z.device).roll(n // 2))


class Block(torch.nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        conv = lambda i, kernel, step: torch.nn.Conv2d(i, outputs, kernel, step, kernel // 2, bias=False)
        self.conv1, self.bn1 = conv(inputs, 3, stride), torch.nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv(outputs, 3, 1), torch.nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.downsample = torch.nn.Sequential(
            *([] if same else [conv(inputs, 1, stride), torch.nn.BatchNorm2d(outputs)])
        )

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))


def network(stages):
    """ResNet with the CIFAR stem and SimCLR's projector, as wgrad's."""
    layers, width = [], stages[0][0]
    layers += [torch.nn.Conv2d(3, width, 3, 1, 1, bias=False), torch.nn.BatchNorm2d(width), torch.nn.ReLU()]
    for i, (planes, count) in enumerate(stages):
        for j in range(count):
            layers.append(Block(width, planes, 2 if i > 0 and j == 0 else 1))
            width = planes
    linear, norm = torch.nn.Linear, torch.nn.BatchNorm1d
    head = [linear(width, 128, bias=False), norm(128), torch.nn.ReLU(), linear(128, 128)]
    return torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), *head)


STAGES = {"resnet8": [(16, 1), (32, 1), (64, 1)], "resnet18": [(64, 2), (128, 2), (256, 2), (512, 2)]}


class Step:
    """SGD with momentum on NT-Xent of fixed views: `[batch, size]`, `2 * batch` images."""

    def __init__(self, device, batch, size, stages):
        torch.manual_seed(7)
        self.views = images(device, 1, 2 * batch, size, size, 3)
        self.model = network(stages).to(device, memory_format=torch.channels_last)
        self.sgd = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        self.scaler = torch.cuda.amp.GradScaler(enabled=device == "cuda")
        self.compute = lambda: nt_xent(self.model(self.views).float())
        self.leaves = None

    def run(self, compute, amp):
        device = self.views.device.type
        with torch.autocast(device, dtype=torch.float16 if device == "cuda" else torch.bfloat16, enabled=amp):
            loss = compute()
        self.sgd.zero_grad(set_to_none=True)
        if amp:
            self.scaler.scale(loss).backward()
            self.scaler.step(self.sgd)
            self.scaler.update()
        else:
            loss.backward()
            self.sgd.step()
        return [loss.detach()]


def work(device, row):
    """What `row` of shapes.json computes."""
    op, s = row["op"], row["shape"]
    if op == "matmul":
        a, b = data(device, 1, s[0], s[2]), data(device, 2, s[2], s[1])
        return Work(lambda: a @ b)
    if op in ("conv_forward", "conv_training"):
        n, size, inputs, outputs = s
        x, w = images(device, 1, n, size, size, inputs), data(device, 2, outputs, inputs, 3, 3)
        w = w.contiguous(memory_format=torch.channels_last)
        if op == "conv_forward":
            return Work(lambda: F.conv2d(x, w, padding=1))
        r = images(device, 3, n, size, size, outputs)
        return Work(lambda: (F.conv2d(x, w, padding=1) * r).sum(), [x, w])
    if op == "info_nce":
        q, k = data(device, 1, *s), data(device, 2, *s)
        return Work(lambda: info_nce(q, k), [q, k])
    if op == "batch_norm":
        n, h, w, c = s
        x, r = images(device, 1, *s), images(device, 4, *s)
        gamma, beta = data(device, 2, c), data(device, 3, c)
        return Work(lambda: (F.batch_norm(x, None, None, gamma, beta, True) * r).sum(), [x, gamma, beta])
    if op == "layer_norm":
        x, r, gamma, beta = data(device, 1, *s), data(device, 4, *s), data(device, 2, s[1]), data(device, 3, s[1])
        return Work(lambda: (F.layer_norm(x, s[1:], gamma, beta) * r).sum(), [x, gamma, beta])
    if op == "simclr_step":
        return Step(device, *s, STAGES[row.get("network", "resnet8")])
    x = data(device, 1, *s)
    plain = {"softmax": lambda: x.softmax(1), "column_sum": lambda: x.sum(0), "relu": lambda: x.relu()}
    return Work(plain[op])


def seconds(device, run, repeats):
    """Seconds for `repeats` runs, the wait for the device included."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def median_ms(device, run):
    """The median of warm runs, in milliseconds."""
    seconds(device, run, 1)
    warm = min(seconds(device, run, 1) for _ in range(3))
    repeats = max(1, min(1000, math.ceil(SHORTEST / warm)))
    times = [seconds(device, run, repeats) / repeats for _ in range(RUNS)]
    return 1e3 * statistics.median(times)


VARIANTS = {"f32": ("f32", "compile"), "AMP": ("amp", "amp_compile")}


def measure(device, row, run, wanted):
    """Times of the variants of a run, and the values of plain f32, which `wanted` holds after the first run."""
    result = {}
    for variant in VARIANTS[run]:
        if "compile" in variant and not (device == "cuda" and hasattr(torch, "compile")):
            continue
        subject = work(device, row)  # afresh, so that a training step starts from the same weights
        compute = torch.compile(subject.compute) if "compile" in variant else subject.compute
        once = lambda: subject.run(compute, variant.startswith("amp"))
        torch.cuda.reset_peak_memory_stats() if device == "cuda" else None
        got = None

        def first_run():
            nonlocal got
            got = once() if got is None else got

        first = 1e3 * seconds(device, first_run, 1)
        got = [g.detach().float() for g in got]
        wanted = wanted or [g.cpu() for g in got]  # off the device, so that the peak of memory is the row's own
        # f16 products of operands below 1 are right to some 1e-3 of the largest value, bf16 to 1e-2.
        amp = 2e-2 if device == "cuda" else 8e-2
        tolerance = amp if variant.startswith("amp") else 1e-3
        for a, b in zip((g.cpu() for g in got), wanted):
            error, scale = (a - b).abs().max().item(), b.abs().max().item()
            if not error <= tolerance * scale + 1e-4:
                result.setdefault("wrong", []).append(f"{variant}: differs by {error} of {scale}")
                break
        else:
            result |= timed(device, variant, once, first)
    return result, wanted


def timed(device, variant, once, first):
    """Times of a variant whose values are right; the peak of memory of plain f32."""
    prefix = "peer" if variant == "f32" else variant
    result = {f"{prefix}_ms": median_ms(device, once), f"{prefix}_first_ms": first}
    if device == "cuda" and variant == "f32":
        result["peer_peak_mib"] = torch.cuda.max_memory_allocated() / 2**20
    return result


def without_tf32():
    """Turns TF32 off for products and convolutions; what PyTorch says of both afterwards."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return {"matmul": torch.backends.cuda.matmul.allow_tf32, "convolution": torch.backends.cudnn.allow_tf32}


def shown(result):
    return "  ".join(f"{k} {v:.3f}" if isinstance(v, float) else str(v) for k, v in result.items())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", type=pathlib.Path, default=HERE.parent / "shapes.json")
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent / "results")
    parser.add_argument("--ours", type=pathlib.Path, help="wgrad's <adapter>-peers.json of the same card")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--cpu", action="store_true", help="where there is no CUDA, run on the CPU, without the large rows")
    args = parser.parse_args()
    if torch.cuda.is_available():
        device, adapter = "cuda", torch.cuda.get_device_name()
        driver = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    elif args.cpu:
        device, adapter, driver = "cpu", "torch cpu", f"{torch.get_num_threads()} threads"
    else:
        raise SystemExit("no CUDA device; --cpu runs on the CPU")
    tf32 = without_tf32()
    if any(tf32.values()):
        raise SystemExit(f"TF32 stays on: {tf32}")
    torch.backends.cudnn.benchmark = True

    ours = {}
    if args.ours:
        ours = {row["name"]: row for row in json.loads(args.ours.read_text())["rows"]}
    shapes = json.loads(args.shapes.read_text())
    shapes = [row for row in shapes if args.only in row["name"] and not (device == "cpu" and row.get("gpu"))]
    report = {
        "adapter": adapter,
        "driver": driver,
        "date": datetime.date.today().isoformat(),
        "peer": f"PyTorch {torch.__version__}, f32 with TF32 off",
        "tf32": tf32,
        "amp": "float16" if device == "cuda" else "bfloat16",
    }
    slug = "-".join(re.findall(r"[a-z0-9]+", adapter.lower()))
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"{slug}-torch.json"
    rows, values = [], {}

    def save():
        """After each row, so that a run that ends early keeps what it has."""
        path.write_text(json.dumps(report | {"rows": rows}, indent=2) + "\n")

    for row in shapes:
        result, values[row["name"]] = measure(device, row, "f32", None)
        result = {"name": row["name"]} | result
        if (mine := ours.get(row["name"])) and "peer_ms" in result:
            result |= {key: mine[key] for key in ("ours_ms", "ours_first_ms")}
            result["ratio"] = result["peer_ms"] / result["ours_ms"]
        rows.append(result)
        save()
        print(shown(result), flush=True)
    print("AMP", flush=True)
    for row, result in zip(shapes, rows):
        amp, _ = measure(device, row, "AMP", values[row["name"]])
        wrong = result.get("wrong", []) + amp.pop("wrong", [])
        result |= amp | ({"wrong": wrong} if wrong else {})
        save()
        print(shown({"name": row["name"]} | amp), flush=True)
    ratios = [row["ratio"] for row in rows if "ratio" in row]
    if ratios:
        report["geometric_mean"] = statistics.geometric_mean(ratios)
        print(f"geometric mean of torch / wgrad: {report['geometric_mean']:.2f}")
    save()
    print(path)
    wrong = [f"{row['name']}, {why}" for row in rows for why in row.get("wrong", [])]
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
