"""Figure 3 of paper 001, ours: clean, certified and attacked values against eps, several attacks on the same images.

python3 attack_figure.py NAME=rows.jsonl [NAME=rows.jsonl ...] [--metric accuracy] [--svg FILE]

Each file is what one `certiseg attack --out` wrote (whole, or merged); standard library only. Prints two Markdown tables,
means over images and the share of the certified fall that each attack found, and draws an SVG. Refused are runs of other
models, data, budgets or norms than the first, confined to a region, of other images, and unfinished ones. Exit status 1
where an attacked value is worse than the certified one, or any row of a run says so.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from html import escape
from pathlib import Path

SAME = ("model_hash", "data_hash", "size", "filter", "norm", "eps")
HIGHER = ("accuracy", "stability", "recall", "specificity", "precision", "dice", "iou", "mean-class-accuracy", "miou")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")


def read(path: Path, metric: str) -> tuple[dict, dict[tuple[str, float], tuple[float, float, float]]]:
    """The settings of a run, and clean, certified, attacked by image and budget."""
    head, *rows = (json.loads(line) for line in path.read_text().splitlines())
    settings, values, images = head["settings"], {}, set()
    for row in rows:
        if row.get("unsound"):
            sys.exit(f"UNSOUND: {path}, image {row['image']}, {row.get('metric') or row['goal']}")
    if head.get("verb") != "attack" or metric not in settings["metrics"]:
        sys.exit(f"error: {path} has no rows of attack on {metric}")
    for row in rows:
        if row["kind"] != "attack" or row["metric"] != metric:
            continue
        images.add(row["image"])
        if row["attacked"] is not None:
            values[row["image"], row["eps"]] = (row["clean"], row["certified"], row["attacked"])
    if len(images) != settings["images"]:
        sys.exit(f"error: {path} has {len(images)} images of {settings['images']}: let it end, or merge its shards")
    if settings.get("region"):
        sys.exit(f"error: the attacks of {path} were confined to a region")
    return settings, values


def svg(eps: list[float], curves: list[tuple[str, list[float], str, str]], title: str) -> str:
    """Lines over budgets: name, values, colour, dashes."""
    left, top, width, height = 60, 30, 420, 280
    low, high = min(min(v) for _, v, _, _ in curves), max(max(v) for _, v, _, _ in curves)
    room = (high - low or 1.0) * 0.05
    low, high, last = low - room, high + room, max(eps)

    def place(x: float, y: float) -> str:
        return f"{left + width * x / last:.1f},{top + height * (high - y) / (high - low):.1f}"

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width + 240}" height="{height + 80}" '
             'font-family="sans-serif" font-size="12">', '<rect width="100%" height="100%" fill="white"/>',
             f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#888"/>',
             f'<text x="{left}" y="20">{escape(title)}</text>']
    for tick in range(5):
        value = low + (high - low) * tick / 4
        y = top + height * (high - value) / (high - low)
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3f}</text>')
    for x in sorted({0.0, *eps}):
        at = left + width * x / last
        parts.append(f'<text x="{at:.1f}" y="{top + height + 18}" text-anchor="middle">{x:g}</text>')
    parts.append(f'<text x="{left + width / 2}" y="{top + height + 38}" text-anchor="middle">eps</text>')
    for index, (name, values, colour, dashes) in enumerate(curves):
        points = " ".join(place(x, y) for x, y in zip(eps, values, strict=True))
        style = f'stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"'
        y = top + 14 + 20 * index
        parts += [f'<polyline points="{points}" fill="none" {style}/>',
                  f'<line x1="{left + width + 12}" y1="{y - 4}" x2="{left + width + 40}" y2="{y - 4}" {style}/>',
                  f'<text x="{left + width + 46}" y="{y}">{escape(name)}</text>']
    return "\n".join([*parts, "</svg>", ""])


def table(header: list[str], lines: list[list[str]]) -> str:
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="NAME=rows.jsonl")
    parser.add_argument("--metric", default="accuracy")
    parser.add_argument("--svg", type=Path)
    args = parser.parse_args()
    names = [run.partition("=")[0] for run in args.runs]
    runs = [read(Path(run.partition("=")[2]), args.metric) for run in args.runs]
    first, known = runs[0]
    for name, (settings, values) in zip(names, runs, strict=True):
        for field in SAME:
            if settings.get(field) != first.get(field):
                sys.exit(f"error: {field} of {name} is {settings.get(field)}, of {names[0]} {first.get(field)}")
        if values.keys() != known.keys() or any(values[key][:2] != known[key][:2] for key in known):
            sys.exit(f"error: {name} and {names[0]} have other images or certificates")
    if not known:
        sys.exit(f"error: {args.metric} is defined on no image")
    eps = first["eps"]
    higher = args.metric.partition(":")[0] in HIGHER
    # image by image: an attack that beat a certificate is no mean
    beaten = [(name, *key) for name, (_, values) in zip(names, runs, strict=True) for key, (_, certified, attacked)
              in values.items() if (attacked < certified if higher else attacked > certified)]
    images = sorted({image for image, _ in known})
    clean, certified = ([sum(known[i, e][at] for i in images) for e in eps] for at in (0, 1))
    attacked = [[sum(values[i, e][2] for i in images) for e in eps] for _, values in runs]
    count = len(images)

    def found(values: list[float], at: int) -> float:
        allowed = clean[at] - certified[at]
        return (clean[at] - values[at]) / allowed if allowed else float("nan")

    print(f"{args.metric}, means over {count} images, budgets in l{first.get('norm', 2)}\n")
    # certificates are shown rounded against us
    side = math.floor if higher else math.ceil
    mean = [[f"{total / count:.4f}" for total in totals] for totals in (clean, *attacked)]
    mean.append([f"{side(1e4 * total / count) / 1e4:.4f}" for total in certified])
    columns = list(zip(*mean, strict=True))
    print(table(["eps", "clean", *names, "certified"], [[f"{e:g}", *row] for e, row in zip(eps, columns, strict=True)]))
    print("\nshare of the certified fall that was found; the last columns over the first\n")
    lines = []
    for at, e in enumerate(eps):
        shares = [found(values, at) for values in attacked]
        ratios = [f"{share / shares[0]:.1f}" if shares[0] else "-" for share in shares[1:]]
        lines.append([f"{e:g}", *(f"{100 * share:.1f} %" for share in shares), *ratios])
    print(table(["eps", *names, *(f"{name}/{names[0]}" for name in names[1:])], lines))
    if args.svg:
        curves = [("clean", clean, "#888888", "2,3"), *((name, values, COLOURS[at % len(COLOURS)], "") for at, (name, values)
                  in enumerate(zip(names, attacked, strict=True))), ("certified", certified, "#000000", "6,3")]
        curves = [(name, [value / count for value in values], *style) for name, values, *style in curves]
        args.svg.write_text(svg(eps, curves, f"{args.metric}, {count} images"))
    for name, image, e in beaten:
        print(f"UNSOUND: {name}, image {image}, eps {e}", file=sys.stderr)
    sys.exit(bool(beaten))


if __name__ == "__main__":
    main()
