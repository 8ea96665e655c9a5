"use strict";
(() => {
  const bar = document.querySelector(".chosen-bar");
  if (!bar) return;
  const data = JSON.parse(bar.querySelector("script").textContent);
  const find = (name) => bar.querySelector("." + name);
  const boxes = [...document.querySelectorAll(".choices .pick input")];
  const rests = [...document.querySelectorAll(".choices .rest input")];
  const restOf = new Map(rests.map((box) => [box, JSON.parse(box.closest(".rest").querySelector("script").textContent)]));
  const twins = new Map();
  for (const box of boxes) {
    const id = box.dataset.id;
    if (!twins.has(id)) twins.set(id, []);
    twins.get(id).push(box);
  }
  const suggested = new Map([...boxes, ...rests].map((box) => [box, box.defaultChecked]));
  const set = (box, on) => { for (const other of twins.get(box.dataset.id)) other.checked = on; };

  // What was ticked survives a reload, where the browser lets a page keep something.
  const kept = {
    read() {
      try { return JSON.parse(localStorage.getItem(data.key)); } catch { return null; }
    },
    write(value) {
      try {
        if (value === null) localStorage.removeItem(data.key);
        else localStorage.setItem(data.key, JSON.stringify(value));
        return true;
      } catch { return false; }
    },
  };

  // Every id once, with the reason of the first part of the page that holds it ticked.
  function rows() {
    const chosen = new Map();
    for (const box of boxes) if (box.checked && !chosen.has(box.dataset.id)) chosen.set(box.dataset.id, box.dataset.reason);
    for (const box of rests) {
      if (box.checked) for (const [id, reason] of restOf.get(box)) if (!chosen.has(id)) chosen.set(id, reason);
    }
    return [...chosen];
  }
  const text = () => csvText([["id", "reason"], ...rows()]);

  function show() {
    const count = rows().length;
    find("count").textContent = count.toLocaleString("en");
    find("words").textContent = (count === 1 ? "picture" : "pictures") + " to leave out";
    const save = find("save");
    if (save.href) URL.revokeObjectURL(save.href);
    save.href = URL.createObjectURL(new Blob([text()], { type: "text/csv" }));
    save.download = data.file;
    for (const part of document.querySelectorAll(".choices")) {
      const mine = [...part.querySelectorAll(".pick input")], on = mine.filter((box) => box.checked).length;
      part.querySelector(".tally").textContent = `${on} of ${mine.length} ticked`;
    }
  }
  function changed() {
    const ticked = [...twins].filter(([, some]) => some[0].checked).map(([id]) => id);
    const safe = kept.write({ ticked, rests: rests.filter((box) => box.checked).map((box) => box.dataset.name) });
    find("told").textContent = safe ? "" : "This browser keeps nothing: save before you leave.";
    show();
  }

  const earlier = kept.read();
  if (earlier && Array.isArray(earlier.ticked) && Array.isArray(earlier.rests)) {
    const ticked = new Set(earlier.ticked), open = new Set(earlier.rests);
    for (const box of boxes) box.checked = ticked.has(box.dataset.id);
    for (const box of rests) box.checked = open.has(box.dataset.name);
    find("told").textContent = "As you left it.";
  } else {
    for (const [box, on] of suggested) if (box.dataset.id !== undefined && on) set(box, true);
  }

  for (const box of [...boxes, ...rests]) {
    box.disabled = false;
    box.addEventListener("change", () => {
      if (box.dataset.id !== undefined) set(box, box.checked);
      changed();
    });
  }
  for (const part of document.querySelectorAll(".choices")) {
    const mine = [...part.querySelectorAll(".pick input")];
    part.querySelector(".tools").hidden = false;
    part.querySelector(".tick").onclick = () => {
      for (const group of part.querySelectorAll("[data-group]")) {
        const some = [...group.querySelectorAll(".pick input")];
        some.forEach((box, i) => set(box, some.length === 1 || i > 0));
      }
      changed();
    };
    part.querySelector(".untick").onclick = () => {
      for (const box of mine) set(box, false);
      changed();
    };
    part.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key], at = mine.indexOf(event.target);
      if (!step || at < 0) return;
      event.preventDefault();
      mine[Math.min(mine.length - 1, Math.max(0, at + step))].focus();
    });
  }
  find("reset").onclick = () => {
    for (const box of boxes) box.checked = false;
    for (const [box, on] of suggested) if (box.dataset.id === undefined) box.checked = on; else if (on) set(box, true);
    kept.write(null);
    find("told").textContent = "Back to what is suggested.";
    show();
  };
  find("copy").onclick = async () => {
    let done = true;
    try {
      await navigator.clipboard.writeText(text());
    } catch {
      const area = Object.assign(document.createElement("textarea"), { value: text() });
      document.body.append(area);
      area.select();
      done = document.execCommand("copy");
      area.remove();
    }
    find("told").textContent = done ? "Copied." : "This browser does not let a page copy: save the list.";
  };
  document.documentElement.classList.add("choosing");
  bar.hidden = false;
  show();
})();
