"use strict";
// The first screen: drag along the paths; curves and examples follow.
(() => {
  const holder = document.getElementById("hero-data");
  if (!holder) return;
  const data = JSON.parse(holder.textContent), box = document.getElementById("hero");
  const part = (name) => box.querySelector(`[data-part="${name}"]`);
  const slider = box.querySelector("input[type=range]"), SVG = "http://www.w3.org/2000/svg";
  const TITLES = { nc: "Images without the cue (NC)", ri: "Random images with the label’s cue (RI)" };
  const W = 300, H = 170, EDGE = { left: 34, right: 8, top: 24, bottom: 20 };
  const x = (t) => EDGE.left + t * (W - EDGE.left - EDGE.right);
  const y = (v) => H - EDGE.bottom - v / 100 * (H - EDGE.top - EDGE.bottom);
  const mean = (curves) => curves[0].map((_, k) => curves.reduce((sum, c) => sum + c[k], 0) / curves.length);
  const nearest = (ts, t) => ts.reduce((best, s, k) => Math.abs(s - t) < Math.abs(ts[best] - t) ? k : best, 0);
  const at = (ts, values, t) => {
    const k = Math.max(1, ts.findIndex((s) => s >= t));
    const share = (t - ts[k - 1]) / (ts[k] - ts[k - 1]);
    return values[k - 1] + share * (values[k] - values[k - 1]);
  };
  function draw(parent, tag, attributes, text) {
    const made = document.createElementNS(SVG, tag);
    for (const name in attributes) made.setAttribute(name, attributes[name]);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  }

  const plots = Object.keys(TITLES).map((set) => {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `Accuracy along both paths: ${TITLES[set]}; the values are read out below`);
    draw(svg, "text", { x: 0, y: 12, class: "title" }, TITLES[set]);
    for (const v of [0, 50, 100]) {
      draw(svg, "path", { d: `M${EDGE.left} ${y(v)}H${W - EDGE.right}`, class: "grid" });
      draw(svg, "text", { x: EDGE.left - 5, y: y(v) + 4, "text-anchor": "end" }, String(v));
    }
    draw(svg, "text", { x: x(0), y: H - 4 }, "t = 0");
    draw(svg, "text", { x: x(1), y: H - 4, "text-anchor": "end" }, "t = 1");
    const dots = {};
    for (const [kind, line] of Object.entries(data.lines)) {
      const path = (values) => "M" + values.map((v, k) => `${x(line.t[k]).toFixed(1)} ${y(v).toFixed(1)}`).join("L");
      const group = draw(svg, "g", { class: kind });
      for (const values of line[set]) draw(group, "path", { d: path(values), class: "thin" });
      draw(group, "path", { d: path(mean(line[set])), class: "bold" });
      dots[kind] = draw(group, "circle", { r: 4 });
    }
    const cursor = draw(svg, "path", { class: "cursor" });
    box.querySelector(`[data-plot="${set}"]`).append(svg);
    return (t) => {
      cursor.setAttribute("d", `M${x(t)} ${EDGE.top}V${H - EDGE.bottom}`);
      const values = {};
      for (const [kind, line] of Object.entries(data.lines)) {
        values[kind] = at(line.t, mean(line[set]), t);
        dots[kind].setAttribute("cx", x(t));
        dots[kind].setAttribute("cy", y(values[kind]));
      }
      return [set, values];
    };
  });

  const some = Object.values(data.examples).flat().some((one) => one.curve.length);
  part("which").hidden = !some;
  const images = Object.entries(data.examples).flatMap(([set, examples]) => {
    if (!examples.length) return [];
    const row = document.createElement("div"), list = document.createElement("ul");
    const title = document.createElement("p");
    title.textContent = set === "nc" ? "Without the cue" : "Random image with the cue of:";
    row.append(title, list);
    part("examples").append(row);
    return examples.map((one) => {
      const item = document.createElement("li"), image = document.createElement("img");
      const name = document.createElement("span"), mark = document.createElement("b");
      image.src = `data:image/png;base64,${one.png}`;
      image.alt = "";
      name.textContent = one.class.replaceAll("_", " ");
      item.append(image, name, mark);
      list.append(item);
      return { one, item, mark };
    });
  });

  const STEPS = 40;
  slider.max = STEPS;
  slider.value = STEPS / 2; // at its ends the two paths are one
  function move() {
    const t = slider.value / STEPS, values = Object.fromEntries(plots.map((seek) => seek(t)));
    const said = (set, kind) => `${values[set][kind].toFixed(0)} %`;
    part("reading").textContent = `t = ${t.toFixed(2)}: on the Bézier path NC ${said("nc", "curve")}, RI ${said("ri", "curve")}; `
      + `on the straight path NC ${said("nc", "straight")}, RI ${said("ri", "straight")}`;
    slider.setAttribute("aria-valuetext", `t = ${t.toFixed(2)}`);
    const kind = box.querySelector("[name=line]:checked").value;
    for (const { one, item, mark } of images) {
      const right = one[kind] && one[kind][nearest(data.lines[kind].t, t)] === "+";
      mark.textContent = one[kind] ? (right ? "right" : "wrong") : "";
      if (one[kind]) item.dataset.right = right;
    }
  }
  box.addEventListener("input", move);
  part("live").hidden = false;
  move();
})();
