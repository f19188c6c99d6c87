"""Times torch, orthogonium and onnxruntime on the CPU, and their peak memory: peers for timing.

    python speed.py --threads 2 --repeats 5 --json speed.json
    python speed.py --only 'step 64' memory --model ../../../shared/models/kvasir_s_released

Needs Linux, numpy, torch, onnx, onnxruntime, orthogonium 0.0.4 with einops, `lipnet.py` beside it,
MODEL.graph.json and MODEL.onnx. Wall time, after warm-up; a sample is as many calls as fill 50 ms.
A step, batch 8, chance pictures: forward with its parametrisation, loss, backward, AdamW; the
parametrisation alone: all weights, forward and backward. Inference, batch 1: weights of the file,
logits compared. Convolutions: 2 x MACs, no bias; dx and dw are the gradients of input and weight.
Memory: the peak of a fresh process that makes two runs, and how far that is above its set-up.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import numpy as np

# torch and onnxruntime are imported where used: neither is to count in the other's memory

MODEL = Path(__file__).resolve().parents[2].parent / "shared" / "models" / "kvasir_s_released"
SAMPLE_MS, BATCH, TEMPERATURE, LEARNING_RATE = 50, 8, 8.0, 1e-3
AGREE = 1e-3  # absolute, f32 logits of some units; about 1e-5 is usual
IN_MEMORY = ("LipNet step 128", "twin step 128", "ORT 1024", "torch NCHW 1024", "torch NHWC 1024")
# name, then batch, in, out, kernel, stride, dilation, padding, height and width of the input
CONVOLUTIONS = (
    ("32->32 at 256", 1, 32, 32, 3, 1, 1, 1, 256),
    ("32->32 at 64, b8", 8, 32, 32, 3, 1, 1, 1, 64),
    ("64->64 at 32, b8", 8, 64, 64, 3, 1, 1, 1, 32),
    ("128->128 at 16, b8", 8, 128, 128, 3, 1, 1, 1, 16),
    ("128->128 at 64", 1, 128, 128, 3, 1, 1, 1, 64),
    ("128->128 at 64, dilation 4", 1, 128, 128, 3, 1, 4, 4, 64),
    ("128->128 at 16, dilation 6, b8", 8, 128, 128, 3, 1, 6, 6, 16),
    ("512->512 at 32", 1, 512, 512, 3, 1, 1, 1, 32),
    ("32->64 stride 2 at 128, b8", 8, 32, 64, 3, 2, 1, 1, 128),
    ("3->32 stride 2 at 128, b8", 8, 3, 32, 3, 2, 1, 1, 128),
    ("1x1 256->256 at 128", 1, 256, 256, 1, 1, 1, 0, 128),
    ("transposed 2x2 64->32 at 32, b8", 8, 64, 32, 2, 2, 1, 0, 32),
)
Run = tuple[Callable[[], object], float, str]  # what is timed; how much of which unit x s it does


def train(orthogonal: bool, side: int, args: argparse.Namespace) -> Run:
    """A training step; for side 0 the parametrisation alone."""
    import lipnet
    import torch

    torch.set_num_threads(args.threads)
    network = lipnet.Network(args.model, lipnet.AOC if orthogonal else lipnet.PLAIN)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    images, labels = torch.rand(BATCH, 3, side, side), torch.randint(0, 2, (BATCH, side, side))

    def run() -> None:
        optimizer.zero_grad()
        if not side:
            return sum(layer.weight.sum() for layer in network.layers()).backward()
        torch.nn.functional.cross_entropy(TEMPERATURE * network(images), labels).backward()
        return optimizer.step()

    return run, BATCH if side else 1, "images/s" if side else "/s"


def infer(layout: str, side: int, args: argparse.Namespace) -> Run:
    """With torch in that memory format, or with onnxruntime."""
    image = np.random.default_rng(0).random((1, 3, side, side), dtype=np.float32)
    if not layout:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = args.threads, 1
        session = onnxruntime.InferenceSession(f"{args.model}.onnx", options)
        return lambda: session.run(None, {"input": image})[0], 1, "images/s"
    import lipnet
    import torch

    torch.set_num_threads(args.threads)
    how = {"memory_format": getattr(torch, layout)}
    network = lipnet.Network(args.model, lipnet.PLAIN, lipnet.stored(args.model)).eval().to(**how)
    image, forward = torch.from_numpy(image).contiguous(**how), torch.inference_mode()(network)
    return lambda: forward(image).numpy(), 1, "images/s"


def convolve(shape: tuple, what: str, args: argparse.Namespace) -> Run:
    import torch

    torch.set_num_threads(args.threads)
    name, batch, inside, outside, kernel, stride, dilation, padding, side = shape
    transposed = name.startswith("transposed")
    x = torch.randn(batch, inside, side, side)
    weight = torch.randn(*((inside, outside) if transposed else (outside, inside)), kernel, kernel)
    how = (None, [stride] * 2, [padding] * 2, [dilation] * 2, transposed, [0, 0], 1)
    run = partial(torch.ops.aten.convolution, x, weight, *how)
    grad = torch.randn_like(run())
    # the whole kernel meets each pixel of the output, or of the input where transposed
    gflop = 2e-9 * weight.numel() * batch * (x if transposed else grad)[0, 0].numel()
    if what != "forward":
        mask = [what == "dx", what == "dw", False]
        run = partial(torch.ops.aten.convolution_backward, grad, x, weight, *how, mask)
    return run, gflop, "GFLOP/s"


def cases() -> dict[str, Callable[[argparse.Namespace], Run]]:
    table = {"parametrisation of LipNet": partial(train, True, 0)}
    for side in (64, 128):
        table[f"LipNet step {side}"] = partial(train, True, side)
        table[f"twin step {side}"] = partial(train, False, side)
    for side in (256, 512, 1024):
        table[f"ORT {side}"] = partial(infer, "", side)
        table[f"torch NCHW {side}"] = partial(infer, "contiguous_format", side)
        table[f"torch NHWC {side}"] = partial(infer, "channels_last", side)
    for shape in CONVOLUTIONS:
        for what in ("forward", "dx", "dw"):
            table[f"{shape[0]}: {what}"] = partial(convolve, shape, what)
    return table


def measure(run: Run, repeats: int) -> dict[str, float]:
    (call, amount, unit), times, calls = run, [], 1
    call()
    for _ in range(repeats + 1):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        times.append((time.perf_counter() - start) / calls * 1e3)
        calls = int(SAMPLE_MS / times[0]) + 1  # the first sample only sizes the others
    median = float(np.median(times[1:]))
    return {"ms": median, "ms least": min(times[1:]), unit: amount / median * 1e3}


def size(key: str) -> float:
    """MB of this process; not getrusage, where a child's peak starts at its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1.024e-3


def memory(name: str, args: argparse.Namespace) -> dict[str, float]:
    call, *_ = cases()[name](args)
    before = size("VmRSS")
    for _ in range(2):  # AdamW makes its moments at the end of the first
        call()
    return {"MB": size("VmHWM"), "MB above set-up": size("VmHWM") - before}


def facts(args: argparse.Namespace) -> dict[str, object]:
    import lipnet

    cpu = [x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")]
    found = {"cpu": cpu[0].split(": ")[1] if cpu else "?", "python": sys.version.split()[0]}
    found |= {name: version(name) for name in ("torch", "onnxruntime", "orthogonium")}
    layers = lipnet.Network(args.model, lipnet.AOC).layers()
    raw = [p for x in layers for k, p in x.named_parameters() if k != "bias" and p.requires_grad]
    sizes = len(layers), sum(x.weight.numel() for x in layers), sum(p.numel() for p in raw)
    found["LipNet"] = "{} weights of {} entries from {} parameters".format(*sizes)
    return found | {"threads": args.threads, "repeats": args.repeats}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5, help="samples of each case")
    parser.add_argument("--model", type=Path, default=MODEL, help="path without extension")
    parser.add_argument("--only", nargs="+", default=[""], help="rows whose name has one of these")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    args = parser.parse_args()
    table, report, rows, logits = cases(), facts(args), {}, {}
    print(*(f"{key}: {value}" for key, value in report.items()), "", sep="\n")
    for name in [*table, *(f"memory: {name}" for name in IN_MEMORY)]:
        if not any(word in name for word in args.only):
            continue
        if name not in table:
            with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
                row = fresh.submit(memory, name.removeprefix("memory: "), args).result()
        else:
            run = table[name](args)
            row, answer = measure(run, args.repeats), run[0]()
            if isinstance(answer, np.ndarray):
                gap = abs(answer - logits.setdefault(answer.shape, answer)).max()
                row["logits gap"] = float(gap)
                if not gap <= AGREE:  # not >: NaN is too large
                    sys.exit(f"{name}: logits differ by {gap:.1e}")
        cells = (f"{x:10.2e} {k}" if "gap" in k else f"{x:10.2f} {k:8}" for k, x in row.items())
        print(f"{name:42}", *cells, flush=True)
        rows[name] = row
    if args.json:
        args.json.write_text(json.dumps(report | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
