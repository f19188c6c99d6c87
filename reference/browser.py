"""Opens a page of `certiseg report` in a headless Chromium and holds it against the rows and maps it was made of.

    python3 reference/browser.py REPORT.html ROWS.jsonl MAPS_DIR SCREENSHOTS_DIR [--planted value|budget]

Python's standard library only; speaks WebDriver to chromedriver (Debian: chromium, chromium-driver). Checked: the
numbers and the striped pixels at every budget of the rows and at 0, moved to by value, by key and by click; goals;
keyboard; classes of the legend; columns and labels; dark mode; printing; a narrow window; that nothing is written to
the console and nothing but the file is asked for. With --planted one certified value of the rows, or one pixel's
budget in the maps, is changed after reading: the page then shows something else, and the comparison must say so.

Exit codes: 0 all as expected, 1 something is not, 2 the check itself broke down.
"""

import ast
import base64
import json
import math
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request
import zipfile
from fractions import Fraction

TAKEN = (214, 0, 79)
KEYS = {"Home": "\ue011", "End": "\ue010", "ArrowRight": "\ue014", "ArrowLeft": "\ue012"}


class Driver:
    """A browser behind WebDriver."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.root = f"http://127.0.0.1:{port}"
        log = open(os.path.join(folder, "driver.log"), "wb")
        self.process = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=log, stderr=log)
        arguments = ["--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                     "--disable-component-update", "--disable-sync", "--window-size=1280,900", f"--user-data-dir={folder}/profile"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        options = {"args": arguments}
        binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if binary:
            options["binary"] = binary
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        for attempt in range(100):
            try:
                made = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
                break
            except (ConnectionError, urllib.error.URLError) as error:
                if isinstance(error, urllib.error.HTTPError) or attempt == 99:
                    raise
                time.sleep(0.1)
        self.session = "/session/" + made["sessionId"]

    def call(self, method, path, body=None):
        text = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.root + path, text, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            if error.code in (404, 400, 500):
                raise RuntimeError(error.read().decode()[:2000]) from None
            raise

    def post(self, path, body):
        return self.call("POST", self.session + path, body)

    def run(self, script, *arguments):
        return self.post("/execute/sync", {"script": script, "args": list(arguments)})

    def devtools(self, command, parameters):
        return self.post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def shot(self, path):
        image = self.call("GET", self.session + "/screenshot")
        pathlib.Path(path).write_bytes(base64.b64decode(image))

    def key(self, name):
        self.post("/actions", {"actions": [{"type": "key", "id": "keys", "actions": [
            {"type": "keyDown", "value": KEYS[name]}, {"type": "keyUp", "value": KEYS[name]}]}]})

    def close(self):
        try:
            self.call("DELETE", self.session)
        finally:
            self.process.terminate()
            self.process.wait(20)


def read_rows(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read_maps(folder):
    """Prediction, label and the budgets of metrics by name of file."""
    maps = {}
    for path in sorted(pathlib.Path(folder).glob("*.npz")):
        arrays = {}
        with zipfile.ZipFile(path) as archive:
            for name in (name.removesuffix(".npy") for name in archive.namelist()):
                if name not in ("prediction", "label") and not name.startswith("budget_"):
                    continue
                raw = archive.read(name + ".npy")
                length = struct.unpack("<H", raw[8:10])[0]
                head = ast.literal_eval(raw[10:10 + length].decode())
                body = raw[10 + length:]
                count = math.prod(head["shape"])
                arrays[name] = list(body) if head["descr"] == "|u1" else struct.unpack(f"<{count}f", body)
        maps[path.stem] = arrays
    return maps


def cut(value, up=False, digits=4):
    """The text of a fraction with so many decimals, down or up."""
    scaled = Fraction(value) * 10**digits
    whole = -((-scaled.numerator) // scaled.denominator) if up else scaled.numerator // scaled.denominator
    return f"{whole // 10**digits}.{whole % 10**digits:0{digits}d}"


FAILED = []


def check(got, expected, what):
    if got != expected:
        FAILED.append(what)
        print(f"WRONG  {what}: got {got!r}, expected {expected!r}")


def counts(maps, eps, metric="accuracy"):
    """Pixels that can be taken within eps, and those that are wrong already."""
    prediction = maps["prediction"]
    # no map: the metric means nothing on this picture
    budgets = maps.get("budget_" + metric.replace(":", "_").replace("-", "_"), [math.inf] * len(prediction))
    label = maps.get("label", prediction)
    wrong = [l != 255 and l != p for l, p in zip(label, prediction)]
    # labels say nothing to stability; what is wrong by its label may have something to lose for another metric
    left = [metric.startswith("stab") or not w or b > 0 for w, b in zip(wrong, budgets)]
    return [sum(l and b <= eps for l, b in zip(left, budgets)), sum(wrong)]


# counts cells of the picture with a striped and with a chequered pixel, from the colours on the screen
CELLS = """
const out = {};
for (const figure of document.querySelectorAll('#pictures figure')) {
  const canvas = figure.querySelector('canvas'), zoom = Number(canvas.dataset.zoom);
  const d = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const columns = canvas.width / zoom, cells = new Uint8Array(columns * canvas.height / zoom);
  for (let y = 0; y < canvas.height; y += 1) for (let x = 0; x < canvas.width; x += 1) {
    const at = 4 * (y * canvas.width + x), cell = Math.floor(y / zoom) * columns + Math.floor(x / zoom);
    if (d[at] === %d && d[at + 1] === %d && d[at + 2] === %d) cells[cell] |= 1;
    if (d[at] === 0 && d[at + 1] === 0 && d[at + 2] === 0) cells[cell] |= 2;
  }
  out[figure.dataset.image] = [cells.filter((c) => c & 1).length, cells.filter((c) => c & 2).length];
}
return out;
""" % TAKEN

MOVE = """
const range = document.getElementById(arguments[0]);
range.value = arguments[1];
range.dispatchEvent(new Event('input', {bubbles: true}));
"""

TEXT = "return document.getElementById(arguments[0]).textContent"


def plant(what, rows, maps):
    """Changes one number, as if the page had drawn another."""
    if what == "value":
        row = next(row for row in rows if row["kind"] == "row" and row["metric"] == "accuracy" and row.get("eps") and row["value"])
        row["value"] -= 0.001
        print(f"planted: the certified value of {row['image']} at {row['eps']}, 0.001 less")
    else:
        eps = min(row["eps"] for row in rows if row["kind"] == "row" and row.get("eps"))
        stem, arrays = next(iter(maps.items()))
        label, budgets = arrays.get("label", arrays["prediction"]), list(arrays["budget_accuracy"])
        at = next(i for i, budget in enumerate(budgets) if label[i] == arrays["prediction"][i] and budget > eps)
        budgets[at] = eps
        arrays["budget_accuracy"] = budgets
        print(f"planted: the budget of pixel {at} of {stem}, {eps}")


def at_zero(driver, rows, maps):
    """Nothing changed: the clean mean, and the certified one where curves begin."""
    curves = {row["image"]: row for row in rows if row["kind"] == "curve" and row["metric"] == "accuracy"}
    clean = {row["image"]: row["clean"] for row in rows if row["kind"] == "row" and row["metric"] == "accuracy" and row["clean"] is not None}
    shown = [float(driver.run(TEXT, f"now-{name}")) for name in ("certified", "clean")]
    check(shown[0] <= shown[1], True, "certified at 0 is at most clean")
    check(abs(shown[1] - sum(clean.values()) / len(clean)) <= 5.1e-5, True, "clean mean at 0")
    if len(curves) == len(clean) and all(curve["eps"][0] == 0 for curve in curves.values()):
        values = [Fraction(curve["value"][0]) for curve in curves.values()]
        check(driver.run(TEXT, "now-certified"), cut(sum(values) / len(values)), "certified mean at 0")
    shown = driver.run(CELLS)
    check(shown, {name: counts(maps[flat(name)], 0) for name in shown}, "pixels taken at 0")


def flat(name):
    """An image's name as its file has it."""
    return name.replace("/", "__").replace("\\", "__").replace(":", "__")


# header cells whose column has no value
EMPTY = """
return [...document.querySelectorAll('table')].flatMap((t) => [...t.querySelectorAll('thead th')].filter((th, i) => {
  const rows = [...t.querySelectorAll('tbody tr:not(.group)')];
  return rows.length && rows.every((row) => row.children[i].textContent === '-');
}).map((th) => th.textContent));
"""

# pairs of labels of the curve, or of the ticks, that lie on each other
TOUCHING = """
const texts = [...document.querySelectorAll(arguments[0])].filter((t) => !t.hidden), out = [];
texts.forEach((a, i) => texts.slice(i + 1).forEach((b) => {
  const [p, q] = [a, b].map((t) => t.getBoundingClientRect());
  if (Math.min(p.right, q.right) - Math.max(p.left, q.left) > 0.5 && Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 4) out.push(a.textContent + ' | ' + b.textContent);
}));
return out;
"""

METRIC = """
const choose = document.getElementById('metric');
choose.value = arguments[0];
choose.dispatchEvent(new Event('change', {bubbles: true}));
"""


# what each picture says of itself
SAID = """
return [...document.querySelectorAll('#pictures figure')].map((f) => {
  const said = f.querySelector('canvas').dataset;
  return [f.dataset.image, said.metric, Number(said.taken), Number(said.wrong)];
});
"""


def of_metrics(driver, maps, positions):
    """Masks of every metric, in the middle of the slider and at its end."""
    for metric in range(driver.run("return document.getElementById('metric').options.length")):
        driver.run(METRIC, metric)
        for place in (len(positions) // 2, len(positions) - 1):
            driver.run(MOVE, "eps", place)
            eps = positions[place]["number"]
            for image, name, *shown in driver.run(SAID):
                check(shown, counts(maps[flat(image)], eps, name), f"taken and wrong pixels of {image} for {name} at {eps}")
    driver.run(METRIC, 0)


def labels_apart(driver, width):
    """No label touches another, whatever the metric."""
    for metric in range(driver.run("return document.getElementById('metric').options.length")):
        driver.run(METRIC, metric)
        check(driver.run(TOUCHING, "#curves svg text"), [], f"labels of the curve of metric {metric} at {width} px")
        check(driver.run(TOUCHING, "#ticks button"), [], f"ticks at {width} px")
    driver.run(METRIC, 0)


def at_budget(driver, rows, maps, eps):
    """Numbers and masks where the slider stands on a budget of the rows."""
    values = [Fraction(row["value"]) for row in rows
              if row["kind"] == "row" and row["metric"] == "accuracy" and row.get("eps") == eps and row["value"] is not None]
    check(driver.run(TEXT, "now-certified"), cut(sum(values) / len(values)), f"certified mean at {eps}")
    pooled = [row["value"] for row in rows if row["kind"] == "dataset" and row["metric"] == "accuracy" and row.get("eps") == eps]
    if pooled:
        check(driver.run(TEXT, "now-pooled"), cut(pooled[0]), f"certified pooled at {eps}")
    shown = driver.run(CELLS)
    check(len(shown) > 0, True, "pictures are there")
    for name in shown:
        check(shown[name], counts(maps[flat(name)], eps), f"taken and wrong pixels of {name} at {eps}")
    each = driver.run("return [...document.querySelectorAll('#pictures figure')].map((f) => [f.dataset.image, f.querySelector('.value').textContent])")
    for image, text in each:
        row = next(row for row in rows if row["kind"] == "row" and row["metric"] == "accuracy" and row.get("eps") == eps and row["image"] == image)
        check(text.split()[-1], cut(row["value"]), f"certified value of {image} at {eps}")


def main(report, rows_path, maps_path, shots, planted=None):
    rows, maps = read_rows(rows_path), read_maps(maps_path)
    if planted:
        plant(planted, rows, maps)
    os.makedirs(shots, exist_ok=True)
    address = pathlib.Path(report).resolve().as_uri()
    folder = tempfile.mkdtemp(prefix="browser-")
    driver = Driver(folder)
    try:
        driver.devtools("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "light"}]})
        driver.post("/url", {"url": address})
        for _ in range(200):
            if driver.run("return document.body.dataset.ready") == "yes":
                break
            time.sleep(0.05)
        check(driver.run("return document.body.dataset.ready"), "yes", "the page is drawn")
        positions = driver.run("return JSON.parse(document.getElementById('document').textContent).positions")
        budgets = sorted({row["eps"] for row in rows if row["kind"] == "row" and "eps" in row})
        if not planted:
            driver.shot(f"{shots}/top.png")
        for eps in budgets:
            place = next(i for i, stop in enumerate(positions) if stop["number"] == eps)
            driver.run(MOVE, "eps", place)
            at_budget(driver, rows, maps, eps)
        # by click on its mark
        driver.run("[...document.querySelectorAll('#ticks button')].find((b) => b.textContent === arguments[0]).click()",
                   next(stop["text"] for stop in positions if stop["number"] == budgets[0]))
        at_budget(driver, rows, maps, budgets[0])
        # by keys
        driver.run("document.getElementById('eps').focus()")
        driver.key("Home")
        check(driver.run("return document.getElementById('eps').value"), "0", "Home")
        at_zero(driver, rows, maps)
        driver.key("ArrowRight")
        driver.key("ArrowRight")
        driver.key("ArrowLeft")
        check(driver.run("return document.getElementById('eps').value"), "1", "arrows")
        check(driver.run("return document.getElementById('eps').getAttribute('aria-valuetext')"), "eps " + positions[1]["text"], "what is read aloud")
        driver.key("End")
        check(driver.run("return document.getElementById('eps').value"), str(len(positions) - 1), "End")
        outline = driver.run("return getComputedStyle(document.activeElement).outlineStyle")
        check(outline, "solid", "the focus is seen")
        # striped pixels grow with the budget
        before = -1
        for place in range(0, len(positions), 7):
            driver.run(MOVE, "eps", place)
            now = sum(taken for taken, _ in driver.run(CELLS).values())
            check(now >= before, True, f"striped pixels at {positions[place]['text']}")
            before = now
        of_metrics(driver, maps, positions)
        # goals of rows
        goals = [row for row in rows if row["kind"] == "row" and str(row.get("goal", "")).startswith("accuracy<=")]
        thresholds = driver.run("return JSON.parse(document.getElementById('document').textContent).thresholds")
        for goal in {row["goal"] for row in goals}:
            place = next(i for i, text in enumerate(thresholds) if float(text) == float(goal.split("=")[1]))
            driver.run(MOVE, "threshold", place)
            shown = dict(driver.run("return [...document.querySelectorAll('#goal tr[data-image]')].map((r) => [r.dataset.image, r.lastChild.textContent])"))
            known = {row["image"]: "no budget" if row.get("unreachable") else cut(row["value"]) for row in goals if row["goal"] == goal and not row.get("undefined")}
            check(len(shown) > 0, True, "images of the goal")
            check(shown, {image: known.get(image) for image in shown}, f"budgets of {goal}")
        classes = {str(k) for arrays in maps.values() for name in ("prediction", "label") for k in arrays.get(name, ())}
        legend = driver.run("return [...document.querySelectorAll('#pictures .legend [data-class]')].map((c) => c.dataset.class)")
        check(sorted(legend), sorted(classes), "classes of the legend")
        check(driver.run(EMPTY), [], "columns without a value")
        base, peak = (float(driver.run(f"return document.querySelector('#curves svg').dataset.{name}")) for name in ("base", "peak"))
        check(f"drawn from {base:g} to {peak:g}" in driver.run(TEXT, "curves"), True, "the range of the curve is said")
        # looks
        if not planted:
            look(driver, shots, positions, budgets)
        logs = driver.post("/se/log", {"type": "browser"})
        check([entry["message"] for entry in logs], [], "the console is silent")
        asked = []
        for entry in driver.post("/se/log", {"type": "performance"}):
            message = json.loads(entry["message"])["message"]
            # the browser's own first page asks for its own files
            if message["method"] == "Network.requestWillBeSent" and message["params"].get("documentURL") == address:
                asked.append(message["params"]["request"]["url"])
        outside = [url for url in asked if not url.startswith("data:") and url != address]
        check(outside, [], "nothing but the file is asked for")
        check(address in asked, True, "the log of requests is there")
    finally:
        driver.close()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{'FAILED: ' + ', '.join(FAILED) if FAILED else 'ok'}  {len(budgets)} budgets, {len(maps)} pictures; screenshots in {shots}")
    return 1 if FAILED else 0


def look(driver, shots, positions, budgets):
    """Screenshots, for people."""
    for name, eps in (("slider_low", budgets[0]), ("slider_high", budgets[-1])):
        driver.run(MOVE, "eps", next(i for i, stop in enumerate(positions) if stop["number"] == eps))
        driver.run("document.getElementById('curves').scrollIntoView()")
        driver.shot(f"{shots}/{name}.png")
        driver.run("window.scrollTo(0, document.getElementById('pictures').offsetTop - 170)")
        driver.shot(f"{shots}/{name}_pictures.png")
    driver.devtools("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
    check(driver.run("return document.documentElement.dataset.theme"), "dark", "dark where the system is")
    driver.run("window.scrollTo(0, 0)")
    driver.shot(f"{shots}/dark.png")
    driver.run("document.getElementById('theme').click()")
    check(driver.run("return document.documentElement.dataset.theme"), "light", "the button")
    height = driver.run("return document.documentElement.scrollHeight")
    driver.devtools("Emulation.setDeviceMetricsOverride", {"width": 1280, "height": min(height, 12000), "deviceScaleFactor": 1, "mobile": False})
    driver.shot(f"{shots}/whole.png")
    for width in (400, 1280):
        driver.devtools("Emulation.setDeviceMetricsOverride", {"width": width, "height": 1600, "deviceScaleFactor": 1, "mobile": False})
        wide = driver.run("return document.documentElement.scrollWidth")
        check(wide <= width, True, f"nothing sticks out at {width} px ({wide})")
        labels_apart(driver, width)
        driver.shot(f"{shots}/width_{width}.png")
    driver.devtools("Emulation.clearDeviceMetricsOverride", {})
    printed = driver.post("/print", {"background": True})
    paper = base64.b64decode(printed)
    check(paper[:5], b"%PDF-", "printed")
    pathlib.Path(f"{shots}/printed.pdf").write_bytes(paper)


if __name__ == "__main__":
    words = sys.argv[1:]
    if len(words) not in (4, 6) or words[4:] not in ([], ["--planted", "value"], ["--planted", "budget"]):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        code = main(*words[:4], *words[5:])
    except Exception:  # a driver that is gone found no error on the page
        traceback.print_exc()
        code = 2
    sys.exit(code)
