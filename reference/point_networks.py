"""Scores of PointNet and PointNet++ by their definitions, in f64 with numpy alone: the vectors of
crates/net/tests/vectors/point_networks.json. Usage: python3 point_networks.py OUT.json

Weights, points and normals are hashed from their place, multiples of powers of two that f32 holds exactly,
so that the file need not hold them: tensors are numbered as the layers come, each layer as kernel, bias and
(where it has a normalisation) gain, shift, mean, variance.
"""

import json
import sys

import numpy as np


def hashed(number, count):
    """Multiples of 2^-11 in [-1, 1)."""
    x = np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B9) + np.uint64(number) * np.uint64(0x3C6EF372)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x &= np.uint64(0xFFFFFFFF)
        x ^= x >> np.uint64(shift)
        x *= np.uint64(factor)
    x &= np.uint64(0xFFFFFFFF)
    x ^= x >> np.uint64(16)
    return (x % np.uint64(4096)).astype(np.float64) / 2048 - 1


class Layers:
    def __init__(self):
        self.tensors = 0

    def tensor(self, count):
        self.tensors += 1
        return hashed(self.tensors, count)

    def layer(self, x, out, norm=True, relu=True):
        """x is (points, channels)."""
        width = x.shape[1]
        # 2^-j with 2^j the power of two next below the root of the inputs
        kernel = self.tensor(out * width).reshape(out, width) * 2.0 ** -int(np.floor(np.log2(width) / 2))
        y = x @ kernel.T + self.tensor(out)
        if norm:
            gain, shift = 1 + self.tensor(out) / 4, self.tensor(out) / 4
            mean, variance = self.tensor(out) / 4, 1 + self.tensor(out) / 2
            y = (y - mean) / np.sqrt(variance + 1e-5) * gain + shift
        return np.maximum(y, 0) if relu else y

    def mlp(self, x, widths):
        for out in widths:
            x = self.layer(x, out)
        return x


def squares(a, b):
    d = a[:, None, :] - b[None, :, :]
    return d[..., 0] ** 2 + d[..., 1] ** 2 + d[..., 2] ** 2


def farthest(points, start, count):
    chosen, nearest = [], np.full(len(points), np.inf)
    for _ in range(count):
        chosen.append(start)
        nearest = np.minimum(nearest, squares(points, points[start : start + 1])[:, 0])
        start = int(np.argmax(nearest))
    return chosen


def balls(points, centres, radius, most):
    near = squares(centres, points) <= radius * radius
    groups = []
    for row in near:
        members = np.flatnonzero(row)[:most]
        groups.append(np.concatenate([members, np.repeat(members[:1], most - len(members))]))
    return np.array(groups)


def up(layers, points, features, start, centres, scales, features_first):
    centre = points[farthest(points, start, centres)]
    made = []
    for radius, most, widths in scales:
        group = balls(points, centre, radius, most)
        relative = points[group] - centre[:, None, :]
        parts = [features[group], relative] if features_first else [relative, features[group]]
        x = np.concatenate(parts, axis=2)
        y = layers.mlp(x.reshape(-1, x.shape[2]), widths)
        made.append(y.reshape(len(centre), most, -1).max(axis=1))
    return centre, np.concatenate(made, axis=1)


def down(layers, fine, coarse, skip, features, widths):
    if len(coarse) == 1:
        between = np.repeat(features, len(fine), axis=0)
    else:
        distance = squares(fine, coarse)
        index = np.argsort(distance, axis=1, kind="stable")[:, :3]
        weight = 1 / (np.take_along_axis(distance, index, axis=1) + 1e-8)
        weight /= weight.sum(axis=1, keepdims=True)
        between = (features[index] * weight[..., None]).sum(axis=1)
    return layers.mlp(np.concatenate([skip, between], axis=1), widths)


def hierarchical(case, points, normals, told):
    layers = Layers()
    if case["kind"] == "Ssg":
        first = [(0.2, 32, [64, 64, 128])]
        second = [(0.4, 64, [128, 128, 256])]
        last, features_first = [128, 128, 128], False
    else:
        first = [(0.1, 32, [32, 32, 64]), (0.2, 64, [64, 64, 128]), (0.4, 128, [64, 96, 128])]
        second = [(0.4, 64, [128, 128, 256]), (0.8, 128, [128, 196, 256])]
        last, features_first = [128, 128], True
    input = np.concatenate([points, normals], axis=1)
    p1, f1 = up(layers, points, input, case["start"], 512, first, features_first)
    p2, f2 = up(layers, p1, f1, 0, 128, second, features_first)
    f3 = layers.mlp(np.concatenate([p2, f2], axis=1), [256, 512, 1024]).max(axis=0, keepdims=True)
    f2 = down(layers, p2, np.zeros((1, 3)), f2, f3, [256, 256])
    f1 = down(layers, p1, p2, f1, f2, [256, 128])
    skip = np.concatenate([told, points, input], axis=1)
    f0 = down(layers, points, p1, skip, f1, last)
    return layers.layer(layers.layer(f0, 128), case["parts"], norm=False, relu=False)


def turn(layers, x, side):
    x = layers.mlp(x, [64, 128, 1024]).max(axis=0, keepdims=True)
    matrix = layers.layer(layers.mlp(x, [512, 256]), side * side, norm=False, relu=False)
    return matrix.reshape(side, side) + np.eye(side)


def pointnet(case, points, normals, told):
    layers = Layers()
    matrix = turn(layers, np.concatenate([points, normals], axis=1), 3)
    x1 = layers.layer(np.concatenate([points @ matrix, normals], axis=1), 64)
    x2 = layers.layer(x1, 128)
    x3 = layers.layer(x2, 128)
    x4 = layers.layer(x3 @ turn(layers, x3, 128), 512)
    x5 = layers.layer(x4, 2048, relu=False)
    most = np.repeat(x5.max(axis=0, keepdims=True), len(points), axis=0)
    x = np.concatenate([most, told, x1, x2, x3, x4, x5], axis=1)
    x = layers.mlp(x, [256, 256, 128])
    return layers.layer(x, case["parts"], norm=False, relu=False)


CASES = [
    dict(kind="Ssg", channels=3, categories=16, parts=50, points=700, category=4, start=333),
    dict(kind="Ssg", channels=6, categories=0, parts=4, points=60, category=0, start=59),
    dict(kind="Msg", channels=6, categories=5, parts=12, points=600, category=2, start=0),
    dict(kind="PointNet", channels=3, categories=16, parts=50, points=70, category=15, start=0),
    dict(kind="PointNet", channels=6, categories=2, parts=6, points=37, category=1, start=5),
]
SHOWN = 5


def main():
    rows = []
    for case in CASES:
        count = case["points"]
        points = hashed(1000, 3 * count).reshape(count, 3)
        normals = hashed(1001, 3 * count).reshape(count, 3)[:, : case["channels"] - 3]
        told = np.zeros((count, case["categories"]))
        if case["categories"]:
            told[:, case["category"]] = 1
        network = pointnet if case["kind"] == "PointNet" else hierarchical
        scores = network(case, points, normals, told)
        rows.append(dict(case, scores=scores[:SHOWN].tolist(), mean=float(scores.mean())))
    header = dict(
        title="scores of PointNet++ SSG and MSG and of PointNet",
        made_by="reference/point_networks.py, numpy " + np.__version__ + ", f64",
        fields=dict(
            points="number of points; coordinates are tensor 1000, normals tensor 1001, both (P, 3)",
            scores="of the first points, before the softmax",
            mean="of the scores of all points",
        ),
        tolerance="1e-10",
        count=len(rows),
    )
    with open(sys.argv[1], "w") as out:
        json.dump(dict(header=header, cases=rows), out, indent=1)
        out.write("\n")


main()
