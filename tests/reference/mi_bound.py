"""The expected values of examples/figure_mi_bound.rs: means of ln N - L over many batches, in float64.

    python3 tests/reference/mi_bound.py
"""

import numpy as np

D = 20
rng = np.random.default_rng(1)
for n, batches in [(16, 20000), (64, 5000), (128, 2500), (256, 1000), (1024, 300)]:
    cells = []
    for information in (2.0, 10.0):
        rho = np.sqrt(1 - np.exp(-2 * information / D))
        rest = 1 - rho**2
        bounds = []
        for _ in range(batches):
            x = rng.standard_normal((n, D))
            y = rho * x + np.sqrt(rest) * rng.standard_normal((n, D))
            score = rho / rest * x @ y.T - rho**2 / (2 * rest) * (y**2).sum(1)
            top = score.max(1, keepdims=True)
            sums = top[:, 0] + np.log(np.exp(score - top).sum(1))
            bounds.append(np.log(n) - (sums - np.diag(score)).mean())
        mean, deviation = np.mean(bounds), np.std(bounds)
        cells.append(f"I = {information:g}: {mean:.4f}, standard error of 60 batches {deviation / np.sqrt(60):.4f}")
    print(f"N = {n}: " + "; ".join(cells))
