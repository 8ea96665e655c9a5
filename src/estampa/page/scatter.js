"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg", NEAR = 14, LISTED = 60;
  const made = (tag, props, ...children) => {
    const node = Object.assign(document.createElement(tag), props);
    node.append(...children);
    return node;
  };
  const drawn = (tag, attributes) => {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };

  function begin(root) {
    const data = JSON.parse(root.querySelector("script").textContent), n = data.ids.length;
    const xs = data.points.filter((_, i) => i % 2 === 0).map((v) => v / 10);
    const ys = data.points.filter((_, i) => i % 2 === 1).map((v) => v / 10);
    const find = (name) => root.querySelector("." + name);
    const plot = find("plot"), dots = find("dots"), over = find("over"), key = find("key"), tip = find("tip");
    const list = find("list"), status = find("status"), save = find("save"), clear = find("clear");
    let way = 0, current = -1, only = null, chosen = new Set(), trail = null;
    find("controls").hidden = false;
    root.classList.add("live");
    status.textContent = "Hover to look, click to pick, drag a line around points to pick them all.";

    const nameOf = (i, w = data.ways[way]) => (w.codes[i] < 0 ? w.none : w.names[w.codes[i]]);
    const words = (i) => data.ways.map((w) => w.name + ": " + nameOf(i, w));
    function picture(i, most) {
      const s = data.sheets, k = s ? s.of[i] : -1;
      if (k < 0) return null;
      const per = s.columns * s.rows, at = k % per, zoom = Math.max(1, Math.floor(most / Math.max(s.width, s.height)));
      const node = made("span", { className: "sprite" });
      node.style.width = s.width * zoom + "px";
      node.style.height = s.height * zoom + "px";
      node.style.backgroundImage = `url("${s.uris[Math.floor(k / per)]}")`;
      node.style.backgroundSize = `${s.columns * s.width * zoom}px auto`;
      node.style.backgroundPosition =
        `${-(at % s.columns) * s.width * zoom}px ${-Math.floor(at / s.columns) * s.height * zoom}px`;
      return node;
    }

    function draw() {
      const w = data.ways[way], paths = new Map(), counts = new Map();
      for (let i = 0; i < n; i++) {
        const faded = (chosen.size && !chosen.has(i)) || (only !== null && w.codes[i] !== only);
        const slot = (faded ? "faded " : "") + w.codes[i];
        paths.set(slot, (paths.get(slot) || "") + `M${xs[i]} ${ys[i]}h0`);
        counts.set(w.codes[i], (counts.get(w.codes[i]) || 0) + 1);
      }
      const rank = ([slot]) => (slot.startsWith("faded") ? -1e6 : 0) + Number(slot.replace("faded ", ""));
      dots.replaceChildren(...[...paths].sort((a, b) => rank(a) - rank(b)).map(([slot, d]) => {
        const code = Number(slot.replace("faded ", ""));
        return drawn("path", { d, class: (code < 0 ? "none" : w.kinds[code]) + (slot.startsWith("faded") ? " faded" : "") });
      }));
      if (w.numbered) for (const code of [...counts.keys()].filter((c) => c >= 0)) {
        const mine = [...Array(n).keys()].filter((i) => w.codes[i] === code);
        const middle = (v) => v.sort((a, b) => a - b)[v.length >> 1];
        const text = drawn("text", { x: middle(mine.map((i) => xs[i])), y: middle(mine.map((i) => ys[i])) });
        text.textContent = w.names[code];
        dots.append(text);
      }
      key.replaceChildren(...[...counts].sort((a, b) => a[0] - b[0]).map(([code, count]) => {
        const mark = drawn("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" });
        mark.append(drawn("path", { d: "M6 6h0", class: code < 0 ? "none" : w.kinds[code] }));
        const button = made("button", { type: "button" }, mark, (code < 0 ? w.none : w.names[code]) + " ",
          made("span", { className: "count", textContent: count.toLocaleString("en") }));
        button.onmouseenter = () => { only = code; draw2(); };
        button.onmouseleave = () => { only = null; draw2(); };
        button.onclick = () => {
          only = null;
          select([...Array(n).keys()].filter((i) => w.codes[i] === code));
        };
        return made("li", {}, button);
      }));
    }
    function draw2() { // the points alone: the key under the pointer must stay
      const kept = [...key.children];
      draw();
      key.replaceChildren(...kept);
    }

    function show(i, box) {
      current = i;
      over.querySelector("circle").setAttribute("visibility", i < 0 ? "hidden" : "visible");
      if (i < 0) { tip.hidden = true; return; }
      const ring = { cx: xs[i], cy: ys[i], r: 7 * 860 / box.width };
      for (const [name, value] of Object.entries(ring)) over.querySelector("circle").setAttribute(name, value);
      const seen = picture(i, 160);
      tip.replaceChildren(...(seen ? [seen] : []), made("strong", { textContent: data.ids[i] }),
        ...words(i).map((line) => made("span", { textContent: line })));
      tip.hidden = false;
      const x = xs[i] * box.width / 860, y = ys[i] * box.height / 600;
      const wide = tip.offsetWidth, high = tip.offsetHeight;
      const left = x + 16 + wide < box.width ? x + 16 : x - 16 - wide;
      tip.style.left = Math.max(-8, Math.min(left, box.width - wide + 8)) + "px";
      tip.style.top = Math.max(0, Math.min(y - high / 2, box.height - high)) + "px";
    }
    function nearest(event) {
      const box = plot.getBoundingClientRect(), zoom = 860 / box.width;
      const x = (event.clientX - box.left) * zoom, y = (event.clientY - box.top) * 600 / box.height;
      let best = -1, least = (NEAR * zoom) ** 2;
      for (let i = 0; i < n; i++) {
        const d = (xs[i] - x) ** 2 + (ys[i] - y) ** 2;
        if (d < least) { least = d; best = i; }
      }
      return { best, x, y, box };
    }

    function select(rows) {
      chosen = new Set(rows);
      const shown = rows.slice(0, LISTED).map((i) => {
        const seen = picture(i, 64), item = made("li", {}, ...(seen ? [seen] : []));
        item.append(made("strong", { textContent: data.ids[i] }), made("span", { textContent: nameOf(i) }));
        return item;
      });
      list.replaceChildren(...shown);
      const more = rows.length > LISTED ? `; the first ${LISTED} are listed, all are saved` : "";
      status.textContent = rows.length ? `${rows.length.toLocaleString("en")} selected${more}.` : "Nothing selected.";
      save.hidden = clear.hidden = !rows.length;
      if (save.href) URL.revokeObjectURL(save.href);
      save.removeAttribute("href");
      if (rows.length) {
        const head = ["id", ...data.ways.map((w) => w.name)];
        const lines = rows.map((i) => [data.ids[i], ...data.ways.map((w) => nameOf(i, w))]);
        const text = csvText([head, ...lines]);
        save.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
        save.download = data.file;
      }
      draw();
    }
    function inside(i, ring) { // even-odd rule
      let odd = false;
      for (let a = 0, b = ring.length - 1; a < ring.length; b = a++) {
        const [xa, ya] = ring[a], [xb, yb] = ring[b];
        if (ya > ys[i] !== yb > ys[i] && xs[i] < (xb - xa) * (ys[i] - ya) / (yb - ya) + xa) odd = !odd;
      }
      return odd;
    }

    const finger = find("finger");
    finger.onclick = () => {
      const on = finger.getAttribute("aria-pressed") !== "true";
      finger.setAttribute("aria-pressed", on);
      plot.classList.toggle("drawing", on);
    };
    plot.onpointerdown = (event) => {
      if (event.button) return;
      const { x, y } = nearest(event);
      trail = [[x, y]];
      if (event.pointerType !== "touch" || plot.classList.contains("drawing")) plot.setPointerCapture(event.pointerId);
    };
    plot.onpointermove = (event) => {
      const { best, x, y, box } = nearest(event);
      if (!trail) { show(best, box); return; }
      trail.push([x, y]);
      over.querySelector("path").setAttribute("d", "M" + trail.map((p) => p.map((v) => v.toFixed(1)).join(" ")).join("L") + "Z");
      show(-1);
    };
    plot.onpointerup = (event) => {
      if (!trail) return;
      const { best, box } = nearest(event), ring = trail;
      const span = Math.max(...[0, 1].map((k) => Math.max(...ring.map((p) => p[k])) - Math.min(...ring.map((p) => p[k]))));
      trail = null;
      over.querySelector("path").removeAttribute("d");
      if (span > 8) {
        const caught = [...Array(n).keys()].filter((i) => inside(i, ring));
        select(event.shiftKey ? [...new Set([...chosen, ...caught])] : caught);
      } else if (best >= 0) {
        toggle(best);
        show(best, box);
      } else select([]);
    };
    plot.onpointercancel = () => { trail = null; over.querySelector("path").removeAttribute("d"); };
    plot.onpointerleave = () => { if (!trail) show(-1); };
    function toggle(i) {
      const rows = [...chosen];
      select(chosen.has(i) ? rows.filter((r) => r !== i) : [...rows, i]);
    }
    plot.onkeydown = (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      const box = plot.getBoundingClientRect();
      if (event.key === "Escape") { select([]); show(-1); return; }
      if ((event.key === "Enter" || event.key === " ") && current >= 0) { event.preventDefault(); toggle(current); show(current, box); }
      if (!step || !n) return;
      event.preventDefault();
      let best = current < 0 ? 0 : current, least = Infinity;
      for (let i = 0; i < n && current >= 0; i++) {
        const dx = xs[i] - xs[current], dy = ys[i] - ys[current], ahead = dx * step[0] + dy * step[1];
        const cost = Math.hypot(dx, dy) + 2 * Math.abs(dx * step[1] + dy * step[0]);
        if (ahead > 0.5 && cost < least) { least = cost; best = i; }
      }
      show(best, box);
      status.textContent = [data.ids[best], ...words(best)].join(", ");
    };
    find("ways").onchange = (event) => { way = Number(event.target.value); draw(); select([...chosen]); };
    clear.onclick = () => select([]);
    draw();
  }
  for (const root of document.querySelectorAll(".scatter")) begin(root);
})();
