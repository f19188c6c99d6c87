"""Milliseconds of PointNet++ passes in PyTorch, one cloud of 2048 points: what
`cargo run --release -p certiseg-net --example clouds` is compared with. One thread.

Operators as the usual programs have them: distances by a matrix product, balls by sorting indices.
"""

import time

import numpy as np
import torch
from torch import nn

torch.set_num_threads(1)
torch.manual_seed(0)
POINTS, REPEATS = 2048, 9


def squares(a, b):
    return (a**2).sum(-1)[:, None] + (b**2).sum(-1)[None, :] - 2 * a @ b.T


def farthest(points, count):
    chosen = torch.zeros(count, dtype=torch.long)
    nearest = torch.full((len(points),), 1e10)
    at = int(torch.randint(0, len(points), (1,)))
    for i in range(count):
        chosen[i] = at
        nearest = torch.minimum(nearest, ((points - points[at]) ** 2).sum(-1))
        at = int(nearest.argmax())
    return chosen


def balls(points, centres, radius, most):
    index = torch.arange(len(points)).repeat(len(centres), 1)
    index[squares(centres, points) > radius**2] = len(points)
    index = index.sort(dim=-1)[0][:, :most]
    first = index[:, :1].expand(-1, most)
    return torch.where(index == len(points), first, index)


def mlp(width, widths):
    layers = []
    for out in widths:
        layers += [nn.Conv1d(width, out, 1), nn.BatchNorm1d(out), nn.ReLU()]
        width = out
    return nn.Sequential(*layers).eval()


class Up(nn.Module):
    def __init__(self, centres, width, scales):
        super().__init__()
        self.centres, self.scales = centres, scales
        self.layers = nn.ModuleList(mlp(width + 3, widths) for _, _, widths in scales)

    def forward(self, points, features):
        centre = points[farthest(points, self.centres)]
        made = []
        for (radius, most, _), layers in zip(self.scales, self.layers):
            index = balls(points, centre, radius, most)
            x = torch.cat([points[index] - centre[:, None], features[index]], -1)
            y = layers(x.reshape(1, -1, x.shape[-1]).transpose(1, 2))
            made.append(y.reshape(y.shape[1], len(centre), most).max(-1)[0].T)
        return centre, torch.cat(made, -1)


def down(layers, fine, coarse, skip, features):
    if len(coarse) == 1:
        between = features.repeat(len(fine), 1)
    else:
        distance, index = squares(fine, coarse).sort(dim=-1)
        weight = 1 / (distance[:, :3] + 1e-8)
        weight = weight / weight.sum(-1, keepdim=True)
        between = (features[index[:, :3]] * weight[..., None]).sum(1)
    return layers(torch.cat([skip, between], -1).T[None])[0].T


class PointNet2(nn.Module):
    def __init__(self, first, second, last, categories=5, parts=13):
        super().__init__()
        made = [sum(widths[-1] for _, _, widths in scales) for scales in (first, second)]
        self.up1, self.up2 = Up(512, 3, first), Up(128, made[0], second)
        self.top = mlp(made[1] + 3, [256, 512, 1024])
        self.down3, self.down2 = mlp(made[1] + 1024, [256, 256]), mlp(made[0] + 256, [256, 128])
        self.down1 = mlp(128 + categories + 6, last)
        self.head = nn.Sequential(mlp(128, [128]), nn.Conv1d(128, parts, 1))
        self.categories = categories

    def forward(self, points):
        p1, f1 = self.up1(points, points)
        p2, f2 = self.up2(p1, f1)
        f3 = self.top(torch.cat([p2, f2], -1).T[None]).max(-1)[0]
        f2 = down(self.down3, p2, torch.zeros(1, 3), f2, f3)
        f1 = down(self.down2, p1, p2, f1, f2)
        skip = torch.cat([torch.zeros(len(points), self.categories), points, points], -1)
        return self.head(down(self.down1, points, p1, skip, f1).T[None])


SSG = ([(0.2, 32, [64, 64, 128])], [(0.4, 64, [128, 128, 256])], [128, 128, 128])
MSG = (
    [(0.1, 32, [32, 32, 64]), (0.2, 64, [64, 64, 128]), (0.4, 128, [64, 96, 128])],
    [(0.4, 64, [128, 128, 256]), (0.8, 128, [128, 196, 256])],
    [128, 128],
)

with torch.no_grad():
    for name, plan in (("SSG", SSG), ("MSG", MSG)):
        network = PointNet2(*plan)
        times = []
        for _ in range(REPEATS):
            points = torch.randn(POINTS, 3)
            points /= points.norm(dim=-1, keepdim=True)
            start = time.perf_counter()
            network(points)
            times.append(1e3 * (time.perf_counter() - start))
        print(f"PointNet++ {name}, PyTorch {torch.__version__}, one thread: {np.median(times):.1f} {min(times):.1f}")
