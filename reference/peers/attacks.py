"""Our attacks and those of a public library on one exported network: a Markdown table.

python3 attacks.py NAME.onnx [--methods pdgd,pdpgd,dag,asma] [--json FILE]
python3 attacks.py NAME.onnx --saved DIR --rows rows.jsonl

Reads NAME.onnx and, beside it, NAME.attacks.safetensors of the example `attack_pairs`. Needs numpy,
torch, onnx2torch and, for the library's own attacks, adv-lib 0.2.8. Network, gradients and attacks
are then code that nobody here wrote. Checked:

1. logits are ours to 1e-4 of the largest, the class is the same on 99.99 % of the pixels;
2. our attacked pictures are in the box and within eps in f64, and have the count of wrong pixels that we
   say (pixels may differ whose two best logits are closer than the logits' difference);
3. no picture, ours or the library's, has more wrong pixels than the certificate allows;
4. singular values of the Jacobian at the pictures, by power iteration, are below the claimed constant
   (from below: no proof).

Exit status 1 where one fails. The library's attacks are run picture by picture with the goal that the
certificate sets at eps and shrunk to it, as in paper 001. The second form takes the pictures that `certiseg
attack --save DIR --out OUT` saved for the criterion accuracy, and its OUT/rows.jsonl: budgets, lengths, box, a
rectangle of --region, counts (but for pixels whose two best logits are closer than errors of f32), and certificates
where the accuracy was a metric too. Its logits are of f64, as certificates are of the exact function.
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx2torch
import torch
from torch import Tensor

LOGITS, SAME, VOID = 1e-4, 0.9999, 255
ORDERS = 2  # times the error of torch's f32 is what ours may have: the same sums in another order
TYPES = {"F32": np.float32, "F64": np.float64, "I64": np.int64, "U8": np.uint8}


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors of a safetensors file and what it says of itself."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    about = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        values = np.frombuffer(content[start + first : start + last], dtype=TYPES[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"])
    return tensors, about


def library(steps: int) -> dict[str, Callable]:
    """The library's attacks with the settings of our attacks of the same names."""
    # imported by the library for plots, and does not build everywhere
    sys.modules.setdefault("visdom", types.ModuleType("visdom")).Visdom = object
    from adv_lib.attacks.segmentation import asma, dag, pdgd, pdpgd

    return {
        "pdgd": lambda *a, **k: pdgd(*a, num_steps=steps, primal_lr=0.01, **k),
        "pdpgd": lambda *a, **k: pdpgd(*a, norm=2, num_steps=steps, primal_lr=0.01, **k),
        "dag": lambda *a, **k: dag(*a, max_iter=steps, p=2, γ=0.05, **k),
        "asma": lambda *a, **k: asma(*a, num_steps=steps, **k),
    }


def length(change: np.ndarray, norm: str) -> float:
    """In f64."""
    change = change.astype(np.float64)
    return float(np.abs(change).max() if norm == "inf" else np.linalg.norm(change))


def outside(region: str | None, change: np.ndarray) -> int:
    """Numbers changed outside of X,Y,WIDTH,HEIGHT; masks are not looked at."""
    if region is None or not re.fullmatch(r"\d+(,\d+){3}", region):
        return 0
    x, y, width, height = map(int, region.split(","))
    free = np.ones(change.shape[1:], dtype=bool)
    free[y : y + height, x : x + width] = False
    return int((change[:, free] != 0).sum())


class Taken:
    """The wrong pixels of pictures in f64, and how many of all are too near to a tie for f32 to tell."""

    def __init__(self, model: Path) -> None:
        self.net = onnx2torch.convert(str(model)).eval().requires_grad_(False)
        self.exact = copy.deepcopy(self.net).double()

    def wrong(self, picture: np.ndarray, labels: np.ndarray) -> tuple[int, int]:
        with torch.no_grad():
            plain = self.net(torch.tensor(picture)[None])[0]
            logits = self.exact(torch.tensor(picture).double()[None])[0]
        error = float((plain.double() - logits).abs().max())
        best, classes = logits.topk(2, 0)
        valid = labels != VOID
        # each of the two may be off by that much
        ties = (best[0] - best[1]).numpy() <= 2 * ORDERS * error
        return int(((classes[0].numpy() != labels) & valid).sum()), int((ties & valid).sum())


def saved(model: Path, folder: Path, rows: Path) -> list[str]:
    """What is wrong with saved pictures, taken again in torch."""
    net = Taken(model)
    head, *lines = (json.loads(line) for line in rows.read_text().splitlines())
    settings, said, certified = head["settings"], {}, {}
    if "accuracy" not in settings["criteria"]:
        return ["the accuracy was not attacked"]
    for row in lines:
        if row["kind"] == "attacks" and row["criterion"] == "accuracy":
            said[row["image"], row["eps"]] = row["adversarial"]
        elif row["kind"] == "attack" and row["metric"] == "accuracy":
            certified[row["image"], row["eps"]] = row["certified"]
    failures, wrongs, near, images = [], 0, 0, {image for image, _ in said}
    for image in sorted(images):
        # as the program names its files
        name = re.sub(r"[/\\:]", "__", image)
        with np.load(folder / f"{name}.npz") as arrays:
            clean, labels, attacked, budgets = (arrays[name] for name in ("clean", "labels", "attacked", "eps"))
        if budgets.tolist() != settings["eps"]:
            failures.append(f"{image}: saved within {budgets.tolist()}, {settings['eps']} said")
        of = attacked[settings["criteria"].index("accuracy")]
        for eps, picture in zip(settings["eps"], of, strict=True):
            if (image, eps) not in said:
                continue
            change = picture.astype(np.float64) - clean
            distance = length(change, settings["norm"])
            (wrong, ties), valid = net.wrong(picture, labels), int((labels != VOID).sum())
            wrongs, near = wrongs + wrong, near + ties
            inside = picture.min() >= 0 and picture.max() <= 1
            inside = inside and outside(settings.get("region"), change) == 0
            if not distance <= eps or not inside or abs(wrong - said[image, eps]) > ties:
                told = f"{wrong} wrong, {said[image, eps]} said, {ties} nearly tied"
                failures.append(f"{image}, eps {eps}: {distance}, {told}")
            least = certified.get((image, eps))
            if least is not None and (valid - wrong) / valid < least:
                failures.append(f"{image}, eps {eps}: {wrong} of {valid} wrong BEAT THE CERTIFICATE of {least}")
    print(f"{len(said)} saved pictures of {len(images)}, {wrongs} wrong pixels, {near} nearly tied")
    return failures if said else ["no rows of kind attacks for the criterion accuracy"]


class Check:
    """A network in torch, pictures with labels, and what is found wrong."""

    def __init__(self, model: Path) -> None:
        self.ours, self.about = read(model.with_suffix(".attacks.safetensors"))
        self.net = onnx2torch.convert(str(model)).eval().requires_grad_(False)
        self.images = torch.tensor(self.ours["image"])
        self.labels = torch.tensor(self.ours["labels"].astype(np.int64))
        self.eps = self.ours["eps"]
        self.failures: list[str] = []

    def expect(self, holds: bool, what: str) -> None:
        if not holds:
            self.failures.append(what)

    def wrong(self, at: int, image: Tensor) -> tuple[int, float]:
        """Wrong pixels, and the smallest gap of the two best logits."""
        with torch.no_grad():
            logits = self.net(image[None])[0]
        valid = self.labels[at] != VOID
        best = logits.topk(2, 0).values
        gap = (best[0] - best[1])[valid].min()
        return int(((logits.argmax(0) != self.labels[at]) & valid).sum()), float(gap)

    def logits(self) -> str:
        with torch.no_grad():
            found = torch.cat([self.net(image[None]) for image in self.images])
        expected = torch.tensor(self.ours["logits"])
        gap = float((found - expected).abs().max() / expected.abs().max())
        same = float((found.argmax(1) == expected.argmax(1)).double().mean())
        self.expect(gap <= LOGITS and same >= SAME, f"logits: {gap:.1e}, same class {same:.6f}")
        self.gap = float((found - expected).abs().max())
        return f"logits differ by {gap:.1e} of the largest, same class on {100 * same:.4f} % of the pixels"

    def attacked(self, name: str) -> tuple[np.ndarray, int]:
        """Our pictures of an attack in torch: wrong pixels, and by how many they differ from ours."""
        pictures, ours = self.ours[f"attacked.{name}"], self.ours[f"wrong.{name}"]
        found = np.zeros_like(ours)
        for at, budget in np.ndindex(*ours.shape):
            image, clean = pictures[at, budget], self.ours["image"][at]
            what = f"our {name}, picture {at}, eps {self.eps[budget]}"
            change = image.astype(np.float64) - clean.astype(np.float64)
            self.expect(np.sqrt((change**2).sum()) <= self.eps[budget], f"{what}: beyond eps")
            self.expect(image.min() >= 0 and image.max() <= 1, f"{what}: outside the box")
            count, gap = self.wrong(at, torch.tensor(image))
            allowed = 2 if gap < 2 * self.gap else 0
            self.expect(abs(count - ours[at, budget]) <= allowed, f"{what}: {count} wrong pixels")
            self.judge(what, count, at, budget)
            found[at, budget] = count
        return found, int(np.abs(found - ours).max())

    def judge(self, what: str, count: int, at: int, budget: int) -> None:
        most = self.ours["certified"][at, budget]
        self.expect(count <= most, f"{what}: {count} wrong pixels BEAT THE CERTIFICATE of {most}")

    def public(self, name: str, attack: Callable) -> np.ndarray:
        """The library's attack, shrunk to every eps: wrong pixels."""
        found = np.zeros_like(self.ours["certified"])
        for at, budget in np.ndindex(*found.shape):
            image, labels = self.images[at : at + 1], self.labels[at : at + 1]
            masks = labels != VOID
            share = float(self.ours["certified"][at, budget]) / int(masks.sum())
            with torch.enable_grad():
                attacked = attack(self.net, image, labels, masks=masks, adv_threshold=share)
            change = attacked[0].double() - image[0].double()
            scale = min(1.0, self.eps[budget] * (1 - 1e-6) / max(float(change.norm()), 1e-12))
            shrunk = (image[0].double() + scale * change).float()
            moved = float((shrunk.double() - image[0].double()).norm())
            self.expect(moved <= self.eps[budget], f"the library's {name}, picture {at}: beyond eps after rounding")
            count, _ = self.wrong(at, shrunk)
            count = max(count, self.wrong(at, image[0])[0])
            self.judge(f"the library's {name}, picture {at}, eps {self.eps[budget]}", count, at, budget)
            found[at, budget] = count
        return found

    def constant(self, rounds: int = 30) -> str:
        claimed, largest = float(self.about["lipschitz"]), 0.0
        for image in self.images:
            step = torch.randn_like(image)
            for _ in range(rounds):
                step /= step.norm()
                _, moved = torch.func.jvp(self.net, (image[None],), (step[None],))
                _, pull = torch.func.vjp(self.net, image[None])
                step = pull(moved)[0][0]
            largest = max(largest, float(moved.norm()))
        self.expect(largest <= claimed, f"singular value {largest} above the constant {claimed}")
        return f"largest singular value found {largest:.4f}, constant claimed {claimed:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--methods", default="pdgd,pdpgd,dag,asma", help="of the library")
    parser.add_argument("--json", type=Path, help="counts, picture by picture")
    parser.add_argument("--saved", type=Path, help="folder of certiseg attack --save")
    parser.add_argument("--rows", type=Path, help="rows.jsonl of the same run")
    args = parser.parse_args()
    torch.manual_seed(0)
    if args.saved:
        failures = saved(args.model, args.saved, args.rows)
        print("; ".join(failures) or "lengths, box and counts are as said")
        sys.exit(bool(failures))
    check = Check(args.model)
    steps, ours = int(check.about["steps"]), check.ours
    print(f"{check.logits()}; {check.constant()}\n")
    clean = [check.wrong(at, image)[0] for at, image in enumerate(check.images)]
    report = {"eps": check.eps.tolist(), "clean": clean, "certified": ours["certified"].tolist()}
    print("| wrong pixels, all pictures | " + " | ".join(f"eps {eps:g}" for eps in check.eps) + " |")
    print("|---|" + "---|" * len(check.eps))

    def row(what: str, counts: np.ndarray) -> None:
        report[what] = counts.tolist()
        print(f"| {what} | " + " | ".join(str(n) for n in counts.sum(0)) + " |", flush=True)

    row("clean", np.array(clean)[:, None].repeat(len(check.eps), 1))
    row("certificate allows", ours["certified"])
    names = [name.removeprefix("wrong.") for name in ours if name.startswith("wrong.")]
    for name in sorted(names):
        found, gap = check.attacked(name)
        row(f"ours: {name} (re-evaluated; differs by {gap} at most)", found)
    try:
        attacks = library(steps)
    except ImportError as error:
        print(f"skipped: the library's attacks, {error}", file=sys.stderr)
        attacks = {}
    for name in args.methods.split(",") if attacks else []:
        start = time.perf_counter()
        row(f"library: {name}", check.public(name, attacks[name]))
        print(f"{name}: {time.perf_counter() - start:.1f} s", file=sys.stderr)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))
    print("\n" + ("\n".join(check.failures) or "nothing is wrong, and no certificate is beaten"))
    sys.exit(bool(check.failures))


if __name__ == "__main__":
    main()
