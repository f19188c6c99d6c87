"use strict";
// Chooses among texts that were cut on their safe side; rounds nothing that is certified.
(() => {
  const data = JSON.parse(document.getElementById("document").textContent);
  const byId = (id) => document.getElementById(id);
  const state = { metric: 0, at: data.start, goal: 0, near: true, paper: false };
  const NONE = "-";
  const has = (text) => text !== undefined && text !== NONE;
  // Okabe and Ito, as in the other pictures of the program
  const CLASSES = [[60, 60, 60], [230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [0, 114, 178], [213, 94, 0], [204, 121, 167]];
  const TAKEN = [214, 0, 79], LIGHT = [255, 255, 255], DARK = [0, 0, 0], VOID = [250, 250, 250];

  function colour(k) {
    if (k === 255) return VOID;
    const base = CLASSES[k % 8], towards = [null, 255, 0][Math.floor(k / 8) % 3];
    return towards === null ? base : base.map((v) => Math.floor((v * 11 + towards * 9) / 20));
  }

  function node(name, attributes, ...children) {
    const svg = ["svg", "path", "line", "text", "rect", "circle", "g", "title", "polygon"].includes(name);
    const made = svg ? document.createElementNS("http\u003a//www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (value !== undefined && value !== null) made.setAttribute(key, value);
    }
    for (const child of children.flat()) {
      if (child !== null && child !== undefined) made.append(child);
    }
    return made;
  }

  // of columns without a single value only the first is kept
  const kept = (header, rows) => header.map((_, i) => i).filter((i) => i === 0 || rows.some((row) => has(row[i])));

  // rows are lists of cells, or made already
  function table(header, rows, words, textual = []) {
    if (rows.length && !(rows[0] instanceof Node)) {
      const columns = kept(header, rows);
      header = columns.map((i) => header[i]);
      rows = rows.map((row) => columns.map((i) => row[i]));
      textual = textual.map((i) => columns.indexOf(i));
    }
    const cell = (kind, i, content) => node(kind, { class: textual.includes(i) ? "text" : null, scope: kind === "th" ? "col" : null }, content);
    const head = node("thead", {}, node("tr", {}, header.map((h, i) => cell("th", i, h))));
    const body = node("tbody", {}, rows.map((row) => (row instanceof Node ? row : node("tr", {}, row.map((c, i) => cell("td", i, c))))));
    return node("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": words || header.join(", ") },
      node("table", {}, words ? node("caption", {}, words) : null, head, body));
  }

  function section(id, ...content) {
    const body = byId(id).querySelector(".body");
    body.replaceChildren(...content.flat().filter(Boolean));
    byId(id).hidden = false;
  }

  const metric = () => data.metrics[state.metric];
  const certifiedAt = (i, at) => (data.images[i].values[state.metric] || [])[at];

  // ---- the head
  function verdict() {
    const v = data.verdict, out = [node("p", {}, v.detail)];
    if (v.beaten.length) out.push(node("ul", {}, v.beaten.map((line) => node("li", {}, line))));
    for (const warning of data.warnings) out.push(node("p", { class: "warning" }, "⚠ " + warning));
    if (data.unit) out.push(node("p", { class: "note" }, "Budgets: " + data.unit + ". Certified numbers are cut against us; attacked and clean ones are to the nearest."));
    byId("verdict").replaceChildren(...out);
  }

  // ---- by budget
  function byBudget() {
    const header = ["eps", "clean", "certified, mean of images", "certified, pooled", "attacked, mean (images)", "smoothed", "images"];
    const cells = (m) => data.positions.map((p, at) => [p.text, m.clean, m.mean[at], m.pooled[at],
      has(m.attacked[at]) ? m.attacked[at] + " (" + m.attacked_images[at] + ")" : NONE, m.smoothed[at], m.images + (m.undefined ? " + " + m.undefined + " undefined" : "")]);
    const asked = data.metrics.flatMap((m) => cells(m).filter((_, at) => data.positions[at].row));
    const columns = kept(header, asked);
    const words = [[2, "Certified: no attack within eps makes it worse."], [3, "Pooled: all pixels of all images as one, each image attacked within eps."],
      [4, "Attacked: the worst that was found."], [5, "Smoothed: another classifier, with a probability (see below)."]];
    const rows = data.metrics.flatMap((m, index) => [
      node("tr", { class: "group" }, node("td", { colspan: columns.length }, m.title + (m.higher ? "" : " (lower is better)"))),
      ...cells(m).flatMap((row, at) => (data.positions[at].row ? [node("tr", { "data-metric": index, "data-at": at }, columns.map((i) => node("td", {}, row[i])))] : []))]);
    section("table", table(columns.map((i) => header[i]), rows, words.filter(([i]) => columns.includes(i)).map(([, text]) => text).join(" ")));
  }

  // ---- curves, as steps: a value holds up to its budget
  const SHAPES = { "×": (x, y) => `M${x - 4} ${y - 4}L${x + 4} ${y + 4}M${x + 4} ${y - 4}L${x - 4} ${y + 4}`, "□": (x, y) => `M${x - 3.5} ${y - 3.5}h7v7h-7Z` };

  // round numbers from at most `from` to at least `to`, about `count` of them
  function ticks(from, to, count) {
    const width = Math.max(to - from, 1e-4) / count, power = 10 ** Math.floor(Math.log10(width));
    const step = [1, 2, 5, 10].map((d) => d * power).find((d) => d >= width * 0.999);
    const first = Math.floor(from / step + 1e-9), last = Math.max(first + 1, Math.ceil(to / step - 1e-9));
    return Array.from({ length: last - first + 1 }, (_, k) => Number(((first + k) * step).toPrecision(6)));
  }

  // texts at these heights, moved apart
  function apart(labels, most) {
    const gap = 15, sorted = labels.map(([at, ...rest]) => [at, ...rest]).sort((a, b) => a[0] - b[0]);
    sorted.forEach((label, i) => { if (i) label[0] = Math.max(label[0], sorted[i - 1][0] + gap); });
    for (let i = sorted.length - 1, below = most; i >= 0; i -= 1, below = sorted[i + 1][0] - gap) sorted[i][0] = Math.min(sorted[i][0], below);
    return sorted;
  }

  function curves() {
    const m = metric(), room = document.querySelector("main").clientWidth;
    const width = state.paper ? 680 : Math.max(300, Math.min(1000, room)), height = Math.round(Math.max(260, Math.min(380, width * 0.4)));
    const left = 46, right = 128, top = 12, bottom = 38;
    const rows = data.positions.filter((p) => p.row).map((p) => p.number);
    const whole = data.positions[data.positions.length - 1].number;
    const end = state.near && rows.length ? Math.min(whole, 2 * rows[rows.length - 1]) : whole;
    const within = data.positions.map((p, i) => i).filter((i) => data.positions[i].number <= end);
    // what is drawn, as places and texts; attacks and votes only where rows tell of them
    const drawn = (texts, asked) => within.filter((i) => has(texts[i]) && (!asked || data.positions[i].row)).map((i) => [data.positions[i].number, parseFloat(texts[i]), i]);
    const [low, high, mean, attacked, smoothed] = [drawn(m.low), drawn(m.high), drawn(m.mean), drawn(m.attacked, true), drawn(m.smoothed, true)];
    const clean = parseFloat(m.clean);
    const values = [low, high, mean, attacked, smoothed].flat().map((p) => p[1]).concat(Number.isNaN(clean) ? [] : [clean]);
    if (!values.length) { byId("curves").hidden = true; return; }
    // a line that does not move is drawn in a room of 0.05, too
    const least = Math.max(0, Math.min(...values, Math.max(...values) - 0.05));
    const scale = ticks(least, Math.max(...values, least + 0.05), 5);
    const [base, peak] = [scale[0], scale[scale.length - 1]];
    const across = ticks(0, end, Math.max(2, Math.floor((width - left - right) / 70))).filter((v) => v <= end * 1.0001);
    const x = (eps) => left + (width - left - right) * (end > 0 ? Math.min(eps, end) / end : 0);
    const y = (value) => top + (height - top - bottom) * (1 - (value - base) / (peak - base));
    const steps = (points) => points.flatMap(([eps, value], k) => (k ? [[x(points[k - 1][0]), y(value)]] : []).concat([[x(eps), y(value)]]));
    // a value holds from the budget before up to its own
    const path = (points) => points.map((p, i) => (i ? "L" : "M") + p[0].toFixed(1) + " " + p[1].toFixed(1)).join("");
    const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "data-base": base, "data-peak": peak,
      "aria-label": `${m.title} against eps: clean ${m.clean}, certified ${m.mean[state.at]} at eps ${data.positions[state.at].text}` });
    for (const v of scale) {
      svg.append(node("line", { class: "axis", x1: left, x2: width - right, y1: y(v), y2: y(v) }), node("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, String(v)));
    }
    for (const eps of across) svg.append(node("text", { x: x(eps), y: height - bottom + 18, "text-anchor": "middle" }, String(eps)));
    svg.append(node("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, "eps"));
    if (low.length && high.length) svg.append(node("path", { d: path(steps(high).concat(steps(low).reverse())) + "Z", fill: "var(--certified)", "fill-opacity": 0.16 }));
    const labels = [];
    if (!Number.isNaN(clean)) {
      svg.append(node("line", { x1: left, x2: width - right, y1: y(clean), y2: y(clean), stroke: "var(--clean)", "stroke-dasharray": "2 4" }));
      labels.push([y(clean) + 4, "clean", "var(--clean)"]);
    }
    if (mean.length) {
      svg.append(node("path", { d: path(steps(mean)), fill: "none", stroke: "var(--certified)", "stroke-width": 2.5 }));
      labels.push([y(mean[mean.length - 1][1]) + 4, "certified (mean)", "var(--certified)"]);
    }
    const counts = [...new Set(attacked.map(([, , i]) => m.attacked_images[i]))];
    const among = counts.every((count) => count === m.images) ? "mean" : counts.length === 1 ? `n = ${counts[0]}` : "some";
    for (const [points, paint, sign, name] of [[attacked, "var(--attacked)", "×", `attacked (${among})`], [smoothed, "var(--smoothed)", "□", "smoothed (mean)"]]) {
      if (!points.length) continue;
      // what is certified is not known to hold between two marks, so only attacks are joined
      if (points === attacked) svg.append(node("path", { d: path(points.map(([eps, value]) => [x(eps), y(value)])), fill: "none", stroke: paint, "stroke-width": 1.2 }));
      for (const [eps, value, i] of points) {
        svg.append(node("path", { class: "mark-" + name.split(" ")[0], d: SHAPES[sign](x(eps), y(value)), fill: "none", stroke: paint, "stroke-width": 2 },
          node("title", {}, `${name} at eps ${data.positions[i].text}: ${value}`)));
      }
      labels.push([y(points[points.length - 1][1]) + 4, sign + " " + name, paint]);
    }
    for (const [at, text, fill] of apart(labels, height - bottom)) {
      const made = node("text", { x: width - right + 10, y: at }, text);
      made.style.fill = fill;
      svg.append(made);
    }
    const now = data.positions[state.at];
    if (now.number <= end) svg.append(node("line", { x1: x(now.number), x2: x(now.number), y1: top, y2: height - bottom, stroke: "var(--taken)", "stroke-width": 1.5 }));
    const chooser = node("p", { class: "chooser" });
    const button = node("button", { type: "button" }, state.near ? "show the whole curve" : "show the budgets of the rows");
    button.addEventListener("click", () => { state.near = !state.near; curves(); byId("curves").querySelector("button").focus(); });
    if (rows.length && 2 * rows[rows.length - 1] < whole) chooser.append(button);
    section("curves", svg, node("p", { class: "note" }, `${m.title}, drawn from ${base} to ${peak}${base > 0 ? ": the axis does not begin at 0" : ""}. `
      + `Line: certified mean over ${m.images} images, as steps that hold up to their budget; band: from the tenth to the ninetieth of a hundred images; vertical line: the budget chosen.`
      + (attacked.length ? " Crosses are of the rows; the thin line that joins them is not." : "")), chooser);
  }

  // ---- pictures
  const painters = [];

  async function planes(packed) {
    const bytes = Uint8Array.from(atob(packed.planes), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const all = new Uint8Array(await new Response(stream).arrayBuffer());
    const size = packed.size[0] * packed.size[1];
    const plane = (k) => all.subarray(k * size, (k + 1) * size);
    const first = packed.labelled ? 2 : 1;
    const levels = {};
    packed.levels.forEach((name, k) => { levels[name] = plane(first + k); });
    return { prediction: plane(0), label: packed.labelled ? plane(1) : null, levels };
  }

  // the colour of one screen pixel (X, Y) of a taken or wrong pixel of the picture, enlarged `zoom` times
  function taken(X, Y, zoom, base) {
    if (zoom === 1) return (X + Y) % 4 < 2 ? TAKEN : LIGHT;
    const period = zoom >= 4 ? 4 : 2;
    return (X + Y) % period < period / 2 ? TAKEN : base;
  }

  function wrong(X, Y, zoom) {
    if (zoom === 1) return (X + Y) % 2 ? DARK : LIGHT;
    const period = zoom >= 4 ? 4 : 2;
    return X % period < period / 2 && Y % period < period / 2 ? DARK : LIGHT;
  }

  function paint(canvas, packed, maps, name, at) {
    const [height, width] = packed.size, zoom = Math.max(1, Math.floor(256 / Math.max(width, height)));
    canvas.width = width * zoom;
    canvas.height = height * zoom;
    const context = canvas.getContext("2d", { willReadFrequently: true }), out = context.createImageData(width * zoom, height * zoom);
    const levels = maps.levels[name];
    // labels say nothing to stability; and what is wrong by its label may have something to lose for another metric
    const blind = name !== undefined && name.startsWith("stab");
    let lost = 0, bad = 0;
    for (let row = 0; row < height; row += 1) {
      for (let column = 0; column < width; column += 1) {
        const pixel = row * width + column;
        const label = maps.label ? maps.label[pixel] : maps.prediction[pixel];
        const isWrong = label !== 255 && label !== maps.prediction[pixel];
        const isTaken = levels !== undefined && levels[pixel] <= at && (!isWrong || blind || levels[pixel] > 0);
        lost += isTaken; bad += isWrong;
        const base = label === 255 ? VOID : colour(maps.prediction[pixel]);
        for (let dy = 0; dy < zoom; dy += 1) {
          for (let dx = 0; dx < zoom; dx += 1) {
            const X = column * zoom + dx, Y = row * zoom + dy, to = 4 * (Y * width * zoom + X);
            const c = isTaken ? taken(X, Y, zoom, base) : isWrong ? wrong(X, Y, zoom) : base;
            out.data[to] = c[0]; out.data[to + 1] = c[1]; out.data[to + 2] = c[2]; out.data[to + 3] = 255;
          }
        }
      }
    }
    context.putImageData(out, 0, 0);
    Object.assign(canvas.dataset, { taken: lost, wrong: bad, zoom, at, metric: name });
    return [lost, bad];
  }

  function mapped() {
    const all = data.images.filter((image) => image.picture).flatMap((image) => image.picture.levels);
    return all.includes(metric().name) ? metric().name : all[0];
  }

  function sample(kind, zoom) {
    const canvas = node("canvas", { width: 22, height: 22, "aria-hidden": "true" }), context = canvas.getContext("2d");
    const out = context.createImageData(22, 22);
    for (let Y = 0; Y < 22; Y += 1) {
      for (let X = 0; X < 22; X += 1) {
        const c = kind === "taken" ? taken(X, Y, zoom, colour(2)) : kind === "wrong" ? wrong(X, Y, zoom) : VOID;
        out.data.set([c[0], c[1], c[2], 255], 4 * (Y * 22 + X));
      }
    }
    context.putImageData(out, 0, 0);
    return canvas;
  }

  async function pictures() {
    const shown = data.images.map((image, i) => [image, i]).filter(([image]) => image.picture);
    if (!shown.length) return;
    if (typeof DecompressionStream === "undefined") {
      section("pictures", node("p", { class: "warning" }, "This browser is too old to unpack the maps (it lacks DecompressionStream)."));
      return;
    }
    const grid = node("div", { class: "grid" }), used = new Set();
    for (const [image, i] of shown) {
      const canvas = node("canvas", { role: "img" }), words = node("figcaption");
      const maps = await planes(image.picture);
      for (const plane of [maps.prediction, maps.label]) plane?.forEach((k) => used.add(k));
      const photo = image.picture.photo ? node("img", { src: image.picture.photo, alt: "picture " + image.id }) : null;
      grid.append(node("figure", { "data-image": image.id }, node("div", { class: photo ? "pair" : "pair single" }, photo, canvas), words));
      painters.push(() => {
        const name = mapped(), p = data.positions[state.at];
        const [lost, bad] = paint(canvas, image.picture, maps, name, state.at);
        const text = `${lost} pixels can be taken, ${bad} wrong already`;
        canvas.setAttribute("aria-label", `prediction of ${image.id} at eps ${p.text}: ${text}`);
        const value = certifiedAt(i, state.at);
        words.replaceChildren(image.id, node("br"), `${metric().name} `, node("b", { class: "value" }, value === undefined ? "undefined" : "≥ ".replace("≥", metric().higher ? "≥" : "≤") + value),
          ` (clean ${image.clean[state.metric]}`, (image.attacked[state.metric] || [])[state.at] ? `, attacked ${image.attacked[state.metric][state.at]}` : "", `); ${text}`);
      });
    }
    const named = (k) => { const c = data.classes.find((known) => known.class === k); return c && c.name !== String(k) ? c.name : "class " + k; };
    const legend = node("div", { class: "legend" },
      node("span", {}, sample("taken", 5), "striped: the worst attack of the bound may take it at this budget"),
      node("span", {}, sample("wrong", 5), "chequered: wrong already"),
      [...used].sort((a, b) => a - b).map((k) => node("span", { "data-class": k }, node("span", { class: "swatch", style: `background: rgb(${colour(k)})` }), k === 255 ? "does not count" : named(k))));
    section("pictures", legend, node("p", { class: "note", id: "pictures-note" }), grid,
      data.left_out ? node("p", { class: "note" }, `${data.left_out} more pictures found no room here.`) : null);
    repaint();
  }

  function repaint() {
    painters.forEach((painter) => painter());
    const note = byId("pictures-note");
    if (note) {
      note.textContent = `Predicted classes, and the pixels of one optimum of the bound for ${mapped()} at eps ${data.positions[state.at].text}: not an attack that was found, and no attack takes more of them.`;
    }
  }

  // ---- goals
  function goal() {
    const m = metric(), sign = m.higher ? "≤" : "≥", threshold = data.thresholds[state.goal];
    byId("goal-now").textContent = `${m.name} ${sign} ${threshold}`;
    byId("threshold").setAttribute("aria-valuetext", `${m.name} ${sign} ${threshold}`);
    const budgets = data.images.map((image) => [image.id, (image.until[state.metric] || [])[state.goal]]).filter((row) => row[1] !== undefined);
    const order = (text) => (text === "no budget" ? Infinity : parseFloat(text));
    budgets.sort((a, b) => order(a[1]) - order(b[1]));
    const out = [node("p", {}, "The mean over images stays on the good side of ", node("b", {}, threshold), " within every budget up to ", node("b", { id: "goal-mean" }, m.until[state.goal]),
      m.until[state.goal] === "no budget" ? " reaches it." : " (rounded down).")];
    if (budgets.length) {
      out.push(table(["image", "out of reach up to eps"], budgets.slice(0, 10).map((row) => {
        const line = node("tr", { "data-image": row[0] }, node("td", {}, row[0]), node("td", {}, row[1]));
        return line;
      }), `The ${Math.min(10, budgets.length)} of ${budgets.length} images that fall first. Where rows asked for this very goal the budget is theirs, else that of the last point of the curve before it.`));
    }
    const asked = data.metrics.flatMap((part) => part.goals);
    if (asked.length) {
      out.push(table(["goal of the rows", "mean", "least", "images", "no budget", "pooled", "attacked, mean"],
        asked.map((g) => [g.goal, g.mean, g.least, String(g.images), String(g.unreachable), g.pooled, g.attacked]),
        "Budgets below which the goal is out of reach: mean and least of the images that some budget reaches; attacked: mean of the images (so many) on which an attack reached it" + (asked.some((g) => has(g.pooled)) ? "; pooled: one budget for all images." : ".")));
    }
    section("goal", out);
  }

  // ---- tables that follow the slider
  function classes() {
    if (!data.classes.length) return;
    const certified = (c) => c.metrics.map((i) => `${data.metrics[i].name} ${data.metrics[i].mean[state.at]}`).join(", ") || NONE;
    const rows = data.classes.map((c) => [
      node("span", {}, node("span", { class: "swatch", style: `background: rgb(${colour(c.class)})` }), c.name, " ", c.state === "absent" ? node("span", { class: "mark" }, "absent") : null),
      c.iou[0], c.iou[1], c.recall, c.precision, certified(c)]);
    section("classes", table(["class", "clean IoU, pooled", "clean IoU, mean", "clean recall, pooled", "clean precision, pooled", "certified at this budget"], rows,
      "Figures are those of rows of eval, or of the metrics of rows. A class without a labelled pixel is absent: it has no figure and is in no mean.", [5]));
  }

  function objects() {
    const out = data.objects.flatMap((part) => {
      const rows = part.images.map((image) => [image.id, String(image.counted), image.falls.join(", ") || NONE, ...image.budgets]);
      return rows.length ? [node("h3", {}, part.name), table(["image", "objects", "one more vanishes beyond eps", ...part.goals], rows, "Budgets within which the object cannot vanish, rounded down; the last of them holds for all.", [2])] : [];
    });
    if (out.length) section("objects", out);
  }

  function worst() {
    const m = metric();
    const rows = data.images.map((image, i) => [image, certifiedAt(i, state.at)]).filter((row) => row[1] !== undefined && row[1] !== NONE);
    const value = (text) => (m.higher ? 1 : -1) * parseFloat(text);
    rows.sort((a, b) => value(a[1]) - value(b[1]));
    if (!rows.length) { byId("worst").hidden = true; return; }
    section("worst", table(["image", "certified", "attacked", "clean"], rows.slice(0, 10).map(([image, text]) =>
      [image.id, text, (image.attacked[state.metric] || [])[state.at] || NONE, image.clean[state.metric]]),
    `The ${Math.min(10, rows.length)} of ${rows.length} images with the worst certified ${m.name} at eps ${data.positions[state.at].text}.`));
  }

  // ---- what does not move
  function smoothing() {
    const out = data.smoothing.flatMap((s) => [node("h3", {}, s.name), node("p", {}, `${s.images} images. ` + s.statement), table(["figure", "value"], s.figures)]);
    if (data.methods.length) {
      out.push(node("h3", {}, "Methods side by side"), table(["network", "method", "eps", "samples", "certified and right", "s per image", "statement"], data.methods.map((m) => m.cells), "", [1, 6]));
    }
    if (out.length) section("smoothing", out);
  }

  function latency() {
    const l = data.latency, out = [];
    if (l) {
      const width = 560, height = 130, most = Math.max(...l.bars), bar = width / l.bars.length;
      const svg = node("svg", { viewBox: `0 0 ${width} ${height + 22}`, width, height: height + 22, role: "img", "aria-label": "histogram of times: " + l.quantiles.map((q) => q.join(" ")).join(", ") + " ms" });
      l.bars.forEach((count, i) => {
        const h = (height * count) / most;
        svg.append(node("rect", { x: i * bar + 1, y: height - h, width: bar - 2, height: h, fill: "var(--certified)" }, node("title", {}, `${count} images`)));
      });
      svg.append(node("line", { class: "axis", x1: 0, x2: width, y1: height, y2: height }), node("text", { x: 0, y: height + 16 }, l.range[0].toPrecision(3) + " ms"), node("text", { x: width, y: height + 16, "text-anchor": "end" }, l.range[1].toPrecision(3) + " ms"));
      out.push(svg, table(l.quantiles.map((q) => q[0]), [l.quantiles.map((q) => q[1])], `Milliseconds for an image, ${l.images} images: pass and certificate, ${l.parts[0]} and ${l.parts[1]} on average. Each is a time that was measured.`));
    } else if (data.metrics.length) {
      out.push(node("p", { class: "note" }, "The rows have no times, which differ from run to run: certify --times writes them."));
    }
    if (data.benches.length) out.push(table(["what", "threads", "ms, median", "ms, least"], data.benches, "Of bench."));
    if (out.length) section("latency", out);
  }

  function audit() {
    if (!data.audit) return;
    section("audit", node("p", {}, `L ≤ ${data.audit.lipschitz}, of ${data.audit.size.join("x")} pictures in [0,1] to all logits together, from the weights.`),
      table(["layer", "bound, rounded up", "how", "ms"], data.audit.layers, "", [2]));
  }

  function assumptions() {
    if (!data.assumptions.length) return;
    const sign = { checked: "✓ checked", assumed: "? assumed", convention: "convention" };
    section("assumptions", node("ul", { class: "assumptions" }, data.assumptions.map((a) => node("li", { class: a.state }, node("b", {}, a.what), " (" + sign[a.state] + "): " + a.text))));
  }

  function sources() {
    const list = (pairs) => node("dl", {}, pairs.flatMap(([name, value]) => [node("dt", {}, name), node("dd", {}, value)]));
    section("sources", data.sources.map((s) => node("details", { open: "" }, node("summary", {}, node("b", {}, s.verb), " " + s.name), list(s.facts),
      s.settings.length ? node("details", {}, node("summary", {}, "settings"), list(s.settings)) : null,
      s.texts.map(([name, text]) => node("details", {}, node("summary", {}, name), node("pre", {}, text))))));
  }

  // ---- what the slider moves
  function move() {
    const m = metric(), p = data.positions[state.at];
    byId("eps").value = state.at;
    byId("eps").setAttribute("aria-valuetext", "eps " + p.text);
    byId("eps-now").textContent = p.text + (p.row ? " (of the rows)" : p.number === 0 ? " (the clean picture)" : "");
    for (const [id, texts] of [["certified", m.mean], ["pooled", m.pooled], ["attacked", m.attacked]]) {
      const place = byId("now-" + id);
      // a mean of fewer images than the certified one says so
      const fewer = id === "attacked" && has(texts[state.at]) && m.attacked_images[state.at] !== m.images;
      place.textContent = texts[state.at] + (fewer ? ` (${m.attacked_images[state.at]} images)` : "");
      place.parentNode.hidden = !texts.some(has);
    }
    byId("now-clean").textContent = m.clean;
    byId("printed").textContent = `${m.name} at eps ${p.text}: on paper nothing slides, numbers and pictures are of this budget.`;
    document.querySelectorAll("#ticks button").forEach((b) => b.setAttribute("aria-current", Number(b.dataset.at) === state.at));
    document.querySelectorAll("#table tr[data-at]").forEach((tr) => tr.classList.toggle("now", Number(tr.dataset.at) === state.at && Number(tr.dataset.metric) === state.metric));
    curves(); classes(); worst(); repaint();
  }

  function controls() {
    const eps = byId("eps"), threshold = byId("threshold"), choose = byId("metric");
    byId("controls").hidden = false;
    data.metrics.forEach((m, i) => choose.append(node("option", { value: i }, m.name)));
    choose.addEventListener("change", () => { state.metric = Number(choose.value); move(); goal(); });
    eps.max = data.positions.length - 1;
    eps.addEventListener("input", () => { state.at = Number(eps.value); move(); });
    threshold.max = data.thresholds.length - 1;
    state.goal = Math.max(0, data.thresholds.indexOf("0.5"));
    threshold.value = state.goal;
    threshold.addEventListener("input", () => { state.goal = Number(threshold.value); goal(); });
    data.positions.forEach((p, at) => {
      if (!p.row && at) return;
      const place = data.positions.length > 1 ? at / (data.positions.length - 1) : 0;
      const tick = node("button", { type: "button", "data-at": at, "aria-label": "eps " + p.text, style: `left: calc(8px + ${place} * (100% - 16px))` }, p.text);
      tick.addEventListener("click", () => { state.at = at; move(); });
      byId("ticks").append(tick);
    });
    thin();
    const again = (paper) => () => { state.paper = paper; curves(); };
    addEventListener("resize", () => { thin(); curves(); });
    addEventListener("beforeprint", again(true));
    addEventListener("afterprint", again(false));
  }

  // labels that would touch each other are left out, their stops are not
  function thin() {
    let behind = -Infinity;
    for (const tick of byId("ticks").children) {
      tick.hidden = false;
      const { left, right } = tick.getBoundingClientRect();
      tick.hidden = left < behind;
      if (!tick.hidden) behind = right;
    }
  }

  function theme() {
    const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)");
    const follow = () => { root.dataset.theme = dark.matches ? "dark" : "light"; };
    follow();
    dark.addEventListener("change", follow);
    byId("theme").addEventListener("click", () => { root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark"; });
  }

  theme();
  verdict();
  smoothing(); latency(); audit(); assumptions(); sources();
  if (data.metrics.length) {
    controls(); byBudget(); objects(); move(); goal();
    pictures().then(() => { document.body.dataset.ready = "yes"; });
  } else {
    classes();
    pictures().then(() => { document.body.dataset.ready = "yes"; });
  }
})();
