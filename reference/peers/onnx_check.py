"""Exported networks in onnxruntime and torch beside our own logits and gradients: a Markdown table.

python3 onnx_check.py FOLDER    needs numpy, and onnxruntime or torch with onnx2torch; skips what is absent.

FOLDER holds pairs NAME.onnx and NAME.safetensors. The second has, all f32, `image` (1, 3, H, W),
`logits` and `direction` (1, K, H, W), and `gradient` (1, 3, H, W) of <logits, direction> at the image.
Exit status 1 where a difference is larger than rounding explains.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

# relative to the largest entry; f32 sums of thousands of terms in other orders: up to 1e-6 is usual
LOGITS = 1e-5
# a gradient sums over all pixels and has more layers behind it
GRADIENT = 1e-4
SHAPES = {"image": 4, "logits": 4, "direction": 4, "gradient": 4}


def absent(what: str) -> None:
    print(f"skipped: {what} is not installed", file=sys.stderr)


try:
    import numpy as np
except ImportError:
    absent("numpy")
    sys.exit(0)
try:
    import onnxruntime
except ImportError:
    onnxruntime = None
    absent("onnxruntime")
try:
    import onnx2torch
    import torch
except ImportError:
    torch = None
    absent("torch or onnx2torch")


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file: length of the header, header in JSON, data."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    tensors = {}
    for name, ndim in SHAPES.items():
        entry = header.get(name)
        if entry is None or entry["dtype"] != "F32" or len(entry["shape"]) != ndim:
            sys.exit(f"{path}: tensor {name} is {entry}, expected F32 of {ndim} axes")
        first, last = entry["data_offsets"]
        values = np.frombuffer(content[start + first : start + last], dtype="<f4")
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def difference(got: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference over largest entry; infinite where shapes differ or a value is no number."""
    if got.shape != expected.shape or not np.isfinite(got).all():
        return float("inf")
    gap = np.abs(got.astype(np.float64) - expected).max()
    return float(gap / max(np.abs(expected).max(), np.finfo(np.float32).tiny))


def in_onnxruntime(model: Path, ours: dict[str, np.ndarray]) -> float:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"image": ours["image"]})
    return difference(logits, ours["logits"])


def in_torch(model: Path, ours: dict[str, np.ndarray]) -> tuple[float, float]:
    image = torch.tensor(ours["image"], requires_grad=True)
    logits = onnx2torch.convert(str(model)).eval()(image)
    expected = ours["direction"].shape
    if logits.shape != expected:
        return float("inf"), float("inf")
    (logits * torch.tensor(ours["direction"])).sum().backward()
    gradient = difference(image.grad.numpy(), ours["gradient"])
    return difference(logits.detach().numpy(), ours["logits"]), gradient


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    models = sorted(Path(sys.argv[1]).glob("*.onnx"))
    if not models:
        sys.exit(f"no .onnx files in {sys.argv[1]}")
    print("| network | onnxruntime: logits | torch: logits | torch: gradient |\n|---|---|---|---|")
    too_large = []
    for model in models:
        ours = read(model.with_suffix(".safetensors"))
        found = {}
        if onnxruntime:
            found["onnxruntime: logits"] = (in_onnxruntime(model, ours), LOGITS)
        if torch:
            logits, gradient = in_torch(model, ours)
            found["torch: logits"] = (logits, LOGITS)
            found["torch: gradient"] = (gradient, GRADIENT)
        columns = ["onnxruntime: logits", "torch: logits", "torch: gradient"]
        cells = [f"{found[column][0]:.1e}" if column in found else "-" for column in columns]
        print(f"| {model.stem} | " + " | ".join(cells) + " |")
        for column, (value, most) in found.items():
            # not <=: NaN is too large
            if not value <= most:
                too_large.append(f"{model.stem}, {column}: {value:.1e}, expected at most {most:.0e}")
    if too_large:
        sys.exit("\n".join(too_large))


if __name__ == "__main__":
    main()
