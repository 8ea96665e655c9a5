// What pages do besides links and forms: drop and paste, drawing, and telling what happens. All of it is extra: every
// page works without this file. It keeps nothing and speaks to the service alone.
(() => {
  "use strict";
  document.documentElement.classList.add("scripted");
  const status = document.getElementById("status");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const say = (text) => { if (status) { status.textContent = ""; setTimeout(() => { status.textContent = text; }, 50); } };

  // ------------------------------------------------------------------ answers as they come
  const work = document.querySelector(".work");

  // An answer whose beginning is out of sight, as below the form on a telephone, is brought into view. Focus stays.
  const bring = (answer) => {
    const top = answer.getBoundingClientRect().top;
    if (top >= 0 && top < 0.6 * innerHeight) return;
    answer.scrollIntoView({ block: "start", behavior: still.matches ? "instant" : "smooth" });
  };

  const shown = () => {
    const answer = document.getElementById("answer");
    if (!answer) return;
    answer.classList.toggle("tall", answer.offsetHeight > innerHeight - 48);
    if (answer.dataset.said) say(answer.dataset.said);
    mark(answer.dataset.fields ? JSON.parse(answer.dataset.fields) : {});
    if (!answer.matches(".empty, [data-fields]")) bring(answer);
  };

  // Fields that hold no number are marked, with what is wrong in place of the usual range.
  const mark = (fields) => {
    for (const input of document.querySelectorAll(".fields input")) {
      const told = document.getElementById(input.getAttribute("aria-describedby")), wrong = fields[input.name];
      if (told.dataset.range === undefined) told.dataset.range = input.hasAttribute("aria-invalid") ? "" : told.textContent;
      input.parentElement.classList.toggle("wrong", Boolean(wrong));
      if (wrong) input.setAttribute("aria-invalid", "true"); else input.removeAttribute("aria-invalid");
      told.textContent = wrong || told.dataset.range;
    }
    const first = document.querySelector(".fields .wrong input");
    if (first) first.focus();
  };

  const failed = (detail) => {
    const answer = document.getElementById("answer") || document.querySelector("#task .before"), template = document.getElementById("offline");
    if (!answer || !template) return;
    const made = template.content.cloneNode(true);
    if (detail) {
      made.querySelector("h2").textContent = detail.title;
      made.querySelector(".detail").textContent = detail.detail;
      if (detail.lang) made.querySelector(".detail").lang = detail.lang;
      made.firstElementChild.dataset.said = detail.title;
    }
    answer.replaceWith(made);
    shown();
  };

  document.body.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.target && event.detail.target.id === "answer" && work) {
      work.classList.add("waits");
      event.detail.target.setAttribute("aria-busy", "true");
    }
  });
  document.body.addEventListener("htmx:afterRequest", () => { if (work) work.classList.remove("waits"); });
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    const kind = event.detail.xhr.getResponseHeader("Content-Type") || "";
    if (!kind.includes("problem+json")) return;
    event.detail.shouldSwap = false;
    let told = {};
    try { told = JSON.parse(event.detail.xhr.responseText); } catch { told = {}; }
    failed({ title: told.title || "", detail: told.detail || "", lang: "en" });
  });
  // Not afterSwap: until it settles, what came wears the attributes of what it replaces.
  document.body.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.target.id === "answer") shown();
    if (event.detail.target.id === "task") next();
    const job = document.getElementById("job");
    if (job && job.dataset.said !== said) { said = job.dataset.said; if (!job.querySelector("progress")) say(said); }
  });
  for (const name of ["htmx:sendError", "htmx:timeout"]) {
    document.body.addEventListener(name, (event) => { if (!event.detail.target || event.detail.target.id !== "job") failed(); });
  }
  let said = "";
  shown();

  // ------------------------------------------------------------------ labels by one key each
  const next = () => {
    const task = document.getElementById("task"), field = document.getElementById("value");
    if (field) field.focus();
    else if (!task.contains(document.activeElement)) task.focus({ preventScroll: true });
    if (task.dataset.said) say(task.dataset.said);
    bring(task);
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const key = event.key.toLowerCase();
    // A number holds neither s nor u; in any other field keys are what is typed.
    if (event.target.closest("input, textarea, select") && !(event.target.id === "value" && (key === "s" || key === "u"))) return;
    const button = document.querySelector(`#task [data-key="${CSS.escape(key)}"]`);
    if (!button || button.disabled) return;
    event.preventDefault();
    button.click();
    if (button.matches("summary") && button.parentElement.open) document.getElementById("new").focus();
  });

  // ------------------------------------------------------------------ presets
  document.addEventListener("click", (event) => {
    const link = event.target.closest(".presets a");
    if (!link) return;
    for (const other of document.querySelectorAll(".presets a[aria-current]")) other.removeAttribute("aria-current");
    link.setAttribute("aria-current", "true");
  });
  const unmark = () => { for (const link of document.querySelectorAll(".presets a[aria-current]")) link.removeAttribute("aria-current"); };

  // ------------------------------------------------------------------ files: chosen, dropped, pasted
  const form = document.querySelector("form.own"), input = form && form.querySelector("input[type=file]");
  const drop = document.getElementById("drop"), batch = form && form.id === "batch";

  const tooLarge = (files) => {
    const sum = [...files].reduce((all, file) => all + file.size, 0);
    if (sum <= Number(form.dataset.limit)) return false;
    if (batch) { const told = document.getElementById("chosen-file"); told.hidden = false; told.textContent = form.dataset.tooLarge; say(form.dataset.tooLarge); }
    else failed({ title: form.dataset.tooLarge, detail: "" });
    return true;
  };

  const give = (files) => {
    if (!input || !files.length || tooLarge(files)) { if (input) input.value = ""; return; }
    if (input.files !== files) {
      const carrier = new DataTransfer();
      for (const file of batch ? [files[0]] : files) carrier.items.add(file);
      input.files = carrier.files;
    }
    if (batch) {
      const told = document.getElementById("chosen-file");
      told.hidden = false;
      told.textContent = input.files[0].name;
    } else {
      unmark();
      form.requestSubmit();
    }
  };

  if (input) {
    input.addEventListener("change", () => give(input.files));
    form.addEventListener("htmx:afterRequest", () => { input.value = ""; });
    let depth = 0;
    const carries = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
    addEventListener("dragenter", (event) => { if (carries(event)) { depth += 1; drop.classList.add("over"); } });
    addEventListener("dragleave", (event) => { if (carries(event) && --depth <= 0) { depth = 0; drop.classList.remove("over"); } });
    addEventListener("dragover", (event) => { if (carries(event)) event.preventDefault(); });
    addEventListener("drop", (event) => {
      if (!carries(event)) return;
      event.preventDefault();
      depth = 0;
      drop.classList.remove("over");
      give(event.dataTransfer.files);
    });
    addEventListener("paste", (event) => {
      const files = event.clipboardData ? event.clipboardData.files : [];
      if (files.length) { event.preventDefault(); give(files); }
    });
    if (batch) form.addEventListener("submit", () => { form.classList.add("sending"); });
    addEventListener("pageshow", () => { form.classList.remove("sending"); });
  }

  // ------------------------------------------------------------------ drawing
  const canvas = document.getElementById("canvas");
  if (canvas) draw(canvas);

  function draw(canvas) {
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const across = Number(canvas.dataset.width), down = Number(canvas.dataset.height), pen = Number(canvas.dataset.pen);
    const chalk = "dark" in canvas.dataset, paper = chalk ? "#000000" : "#ffffff", colour = chalk ? "#ffffff" : "#000000";
    const ask = document.getElementById("ask-drawing"), undo = document.getElementById("undo"), wipe = document.getElementById("wipe");
    let strokes = [], stroke = null, at = { x: canvas.width / 2, y: canvas.height / 2 }, lowered = false, keyed = false;

    const paint = () => {
      context.fillStyle = paper;
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.strokeStyle = context.fillStyle = colour;
      context.lineWidth = pen;
      context.lineCap = context.lineJoin = "round";
      for (const line of strokes) {
        context.beginPath();
        context.moveTo(line[0].x, line[0].y);
        for (const point of line) context.lineTo(point.x, point.y);
        if (line.length === 1) context.lineTo(line[0].x + 0.01, line[0].y);
        context.stroke();
      }
      if (keyed) {
        context.strokeStyle = chalk ? "#8fb0ff" : "#2f5bd3";
        context.lineWidth = 2;
        context.beginPath();
        context.arc(at.x, at.y, pen / 2 + 3, 0, 7);
        context.stroke();
        if (lowered) { context.fillStyle = context.strokeStyle; context.fill(); }
      }
      ask.disabled = undo.disabled = wipe.disabled = !strokes.length;
    };
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return { x: (event.clientX - box.left) * canvas.width / box.width, y: (event.clientY - box.top) * canvas.height / box.height };
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      keyed = lowered = false;
      canvas.setPointerCapture(event.pointerId);
      stroke = [place(event)];
      strokes.push(stroke);
      paint();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!stroke) return;
      for (const one of event.getCoalescedEvents ? event.getCoalescedEvents() : [event]) stroke.push(place(one));
      paint();
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { stroke = null; });
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    canvas.addEventListener("keydown", (event) => {
      if (event.key === " ") {
        event.preventDefault();
        keyed = true;
        lowered = !lowered;
        if (lowered) { stroke = [{ ...at }]; strokes.push(stroke); } else stroke = null;
      } else if (steps[event.key]) {
        event.preventDefault();
        keyed = true;
        const far = (event.shiftKey ? 4 : 1) * canvas.width / 42;
        at = {
          x: Math.min(Math.max(at.x + steps[event.key][0] * far, 0), canvas.width),
          y: Math.min(Math.max(at.y + steps[event.key][1] * far, 0), canvas.height),
        };
        if (lowered && stroke) stroke.push({ ...at });
      } else return;
      paint();
    });
    canvas.addEventListener("blur", () => { keyed = lowered = false; stroke = null; paint(); });
    undo.addEventListener("click", () => { strokes.pop(); paint(); });
    wipe.addEventListener("click", () => { strokes = []; paint(); });

    // Ink is how far from paper the mean of the canvas's pixels within each pixel of the model is.
    const ink = () => {
      const shownBefore = keyed;
      keyed = false;
      paint();
      const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
      keyed = shownBefore;
      const wide = canvas.width / across, high = canvas.height / down, bytes = new Uint8Array(across * down);
      for (let y = 0; y < down; y++) {
        for (let x = 0; x < across; x++) {
          let sum = 0, count = 0;
          for (let v = Math.floor(y * high); v < Math.floor((y + 1) * high); v++) {
            for (let u = Math.floor(x * wide); u < Math.floor((x + 1) * wide); u++) {
              sum += pixels[4 * (v * canvas.width + u)];
              count += 1;
            }
          }
          const mean = sum / Math.max(count, 1);
          bytes[y * across + x] = Math.round(chalk ? mean : 255 - mean);
        }
      }
      return btoa(String.fromCharCode(...bytes));
    };
    document.getElementById("drawn").addEventListener("submit", () => { unmark(); document.getElementById("ink").value = ink(); }, true);
    document.getElementById("drawn").addEventListener("htmx:configRequest", (event) => { unmark(); event.detail.parameters.drawing = ink(); });
    paint();
  }
})();
