"""The statistics of a smoothed picture in Rust beside the same in Python, in one run: prints a Markdown table.

    python smoothing.py                     # needs cargo, numpy, scipy; Linux for the memory
    python smoothing.py --part table        # one side alone, as JSON; table, naive or noise

1024x2048 pixels, n0 = 10 label maps that choose the classes, n = 100 that test them, 19 classes, tau = 0.75,
alpha = 0.001, Holm; one thread. The maps are those of `crates/cert/examples/smoothing_speed.rs`, and the certified
pixels must agree. Written here from the paper, not taken from anywhere:

    table   numpy on u8 maps: classes by counting, votes by comparing, p of the 101 counts, Holm by histogram
    naive   for each pixel `numpy.bincount` and `scipy.stats.binomtest`, Holm by sorting p; on --pixels of them, the
            time extrapolated to the whole picture: labelled so, and no claim about any program

The noise of one sample of a picture of that size, three channels, beside PyTorch's (`noise`; left out without torch), by the
processor time of one thread; ours are those of `crates/net/examples/noise.rs`.

Each side runs in a process of its own. Memory: the peak of that process, and beyond what the maps take.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = ["cargo", "run", "--release", "-q", "-p", "certiseg-cert", "--example", "smoothing_speed", "--", "--json"]
OUR_NOISE = ["cargo", "run", "--release", "-q", "-p", "certiseg-net", "--example", "noise"]
PIXELS, CLASSES, CHOOSE, TEST, TAU, ALPHA = 1024 * 2048, 19, 10, 100, 0.75, 0.001


def scramble(a, b):
    """`hash` of smoothing_speed.rs, in u32."""
    import numpy as np

    x = a * np.uint32(0x9E3779B9) ^ b * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def maps(pixels: int):
    """Label maps u8 [CHOOSE + TEST, pixels]: the first pixels of those of smoothing_speed.rs."""
    import numpy as np

    np.seterr(over="ignore")
    at = np.arange(pixels, dtype=np.uint32)
    of = lambda key: scramble(at, np.uint32(key))
    u = of(77).astype(np.float64) / 0xFFFFFFFF
    kind = of(99) % np.uint32(20)
    p = np.where(kind < 15, 1.0 - (1.0 - u ** (1.0 / 200.0)), np.where(kind < 18, 1.0 - 0.18 * u, 0.3 + 0.6 * u))
    right = (p * 65535.0).astype(np.uint16)
    true = at // np.uint32(64) % np.uint32(CLASSES)
    labels = np.empty((CHOOSE + TEST, pixels), np.uint8)
    for sample, row in enumerate(labels):
        chance = of(sample + 1000)
        wrong = (true + (chance >> np.uint32(16)) % np.uint32(CLASSES - 1) + np.uint32(1)) % np.uint32(CLASSES)
        row[:] = np.where((chance & np.uint32(0xFFFF)) <= right, true, wrong)
    return labels


def holm(counts, table):
    """The least count that is certified: p <= alpha / (pixels left), from n down."""
    import numpy as np

    histogram, left, least = np.bincount(counts, minlength=TEST + 1), counts.size, None
    for count in range(TEST, -1, -1):
        if histogram[count] and table[count] > ALPHA / left:
            break
        if histogram[count]:
            least, left = count, left - histogram[count]
    return least


def by_table(samples):
    import numpy as np
    from scipy.stats import binom

    start = time.perf_counter()
    votes = np.zeros(samples.shape[1], np.uint8)
    guess = np.zeros(samples.shape[1], np.uint8)
    for label in range(CLASSES):
        of = (samples[:CHOOSE] == label).sum(0, dtype=np.uint8)
        more = of > votes
        votes[more], guess[more] = of[more], label
    chosen = time.perf_counter()
    counts = np.zeros(samples.shape[1], np.uint8)
    for row in samples[CHOOSE:]:
        counts += row == guess
    counted = time.perf_counter()
    table = binom.sf(np.arange(TEST + 1) - 1, TEST, TAU)
    p = table[counts]
    least = holm(counts, table)
    classes = np.where(counts >= (TEST + 1 if least is None else least), guess, 254).astype(np.uint8)
    end = time.perf_counter()
    times = {"choose_ms": chosen - start, "test_ms": counted - chosen, "decide_ms": end - counted, "all_ms": end - start}
    return {key: 1e3 * value for key, value in times.items()}, int((classes != 254).sum()), p


def naive(samples):
    import numpy as np
    from scipy.stats import binomtest

    samples = samples.astype(np.int64)
    start = time.perf_counter()
    p = np.empty(samples.shape[1])
    for i, column in enumerate(samples.T):
        guess = np.bincount(column[:CHOOSE]).argmax()
        count = int((column[CHOOSE:] == guess).sum())
        p[i] = binomtest(count, TEST, TAU, alternative="greater").pvalue
    order = np.argsort(p)
    passed = p[order] <= ALPHA / np.arange(p.size, 0, -1)
    certified = p.size if passed.all() else int(np.argmin(passed))
    return {"all_ms": 1e3 * (time.perf_counter() - start)}, certified, p


def noise() -> dict:
    import torch

    torch.set_num_threads(1)
    picture = torch.randint(0, 256, (3, PIXELS), dtype=torch.uint8)
    clean = picture.float() / 255
    ways = {
        "torch.randn": lambda: torch.randn_like(clean),
        "torch, x + sigma·randn of a picture in f32": lambda: clean + 0.25 * torch.randn_like(clean),
        "torch, the same from bytes": lambda: picture.float() / 255 + 0.25 * torch.randn_like(clean),
    }
    times = {}
    for name, way in ways.items():
        runs = []
        for _ in range(15):
            start = time.process_time()
            way()
            runs.append(1e3 * (time.process_time() - start))
        times[name] = statistics.median(runs)
    return {"times": times, "versions": f"torch {torch.__version__}"}


def beside_torch(itself: list[str]) -> None:
    print("$", *OUR_NOISE[1:], file=sys.stderr)
    done = subprocess.run(OUR_NOISE, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    ours = {}
    for line in done.stdout.splitlines()[1:]:
        name, median, *_ = line.rsplit(None, 4)
        ours[name.strip()] = float(median)
    try:
        theirs = run([*itself, "--part", "noise"])
    except subprocess.CalledProcessError:
        print("\nnoise: no torch, nothing to compare with")
        return
    print("\n| noise of one sample, 1024x2048x3, one thread, processor time, medians of 15 | ms |")
    print("|---|---|")
    rows = {f"ours, {name}": value for name, value in ours.items()} | theirs["times"]
    for name, value in rows.items():
        print(f"| {name} | {value:.1f} |")
    print(f"\n{theirs['versions']}; load {os.getloadavg()[0]:.1f}")


def status(key: str) -> int:
    """A line of /proc/self/status, in KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise KeyError(key)


def part(name: str, pixels: int, runs: int) -> dict:
    work, samples = (by_table, maps(PIXELS)) if name == "table" else (naive, maps(pixels))
    import scipy.stats  # noqa: F401  # loaded before the memory is read

    Path("/proc/self/clear_refs").write_text("5")  # the peak is set back to what is in use
    before = status("VmRSS")
    times, certified, _ = work(samples)
    peak = status("VmHWM")
    all_times = [times, *(work(samples)[0] for _ in range(runs - 1))]
    median = {key: statistics.median(one[key] for one in all_times) for key in times}
    import numpy
    import scipy

    return {
        **median,
        "pixels": samples.shape[1],
        "certified": certified,
        "process_mb": peak * 1024 / 1e6,
        "beyond_mb": (peak - before) * 1024 / 1e6,
        "versions": f"numpy {numpy.__version__}, scipy {scipy.__version__}",
    }


def run(command: list[str]) -> dict:
    print("$", *command[1:], file=sys.stderr)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **threads})
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("table", "naive", "noise"))
    parser.add_argument("--pixels", type=int, default=16384, help="of the naive side")
    parser.add_argument("--runs", type=int, default=3, help="of the table side, whose median counts")
    args = parser.parse_args()
    if args.part == "noise":
        print(json.dumps(noise()))
        return
    if args.part:
        print(json.dumps(part(args.part, args.pixels, args.runs if args.part == "table" else 1)))
        return
    itself = [sys.executable, str(Path(__file__).resolve()), "--pixels", str(args.pixels), "--runs", str(args.runs)]
    load = os.getloadavg()[0]
    # before and after the peers, so that a machine that slows down shows
    before = run(OURS)
    table, slow = (run([*itself, "--part", name]) for name in ("table", "naive"))
    after = run(OURS)
    ours = max(before, after, key=lambda one: one["all_ms"])
    share = table["certified"] / PIXELS
    if abs(share - ours["certified"]) > 1e-4:
        sys.exit(f"the two sides disagree: {share} and {ours['certified']} certified")
    whole = slow["all_ms"] * PIXELS / slow["pixels"]
    print("| 1024x2048, n0 = 10, n = 100, 19 classes, one thread | time | times ours | memory beyond the label maps | process |")
    print("|---|---|---|---|---|")
    print(f"| ours, maps streamed | {ours['all_ms']:.1f} ms | 1 | {ours['memory_mb']} MB | |")
    print(f"| numpy, p by table, 110 maps in memory ({(CHOOSE + TEST) * PIXELS / 1e6:.0f} MB) | {table['all_ms']:.0f} ms | {table['all_ms'] / ours['all_ms']:.1f} | {table['beyond_mb']:.0f} MB | {table['process_mb']:.0f} MB |")
    print(f"| naive: scipy for each pixel, extrapolated from {slow['pixels']} pixels ({slow['all_ms'] / 1e3:.1f} s) | {whole / 1e3:.0f} s | {whole / ours['all_ms']:.0f} | | |")
    print(f"\nours: choose {ours['choose_ms']:.1f}, test {ours['test_ms']:.1f}, decide {ours['decide_ms']:.1f} ms; the slower of {before['all_ms']:.1f} and {after['all_ms']:.1f}")
    print(f"numpy: choose {table['choose_ms']:.0f}, test {table['test_ms']:.0f}, decide {table['decide_ms']:.1f} ms; {100 * share:.2f} % certified by both")
    print(f"{table['versions']}; load {load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end, {os.cpu_count()} cores")
    beside_torch(itself)


if __name__ == "__main__":
    main()
