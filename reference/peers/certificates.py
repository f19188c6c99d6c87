"""Times certificates of one picture in torch and numpy: the Python peer of `examples/speed.rs`.

    python certificates.py --threads 1 --json > peer.json
    python certificates.py --side 64 --runs 1 --floor

Needs numpy; torch is left out where it is missing. A peer for timing, never shipped, and no
certificate: f32 gaps, sums not rounded outwards, no logit error assumed, no void label.

The picture is that of `speed.rs`, bit for bit: 19 x side x side f32 logits, class first; L = 1,
p = 2. Flipping a pixel costs gap^2/2 of the budget eps^2; here gap^2 is set against 2 eps^2.
Four questions, each timed from the logits on:

    curve      accuracy: all flip budgets, then the flips at each eps
    q1         accuracy: the flips at one eps, sorting only what that budget can buy
    iou        class 1: the worst IoU at each eps, exact over all (lost, gained)
    all_ious   the same for all 19 classes, and the mean of those in the picture

`numpy` and `torch` find the two largest logits by partition and topk, and call the plain sort. The
`_tuned` ones keep a running maximum and runner-up, and torch sorts the gaps' bits as integers.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

try:
    import torch
except ImportError:
    torch = None

CLASSES, SQUARE, CLASS = 19, 32, 1
EPS, Q1_EPS = [0.0, 0.1, 0.5, 1.0, 2.0], 0.5
Array = Any  # an ndarray or a tensor


def picture(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits f32 [CLASSES, side * side] and labels u8 [side * side], as `picture` of speed.rs."""
    square = np.arange(side) // SQUARE
    labels = ((square[:, None] + square) % CLASSES).astype(np.uint8).ravel()
    noise = np.arange(CLASSES * labels.size, dtype=np.uint32) * np.uint32(2_654_435_761)
    noise = ((noise ^ (noise >> 15)) * np.uint32(2_246_822_519)) >> 8
    logits = noise.astype(np.float32).reshape(CLASSES, -1) / np.float32(1 << 24)
    logits[labels, np.arange(labels.size)] += np.float32(0.5)
    return logits, labels


@dataclass
class Peer:
    """The questions, in the functions that numpy and torch share and three that differ."""

    xp: Any
    logits: Array  # f32 [CLASSES, pixels]
    labels: Array  # u8 [pixels]
    rows: Array  # the labels as i64, made before the clock starts
    top2: Callable[[Array], Any] | None  # None: the running one
    sort: Callable[[Array], Array]  # ascending, of gaps >= 0
    take: Callable[[Array, Array], Array]

    def largest(self) -> tuple[Array, Array]:
        """The largest and the second largest logit of each pixel."""
        if self.top2:
            return tuple(self.top2(self.logits))
        xp, (one, two, *rest) = self.xp, self.logits
        first, second = xp.maximum(one, two), xp.minimum(one, two)
        lower = xp.empty_like(first)
        for plane in rest:
            xp.minimum(first, plane, out=lower)
            xp.maximum(second, lower, out=second)
            xp.maximum(first, plane, out=first)
        return first, second

    def prefix(self, gaps: Array) -> Array:
        """0, then the sums of the ascending squared gaps, f64."""
        squares = self.xp.asarray(self.sort(gaps), dtype=self.xp.float64)
        squares *= squares
        sums = self.xp.zeros(len(squares) + 1, dtype=self.xp.float64)
        self.xp.cumsum(squares, 0, out=sums[1:])
        return sums

    def count(self, sums: Array, budgets: Array) -> Array:
        """How many entries of `sums`, after its leading 0, each budget pays."""
        return self.xp.searchsorted(sums, budgets, side="right") - 1

    def accuracy_gaps(self) -> Array:
        (first, second), pixels = self.largest(), len(self.labels)
        at = self.rows * pixels + self.xp.arange(pixels)
        return (first - second) * (self.take(self.logits.reshape(-1), at) == first)

    def curve(self) -> list[int]:
        sums = self.prefix(self.accuracy_gaps())
        return [int(self.count(sums, 2 * eps * eps)) for eps in EPS]

    def q1(self) -> int:
        gaps, budget = self.accuracy_gaps(), 2 * Q1_EPS * Q1_EPS
        positive = gaps > 0
        for limit in (Q1_EPS * 2.0**n for n in range(-6, 2)):  # no gap above the last can be paid
            sums = self.prefix(gaps[positive & (gaps <= limit)])
            if sums[-1] > budget:
                break
        return len(gaps) - int(positive.sum()) + int(self.count(sums, budget))

    def class_iou(self, k: int, others: Array) -> list[tuple[int, int]]:
        """Worst (intersection, union) at each eps; `others` is the largest logit but that of k."""
        own, gap = self.labels == k, self.logits[k] - others
        size = int(own.sum())
        lose = self.prefix(gap[own].clip(min=0))
        gain = self.prefix((-gap[~own]).clip(min=0))
        worst = []
        for eps in EPS:
            budget = 2 * eps * eps
            lost = int(self.count(lose, budget)) + 1
            kept = size - self.xp.arange(lost)
            union = size + self.count(gain, budget - lose[:lost])
            at = int((kept / self.xp.asarray(union, dtype=self.xp.float64)).argmin()) if size else 0
            worst.append((int(kept[at]), int(union[at])))
        return worst

    def iou(self) -> list[tuple[int, int]]:
        below, above = (self.xp.amax(x, 0) for x in (self.logits[:CLASS], self.logits[CLASS + 1 :]))
        return self.class_iou(CLASS, self.xp.maximum(below, above))

    def all_ious(self) -> tuple[list[list[tuple[int, int]]], list[float]]:
        first, second = self.largest()
        others = (self.xp.where(plane == first, second, first) for plane in self.logits)
        ious = [self.class_iou(k, other) for k, other in enumerate(others)]
        present = [iou for k, iou in enumerate(ious) if (self.labels == k).any()]
        return ious, [statistics.fmean(a / b for a, b in x) for x in zip(*present, strict=True)]


def peers(logits: np.ndarray, labels: np.ndarray) -> dict[str, Peer]:
    arrays, second = (logits, labels, labels.astype(np.int64)), CLASSES - 2
    plain = Peer(np, *arrays, lambda x: np.partition(x, second, 0)[:-3:-1], np.sort, np.take)
    found = {"numpy": plain, "numpy_tuned": replace(plain, top2=None)}
    if torch:
        tensors, bits = map(torch.from_numpy, arrays), torch.int32
        plain = Peer(torch, *tensors, lambda x: x.topk(2, 0).values, torch.msort, torch.take)
        plain.take = lambda x, at: x.index_select(0, at)  # twice as fast as torch.take
        tuned = replace(plain, top2=None, sort=lambda x: x.view(bits).sort().values.view(x.dtype))
        found |= {"torch": plain, "torch_tuned": tuned}
    return found


def timed(name: str, runs: int, question: Callable[[], Any]) -> tuple[float, Any]:
    """Median milliseconds over `runs`, after one run to warm up, and the answer."""
    answer, times = question(), []
    for _ in range(runs):
        start = time.perf_counter()
        question()
        times.append((time.perf_counter() - start) * 1e3)
    median = statistics.median(times)
    print(f"{name:24} median {median:9.2f} ms, least {min(times):9.2f} ms", file=sys.stderr)
    return round(median, 3), answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=7, help="timed runs of each question")
    parser.add_argument("--side", type=int, default=1024, help="pixels; class 1 needs 33 or more")
    parser.add_argument("--floor", action="store_true", help="also time one read of the logits")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args()
    threads = {f"{x}_NUM_THREADS": str(args.threads) for x in ("OMP", "MKL", "OPENBLAS")}
    if os.environ | threads != os.environ:  # read when the libraries load: start again
        os.execve(sys.executable, sys.orig_argv, os.environ | threads)
    if torch:
        torch.set_num_threads(args.threads)
    logits, labels = picture(args.side)
    report: dict[str, Any] = {}
    if args.floor:
        reads = {"sum": logits.sum, "max": logits.max}
        report["floor"] = {n: timed(f"floor {n}", args.runs, f)[0] for n, f in reads.items()}
    answers: dict[str, Any] = {}
    for name, peer in peers(logits, labels).items():
        report[name] = {}
        for question in ("curve", "q1", "iou", "all_ious"):
            ms, answer = timed(f"{name} {question}", args.runs, getattr(peer, question))
            report[name][question] = ms
            if answers.setdefault(question, answer) != answer:
                sys.exit(f"{name} disagrees on {question}: {answer}, {answers[question]}")
    flips, one, iou, (ious, mean_iou) = answers.values()
    if one != flips[EPS.index(Q1_EPS)] or iou != ious[CLASS]:
        sys.exit(f"two ways to one answer differ: {answers}")
    report["results"] = {"flips": flips, "iou": iou, "mean_iou": mean_iou}
    versions = {x.__name__: x.__version__ for x in (np, torch) if x}
    report |= {"versions": versions, "threads": args.threads, "side": args.side}
    if args.json:
        print(json.dumps(report))


if __name__ == "__main__":
    main()
