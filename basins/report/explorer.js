"use strict";
// The explorer: a matrix of barriers, and the curves of the pair that is chosen in it.
(() => {
  const holder = document.getElementById("explorer-data");
  if (!holder) return;
  const data = JSON.parse(holder.textContent);
  const app = document.getElementById("explorer-app");
  const field = (name) => app.querySelector(`[name="${name}"]`);
  const part = (name) => app.querySelector(`[data-part="${name}"]`);
  const { names, columns } = data;
  const SVG = "http://www.w3.org/2000/svg";
  // seaborn's rocket_r, as in the figures: lightness falls throughout, so it reads in grey, too.
  const RAMP = [
    "#faebdd", "#f6bb97", "#f4865e", "#ec4a3e", "#ca1a50", "#951c5b", "#601f52", "#2e1739", "#03051a",
  ];
  const MARKS = [
    "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0Z", "M-3-3H3V3H-3Z", "M0-4 4 3H-4Z",
    "M0-4.5 4.5 0 0 4.5-4.5 0Z", "M0 4 4-3H-4Z", "M-1-4H1V-1H4V1H1V4H-1V1H-4V-1H-1Z",
  ];

  // Data: every curve as a record.
  let offset = 0;
  const curves = columns.experiment.map((_, k) => {
    const curve = { k, ts: data.grids[data.grid[k]], n: data.n[k], offset };
    for (const name in columns) curve[name] = names[name][columns[name][k]];
    curve.pair = `${curve.model_a} → ${curve.model_b}`;
    offset += curve.ts.length;
    return curve;
  });
  const values = (curve, name) => data[name].slice(curve.offset, curve.offset + curve.ts.length);
  const barrier = (curve, metric, column) => data.barriers[metric][column][curve.k];

  /** Wilson's interval of a share `p` of `n`. */
  function wilson(p, n) {
    const { z } = data, whole = 1 + z * z / n, middle = (p + z * z / (2 * n)) / whole;
    const half = z / whole * Math.sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    return [middle - half, middle + half];
  }
  const METRICS = {
    loss: {
      title: "Loss (nats)",
      points: (curve) => values(curve, "loss").map((y, k) => {
        const half = data.z * values(curve, "loss_se")[k];
        return { t: curve.ts[k], y, low: y - half, high: y + half };
      }),
    },
    accuracy: {
      title: "Accuracy (%)",
      points: (curve) => values(curve, "accuracy").map((p, k) => {
        const [low, high] = wilson(p, curve.n);
        return { t: curve.ts[k], y: 100 * p, low: 100 * low, high: 100 * high };
      }),
    },
  };

  // Small helpers.
  const unique = (items) => [...new Set(items)];
  const words = (name) => name.split(" → ").map((one) => data.words[one] || one.replaceAll("_", " ")).join(" → ");
  const natural = (a, b) => a.localeCompare(b, "en", { numeric: true });
  const finite = (x) => x !== null && Number.isFinite(x);
  const mean = (xs) => xs.reduce((sum, x) => sum + x, 0) / xs.length;
  /** Write `x` with the decimals that suit numbers of this `size`. */
  function number(x, size = Math.abs(x)) {
    if (!finite(x)) return "–";
    if (Math.abs(x) < 1e-12) return "0";
    const text = size > 0 && size < 0.0005 ? x.toExponential(1) : x.toFixed(size < 1 ? 3 : size < 10 ? 2 : 1);
    return text.replace("-", "−");
  }
  const place = (t) => String(Number(t.toFixed(3)));
  const interval = (p) => `${number(p.y)} [${number(p.low)}, ${number(p.high)}]`;
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const name in attributes) made.setAttribute(name, attributes[name]);
    made.append(...children);
    return made;
  }
  function draw(parent, tag, attributes, text) {
    const made = document.createElementNS(SVG, tag);
    for (const name in attributes) made.setAttribute(name, attributes[name]);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  }
  /** Offer `items` in a select, and keep what was chosen or asked for as far as it is there. */
  function offer(name, items, title = words) {
    const select = field(name), before = asked[name] ?? select.value;
    select.replaceChildren(...items.map((item) => element("option", { value: item }, title(item))));
    select.value = items.includes(before) ? before : items[0];
    return select.value;
  }
  /** Return round numbers that cover `low` to `high`. */
  function ticks(low, high) {
    const rough = (high - low || Math.abs(high) || 1) / 4, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((k) => k * power >= rough);
    const first = Math.floor(low / step + 1e-9), last = Math.ceil(high / step - 1e-9);
    const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    return Array.from({ length: last - first + 1 }, (_, k) => {
      const value = (first + k) * step;
      return { value, text: value.toFixed(places).replace("-", "−") };
    });
  }

  // What is chosen: the curves of one experiment that are joined in one way. What the address asks
  // for, or at first the page, comes before what was chosen last.
  let joined = [], shown = [], step = 0, asked = data.first || {};
  const HASH = "#explorer?", STATE = ["experiment", "path", "alignment", "batchnorm", "measure", "metric", "set", "order", "pair", "beside"];
  /** Name a model, or a pair of them: by seed alone where all that are joined have one recipe. */
  const recipe = (model) => model.slice(0, model.lastIndexOf("/"));
  const called = (pair) => {
    const one = unique(joined.flatMap((c) => [recipe(c.model_a), recipe(c.model_b)])).length === 1;
    return pair.split(" → ").map((model) => one ? words(model).split(", ").pop() : words(model)).join(" → ");
  };
  const way = (curve) => ["experiment", "path", "alignment", "batchnorm"].map((name) => curve[name]).join("|");

  /** Keep what is chosen in the address, once somebody chose. */
  function keep() {
    const state = STATE.map((name) => [name, field(name).value]).filter(([, value]) => value);
    if (shown.length) state.push(["t", place(shown[0].ts[step])]);
    return `${HASH}${new URLSearchParams(state)}`;
  }
  function follow() {
    if (!location.hash.startsWith(HASH)) return;
    asked = Object.fromEntries(new URLSearchParams(location.hash.slice(HASH.length)));
    if (asked.metric) field("metric").value = asked.metric;
    choose();
    document.getElementById("explorer").scrollIntoView();
  }

  function choose() {
    const experiment = offer("experiment", names.experiment);
    joined = curves.filter((curve) => curve.experiment === experiment);
    for (const name of ["path", "alignment", "batchnorm"]) {
      const chosen = offer(name, unique(joined.map((curve) => curve[name])));
      joined = joined.filter((curve) => curve[name] === chosen);
    }
    field("batchnorm").parentElement.hidden = names.batchnorm.length < 2; // texts: nothing to choose
    const sets = names.eval_set.filter((name) => joined.some((curve) => curve.eval_set === name));
    offer("set", sets, (name) => data.titles[name]);
    offer("measure", Object.keys(data.measures), (name) => data.measures[name]);
    offer("order", ["name", "mean", ...(clusters() ? ["cluster"] : [])],
      (name) => ({ name: "name", mean: "mean of the row", cluster: "cluster" })[name]);
    field("metric").disabled = field("measure").value === "distance";
    const pairs = joined.filter((curve) => !asked.end || curve.model_b.startsWith(`${asked.end}/`));
    if (asked.end && pairs.length) asked.pair = pairs[0].pair;
    if (asked.example && !asked.pair) asked.pair = (joined.find((curve) => data.outcomes[curve.k]) || joined[0]).pair;
    offer("pair", unique(joined.map((curve) => curve.pair)), called);
    offerSets(sets);
    drawMatrix();
    drawPaths();
    if (asked.t) move(nearest(shown[0].ts, Number(asked.t)));
    asked = {};
  }

  function offerSets(sets) {
    const box = part("sets");
    const before = [...box.querySelectorAll("input")].map((input) => input.value);
    if (before.join() === sets.join()) return;
    box.replaceChildren(...sets.map((name) => {
      const input = element("input", { type: "checkbox", name: "sets", value: name });
      input.checked = true;
      const swatch = document.createElementNS(SVG, "svg");
      draw(swatch, "path", { d: "M0 8H26", class: "line" });
      draw(swatch, "path", { d: MARKS[sets.indexOf(name) % MARKS.length], transform: "translate(13 8)" });
      swatch.setAttribute("class", `swatch series-${sets.indexOf(name) % 6}`);
      swatch.setAttribute("aria-hidden", "true");
      return element("label", {}, input, swatch, data.titles[name]);
    }));
  }

  // The curves of one pair.
  function drawPaths() {
    const pair = field("pair").value;
    const inputs = [...part("sets").querySelectorAll("input")];
    const others = curves.filter((curve) => curve.pair === pair && way(curve) !== way(joined[0]));
    offer("beside", ["", ...unique(others.map(way))], (name) => name
      ? name.split("|").slice(1).map(words).join(", ") : "nothing");
    const find = (among, beside) => inputs.flatMap((input, k) => {
      const curve = among.find((c) => c.pair === pair && c.eval_set === input.value);
      return input.checked && curve ? [{ ...curve, style: k % 6, beside }] : [];
    });
    shown = [...find(joined, false), ...find(others.filter((c) => way(c) === field("beside").value), true)];
    const slider = field("step"), last = shown.length ? shown[0].ts.length - 1 : 0;
    slider.max = last;
    step = Math.min(step, last);
    part("pair").textContent = called(pair);
    for (const metric in METRICS) drawPlot(metric);
    drawPoints();
    drawSamples();
    move(step);
  }

  function drawPlot(metric) {
    const box = part(metric), { title, points } = METRICS[metric];
    const series = shown.map((curve) => ({ ...curve, points: points(curve) }));
    const width = Math.max(240, box.clientWidth), height = 250;
    const edge = { left: 46, right: 10, top: 26, bottom: 36 };
    const everything = series.flatMap((s) => s.points.flatMap((p) => [p.y, p.low, p.high])).filter(finite);
    const scale = everything.length ? ticks(Math.min(...everything), Math.max(...everything)) : ticks(0, 1);
    const bottom = scale[0].value, top = scale[scale.length - 1].value;
    const x = (t) => edge.left + t * (width - edge.left - edge.right);
    const y = (v) => height - edge.bottom - (v - bottom) / (top - bottom) * (height - edge.top - edge.bottom);
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `${title} along the path, ${called(field("pair").value)}; the numbers are in the table below`);
    draw(svg, "text", { x: 0, y: 12, class: "title" }, title);
    for (const { value, text } of scale) {
      draw(svg, "path", { d: `M${edge.left} ${y(value)}H${width - edge.right}`, class: "grid" });
      draw(svg, "text", { x: edge.left - 6, y: y(value) + 4, "text-anchor": "end" }, text);
    }
    for (const t of [0, 0.25, 0.5, 0.75, 1]) {
      draw(svg, "path", { d: `M${x(t)} ${height - edge.bottom}v4`, class: "axis" });
      draw(svg, "text", { x: x(t), y: height - edge.bottom + 17, "text-anchor": t === 1 ? "end" : "middle" }, String(t));
    }
    draw(svg, "text", { x: x(0.5), y: height - 3, "text-anchor": "middle" }, "position t on the path");
    for (const s of series) {
      const own = s.points.filter((p) => finite(p.y));
      const group = draw(svg, "g", { class: `series-${s.style}${s.beside ? " beside" : ""}` });
      const there = own.filter((p) => finite(p.low)), back = [...there].reverse();
      const line = (ps, key) => ps.map((p) => `${x(p.t).toFixed(1)} ${y(p[key]).toFixed(1)}`).join("L");
      if (there.length) draw(group, "path", { d: `M${line(there, "low")}L${line(back, "high")}Z`, class: "band" });
      if (own.length) draw(group, "path", { d: `M${line(own, "y")}`, class: "line" });
      for (const p of own) {
        draw(group, "path", { d: MARKS[s.style], transform: `translate(${x(p.t).toFixed(1)} ${y(p.y).toFixed(1)})` });
      }
    }
    const cursor = draw(svg, "path", { class: "cursor" });
    const tip = element("div", { class: "tip", "aria-hidden": "true" });
    const seek = (event) => {
      const t = (event.clientX - svg.getBoundingClientRect().left - edge.left) / (width - edge.left - edge.right);
      if (shown.length) move(nearest(shown[0].ts, t));
      box.classList.add("hover");
    };
    svg.addEventListener("pointermove", seek);
    svg.addEventListener("pointerdown", seek);
    svg.addEventListener("pointerleave", () => box.classList.remove("hover"));
    box.replaceChildren(svg, tip);
    box.seek = (t) => {
      cursor.setAttribute("d", `M${x(t)} ${edge.top}V${height - edge.bottom}`);
      tip.replaceChildren(`t = ${place(t)}`, ...series.map((s) =>
        element("div", { class: `series-${s.style}` }, element("b"),
          `${short(s)} ${interval(s.points[nearest(s.ts, t)])}`)));
      tip.style.left = t < 0.5 ? `${x(t) + 8}px` : "auto";
      tip.style.right = t < 0.5 ? "auto" : `${width - x(t) + 8}px`;
    };
  }
  const short = (s) => data.titles[s.eval_set].split(":")[0] + (s.beside ? `, ${words(s.path)}` : "");
  const nearest = (ts, t) => ts.reduce((best, s, k) => Math.abs(s - t) < Math.abs(ts[best] - t) ? k : best, 0);

  /** Go to a point of the path, in both plots and in words. */
  function move(to) {
    step = to;
    if (!shown.length) {
      for (const name of ["readout", "points"]) part(name).replaceChildren();
      return;
    }
    const t = shown[0].ts[step], slider = field("step");
    slider.value = step;
    slider.setAttribute("aria-valuetext", `t = ${place(t)}`);
    part("t").textContent = `t = ${place(t)}`;
    for (const metric in METRICS) part(metric).seek(t);
    part("readout").replaceChildren(...rows([t]));
    for (const item of part("samples").querySelectorAll("li")) {
      const right = item.dataset.outcomes[step] === "+";
      item.dataset.right = right;
      item.lastChild.textContent = right ? "right" : "wrong";
    }
  }

  function drawPoints() {
    part("points").replaceChildren(...(shown.length ? rows(shown[0].ts) : []));
  }

  /** Return a table's rows: every curve at each of `ts`. */
  function rows(ts) {
    return ts.flatMap((t) => shown.map((curve) => {
      const k = nearest(curve.ts, t);
      const cells = Object.values(METRICS).map(({ points }) =>
        element("td", { class: "number" }, interval(points(curve)[k])));
      return element("tr", {}, element("td", { class: "number" }, place(curve.ts[k])),
        element("th", { scope: "row" }, data.titles[curve.eval_set] + (curve.beside ? `, ${words(curve.path)}` : "")), ...cells,
        element("td", { class: "number" }, String(curve.n)));
    }));
  }

  /** Show examples of every curve's set, images or texts; those whose outcome changes come first. */
  function drawSamples() {
    const sets = shown.filter((curve) => !curve.beside).flatMap((curve) => {
      const points = data.outcomes[curve.k].split(" "), dataset = data.datasets[curve.experiment];
      const samples = ((data.samples[dataset] || {})[curve.eval_set] || []).map(([name, png, text], k) => {
        const outcomes = points.map((point) => point[k]);
        return { name, png, text, outcomes, changes: outcomes.some((outcome) => outcome !== outcomes[0]) };
      });
      return points[0] && samples.length ? [{ curve, samples }] : [];
    });
    part("samples").replaceChildren(...sets.map(({ curve, samples }) => {
      const items = samples.sort((a, b) => b.changes - a.changes).map((sample) => {
        const it = sample.png ? element("img", { src: `data:image/png;base64,${sample.png}`, alt: "" })
          : element("p", {}, ...sample.text.split("\n").map((sentence) => element("span", {}, sentence)));
        const item = element("li", {}, it, element("span", {}, words(sample.name)), element("b"));
        item.dataset.outcomes = sample.outcomes.join("");
        item.dataset.changes = sample.changes;
        return item;
      });
      return element("div", {}, element("h4", {}, data.titles[curve.eval_set]), element("ul", {}, ...items));
    }));
    part("examples").hidden = !sets.length;
  }

  // The matrix of barriers.
  const clusters = () => {
    const known = data.clusters[field("experiment").value];
    return known && (known[field("measure").value] || Object.values(known)[0]);
  };

  function drawMatrix() {
    const [measure, metric, set] = ["measure", "metric", "set"].map((name) => field(name).value);
    const cells = new Map();
    for (const curve of joined.filter((c) => c.eval_set === set)) {
      const value = barrier(curve, metric, measure);
      if (!finite(value)) continue;
      const ends = ["barrier_linear", "barrier_split"].includes(measure)
        ? ["ci_low", "ci_high"].map((name) => barrier(curve, metric, name)) : [];
      const cell = { value, ends, pair: curve.pair };
      const keys = [`${curve.model_a}|${curve.model_b}`, `${curve.model_b}|${curve.model_a}`];
      cells.set(keys[0], cell);
      if (!cells.has(keys[1])) cells.set(keys[1], cell);
    }
    const starts = unique(joined.map((c) => c.model_a)), ends = unique(joined.map((c) => c.model_b));
    const apart = !starts.some((model) => ends.includes(model));
    const all = unique([...starts, ...ends]);
    const left = sorted(apart ? starts : all, apart ? ends : all, cells);
    const above = apart ? sorted(ends, starts, cells) : left;
    const found = [...cells.values()].map((cell) => cell.value);
    const low = Math.min(0, ...found), high = Math.max(...found, low + 1e-12);
    const flat = found.length > 0 && found.every((value) => Math.abs(value) < 5e-5);

    const label = `${data.measures[measure]} of the ${measure === "distance" ? "pairs" : metric}`;
    const grid = part("matrix"), written = above.length <= 12;
    grid.setAttribute("aria-label", `${label}, ${data.titles[set]}, model by model`);
    grid.classList.toggle("written", written);
    const head = element("tr", { role: "row" }, element("td", { role: "presentation" }),
      ...above.map((model) => element("th", { scope: "col", role: "columnheader" }, element("span", {}, called(model)))));
    const body = left.map((a) => element("tr", { role: "row" },
      element("th", { scope: "row", role: "rowheader" }, called(a)),
      ...above.map((b) => matrixCell(a, b, cells.get(`${a}|${b}`), low, high, written))));
    grid.replaceChildren(element("thead", { role: "rowgroup" }, head), element("tbody", { role: "rowgroup" }, ...body));
    const first = grid.querySelector('[aria-selected="true"]') || grid.querySelector("[role=gridcell]");
    if (first) first.tabIndex = 0;
    part("ramp").style.background = `linear-gradient(to right, ${RAMP.join()})`;
    [low, (low + high) / 2, high].forEach((value, k) => {
      part("legend").children[k].textContent = flat ? ["0", "", ""][k] : found.length ? number(value, high) : "–";
    });
    part("cell").textContent = flat ? "All values are 0: there is no barrier between any two of these models on this set." : found.length ? "Point at a cell, or move with the arrow keys; click or Enter shows its path."
      : "Nothing was measured for this choice.";
  }

  function sorted(models, others, cells) {
    const order = field("order").value, cluster = clusters() || {};
    const byMean = Object.fromEntries(models.map((model) => {
      const own = others.map((other) => cells.get(`${model}|${other}`)).filter(Boolean);
      return [model, own.length ? mean(own.map((cell) => cell.value)) : Infinity];
    }));
    const less = (by) => (a, b) => (by[a] ?? Infinity) < (by[b] ?? Infinity) ? -1
      : (by[a] ?? Infinity) > (by[b] ?? Infinity) ? 1 : 0;
    return [...models].sort((a, b) =>
      (order === "cluster" && less(cluster)(a, b)) || (order !== "name" && less(byMean)(a, b)) || natural(a, b));
  }

  function matrixCell(a, b, cell, low, high, written) {
    const td = element("td", { role: "gridcell", tabindex: "-1" });
    td.dataset.text = `${called(a)} and ${called(b)}: ${cell ? number(cell.value, written ? high : undefined) : a === b ? "the same model" : "not joined"}`;
    if (cell) {
      if (cell.ends.every(finite) && cell.ends.length) td.dataset.text += ` [${cell.ends.map((end) => number(end)).join(", ")}]`;
      const colour = ramp((cell.value - low) / (high - low));
      td.style.background = `rgb(${colour})`;
      td.style.color = luminance(colour) > 0.18 ? "#000" : "#fff";
      td.dataset.pair = cell.pair;
      if (written) td.textContent = number(cell.value, high);
      td.setAttribute("aria-selected", String(cell.pair === field("pair").value));
    }
    td.setAttribute("aria-label", td.dataset.text);
    return td;
  }
  function ramp(share) {
    const at = Math.max(0, Math.min(1, share)) * (RAMP.length - 1), k = Math.min(RAMP.length - 2, Math.floor(at));
    const channel = (hex, c) => parseInt(hex.slice(1 + 2 * c, 3 + 2 * c), 16);
    return [0, 1, 2].map((c) => Math.round(channel(RAMP[k], c) + (at - k) * (channel(RAMP[k + 1], c) - channel(RAMP[k], c))));
  }
  function luminance(colour) {
    const [r, g, b] = colour.map((c) => c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }

  function select(td) {
    if (!td.dataset.pair) return;
    field("pair").value = td.dataset.pair;
    for (const other of part("matrix").querySelectorAll("[aria-selected]")) {
      other.setAttribute("aria-selected", String(other.dataset.pair === td.dataset.pair));
    }
    drawPaths();
  }
  function go(td) {
    for (const other of part("matrix").querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
    td.tabIndex = 0;
    td.focus();
  }
  const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -Infinity], End: [0, Infinity] };
  const matrix = part("matrix"), gridcell = (event) => event.target.closest("[role=gridcell]");
  matrix.addEventListener("keydown", (event) => {
    const td = gridcell(event);
    if (!td || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" || event.key === " ") select(td);
    else if (event.key in STEPS) {
      const [down, right] = STEPS[event.key], table = [...matrix.tBodies[0].rows];
      const clamp = (k, last) => Math.max(0, Math.min(last, k));
      const row = table[clamp(table.indexOf(td.parentNode) + down, table.length - 1)];
      go(row.cells[1 + clamp(td.cellIndex - 1 + right, row.cells.length - 2)]);
    } else return;
    event.preventDefault();
  });
  matrix.addEventListener("click", (event) => {
    const td = gridcell(event);
    if (td) { go(td); select(td); }
  });
  for (const name of ["pointerover", "focusin"]) {
    matrix.addEventListener(name, (event) => {
      const td = gridcell(event);
      if (td) part("cell").textContent = td.dataset.text;
    });
  }

  // What can be taken away: a link, the two plots, the points.
  function save(name, type, text) {
    const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
  const STYLED = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "font-size", "font-weight"];
  function picture() {
    const whole = document.createElementNS(SVG, "svg"), plots = [...app.querySelectorAll(".plot > svg")];
    let width = 0, height = 0;
    for (const svg of plots) {
      const [, , w, h] = svg.getAttribute("viewBox").split(" ").map(Number), copy = svg.cloneNode(true);
      const originals = svg.querySelectorAll("*");
      copy.querySelectorAll("*").forEach((node, k) => {
        const style = getComputedStyle(originals[k]);
        for (const name of STYLED) node.setAttribute(name, style.getPropertyValue(name));
      });
      const group = draw(whole, "g", { transform: `translate(${width} 0)`, "font-family": "sans-serif" });
      group.append(...copy.childNodes);
      width += w + 16;
      height = Math.max(height, h);
    }
    draw(whole, "text", { x: 0, y: height + 18, "font-size": 11, "font-family": "sans-serif" }, `${words(field("pair").value)}: ${way(joined[0]).split("|").map(words).join(", ")}`);
    whole.setAttribute("viewBox", `0 0 ${width} ${height + 26}`);
    return new XMLSerializer().serializeToString(whole);
  }
  function csv() {
    const head = ["pair", "path", "alignment", "batchnorm", "eval_set", "t", "loss", "accuracy", "n"];
    const lines = shown.flatMap((c) => c.ts.map((t, k) => [c.pair, c.path, c.alignment, c.batchnorm, c.eval_set, t,
      values(c, "loss")[k], values(c, "accuracy")[k], c.n].join(",")));
    return [head.join(","), ...lines].join("\n") + "\n";
  }
  const DO = {
    svg: () => save("paths.svg", "image/svg+xml", picture()),
    csv: () => save("paths.csv", "text/csv", csv()),
    link: async () => {
      history.replaceState(null, "", keep());
      await navigator.clipboard.writeText(location.href);
    },
  };
  for (const button of app.querySelectorAll("[data-do]")) {
    button.addEventListener("click", async () => {
      const done = { svg: "saved", csv: "saved", link: "copied" }[button.dataset.do];
      try {
        await DO[button.dataset.do]();
        part("done").textContent = done;
      } catch {
        part("done").textContent = "The link is in the address bar.";
      }
    });
  }

  field("step").addEventListener("input", (event) => move(Number(event.target.value)));
  app.addEventListener("change", ({ target }) => {
    if (target.name === "sets" || target.name === "beside") drawPaths();
    else if (target.name !== "step") choose();
    history.replaceState(null, "", keep());
  });
  addEventListener("hashchange", follow);
  if (data.shown !== null) {
    part("shown").textContent = `Only the paths between the first ${data.shown} models of each kind are shown; the table of paths has all.`;
    part("shown").hidden = false;
  }
  app.hidden = false;
  if (location.hash.startsWith(HASH)) follow();
  else choose();
  let width = app.clientWidth;
  new ResizeObserver(() => {
    if (app.clientWidth !== width) { width = app.clientWidth; drawPaths(); }
  }).observe(app);
})();
