// The page of keel report: draws what is in #data. What a store says is shown as text only, never as HTML.
"use strict";
(function () {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const about = data.about;
  const now = about.at;
  const STATUSES = ["pending", "running", "success", "error", "timeout", "interrupted"];
  const WAITING = 0, RUNNING = 1, LOST = 2; // the kinds of parts of a run's course
  const ROW = 30;                           // pixels of a row of the table: page.css has it too

  // --- Runs ----------------------------------------------------------------------------------------------------------

  function readRun(row, index) {
    const [id, thread, status, created, started, ended, user, handler, what, lost, course] = row;
    const isFinal = status !== "pending" && status !== "running";
    const end = Math.max(isFinal && ended !== null ? ended : now, created);
    const parts = course || [];
    if (!course) {
      const start = started === null ? end : Math.min(Math.max(started, created), end);
      if (start > created || started === null) parts.push([WAITING, created, start]);
      if (started !== null) parts.push([lost ? LOST : RUNNING, start, end]);
    }
    let waited = 0, ran = 0;
    for (const [kind, from, to] of parts) {
      if (kind === WAITING) waited += to - from; else ran += to - from;
    }
    return { index, id, thread, status, created, started, ended, end, user: user || "", handler: handler || "",
      what: what || "", lost, parts, waited, ran, hasRun: parts.some((part) => part[0] !== WAITING), isFinal,
      isShown: true, threadSmall: thread.toLowerCase(), userSmall: (user || "").toLowerCase() };
  }

  const runs = data.runs.map(readRun);
  data.runs = null;
  const byMade = runs.slice().sort((a, b) => a.created - b.created || a.index - b.index);
  const oldest = runs.reduce((least, run) => Math.min(least, run.created), runs.length ? Infinity : now);
  const newest = runs.reduce((most, run) => Math.max(most, run.end), runs.length ? -Infinity : now);

  // --- Words ---------------------------------------------------------------------------------------------------------

  const count = (number, noun) => number.toLocaleString("en") + " " + noun + (number === 1 ? "" : "s");
  const when = (ms) => ms === null ? "" : new Date(ms).toISOString().replace("T", " ").replace("Z", "");

  function duration(ms) {
    const s = ms / 1000;
    if (s < 0.1) return Math.round(ms) + " ms";
    if (s < 10) return s.toFixed(1) + " s";
    if (s < 60) return Math.round(s) + " s";
    const units = [[86400, "d", 3600, "h"], [3600, "h", 60, "m"], [60, "m", 1, "s"]];
    const [big, name, small, rest] = units.find((unit) => s >= unit[0]);
    const left = Math.floor((s % big) / small);
    return Math.floor(s / big) + " " + name + (left ? " " + left + " " + rest : "");
  }

  function element(name, text, className) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function statusOf(run) {
    return run.lost ? run.status + ", owner lost" : run.status;
  }

  // --- Which runs ----------------------------------------------------------------------------------------------------

  const fields = { thread: $("filter-thread"), user: $("filter-user"), from: $("filter-from"), to: $("filter-to") };
  let shown = runs;   // what passes the filters, by when it was made
  let ordered = runs; // all, in the order of the table
  let sorted = runs;  // what is shown, in that order
  let lanes = [];

  // A time as it was typed, UTC; null: none; NaN: not to be read.
  function typedTime(text) {
    text = text.trim();
    if (text === "") return null;
    if (!/^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?Z?$/.test(text)) return NaN;
    const iso = text.replace(" ", "T").replace("Z", "");
    return Date.parse(iso + (iso.includes("T") ? "Z" : "T00:00Z"));
  }

  function timeField(field) {
    const time = typedTime(field.value);
    field.setAttribute("aria-invalid", String(Number.isNaN(time)));
    return Number.isNaN(time) ? null : time;
  }

  function filter() {
    const thread = fields.thread.value.toLowerCase(), user = fields.user.value.toLowerCase();
    const from = timeField(fields.from), to = timeField(fields.to);
    const statuses = new Set([...$("filter-status").querySelectorAll("input:checked")].map((box) => box.value));
    shown = byMade.filter((run) => run.isShown = statuses.has(run.status) &&
      (thread === "" || run.threadSmall.includes(thread)) && (user === "" || run.userSmall.includes(user)) &&
      (from === null || run.end >= from) && (to === null || run.created <= to));
    lanes = layOut(shown);
    $("count").textContent = shown.length === runs.length ? count(runs.length, "run") :
      shown.length.toLocaleString("en") + " of " + count(runs.length, "run");
    showRows();
    histogram($("waited"), "Waiting", "of those that have started", shown.filter((run) => run.hasRun).map((run) => run.waited));
    histogram($("ran"), "Running", "of those that have ended", shown.filter((run) => run.hasRun && run.isFinal)
      .map((run) => run.ran));
    listWaits(new Set(shown.map((run) => run.id)));
    describe();
  }

  let isFiltering = false;
  function filterSoon() {
    if (isFiltering) return;
    isFiltering = true;
    requestAnimationFrame(() => { isFiltering = false; filter(); });
  }

  function fillFilters() {
    for (const status of STATUSES) {
      const label = element("label"), box = element("input");
      box.type = "checkbox";
      box.value = status;
      box.checked = box.defaultChecked = true;
      label.append(box, element("span", status, "status"));
      label.lastChild.style.setProperty("--of", "var(--" + status + ")");
      $("filter-status").append(label);
    }
    const offer = (list, name) => {
      const values = new Set();
      for (const run of runs) {
        if (run[name] !== "" && values.size < 200) values.add(run[name]);
      }
      for (const value of values) list.append(Object.assign(element("option"), { value }));
    };
    offer($("threads"), "thread");
    offer($("users"), "user");
    $("filters").addEventListener("input", filterSoon);
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    $("filters").addEventListener("reset", () => setTimeout(() => { filter(); showAll(); }));
    $("filter-view").addEventListener("click", () => {
      fields.from.value = when(Math.floor(view.from));
      fields.to.value = when(Math.ceil(view.to));
      filter();
    });
  }

  // --- The timeline: where runs are ----------------------------------------------------------------------------------

  const canvas = $("canvas"), frame = $("timeline"), context = canvas.getContext("2d");
  const AXIS = 24, GAP = 8, BAR = 15, BARS = 6; // pixels; rows of a lane that are as high as they may be
  const view = { from: oldest, to: newest, width: 0, height: 0, label: 0, colours: {}, patterns: {} };

  // Puts runs of a thread that are there at the same time into rows of their own: the row that is free first.
  function packed(list) {
    const rows = [], heap = []; // of rows, by the end of their last run
    const before = (a, b) => rows[heap[a]].end < rows[heap[b]].end;
    const swap = (a, b) => { const row = heap[a]; heap[a] = heap[b]; heap[b] = row; };
    for (const run of list) {
      let i;
      if (heap.length && rows[heap[0]].end <= run.created) {
        rows[heap[0]].runs.push(run);
        rows[heap[0]].end = run.end;
        i = 0;
        for (;;) {
          let least = i;
          for (const child of [2 * i + 1, 2 * i + 2]) if (child < heap.length && before(child, least)) least = child;
          if (least === i) break;
          swap(i, least);
          i = least;
        }
      } else {
        heap.push(rows.push({ runs: [run], end: run.end }) - 1);
        for (i = heap.length - 1; i > 0 && before(i, (i - 1) >> 1); i = (i - 1) >> 1) swap(i, (i - 1) >> 1);
      }
    }
    return rows.map((row) => row.runs);
  }

  // The lanes, one a thread, the one where something happened last at the top.
  function layOut(list) {
    const threads = new Map();
    for (const run of list) {
      const lane = threads.get(run.thread);
      if (lane) {
        lane.runs.push(run);
        lane.last = Math.max(lane.last, run.end);
      } else {
        threads.set(run.thread, { thread: run.thread, runs: [run], last: run.end });
      }
    }
    const made = [...threads.values()].sort((a, b) => b.last - a.last || (a.thread < b.thread ? -1 : 1));
    let top = AXIS;
    for (const lane of made) {
      lane.rows = packed(lane.runs);
      lane.row = lane.rows.length <= BARS ? BAR : BAR * BARS / lane.rows.length;
      lane.top = top;
      lane.height = lane.rows.length * lane.row + GAP;
      top += lane.height;
    }
    return made;
  }

  // The first place of a sorted list from which on `is` holds.
  function firstOf(list, is) {
    let low = 0, high = list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (is(list[middle])) high = middle; else low = middle + 1;
    }
    return low;
  }

  // --- The timeline: drawing -----------------------------------------------------------------------------------------

  // How a bar looks: not by its colour alone.
  function pattern(colour, draw) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const pen = tile.getContext("2d");
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 8, 8);
    pen.strokeStyle = pen.fillStyle = view.colours.pattern;
    pen.lineWidth = 1.5;
    pen.beginPath();
    draw(pen);
    pen.stroke();
    return context.createPattern(tile, "repeat");
  }

  const slash = (pen) => { for (const x of [-8, 0, 8]) { pen.moveTo(x, 8); pen.lineTo(x + 8, 0); } };
  const backslash = (pen) => { for (const x of [-8, 0, 8]) { pen.moveTo(x, 0); pen.lineTo(x + 8, 8); } };
  const upright = (pen) => { pen.moveTo(4, 0); pen.lineTo(4, 8); };
  const dots = (pen) => { pen.rect(2, 2, 1, 1); pen.rect(6, 6, 1, 1); };

  function readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["paper", "raised", "ink", "quiet", "line", "focus", "lost", "pattern", ...STATUSES]) {
      view.colours[name] = style.getPropertyValue("--" + name).trim();
    }
    const of = view.colours;
    view.patterns = { success: of.success, running: of.running, error: pattern(of.error, slash),
      timeout: pattern(of.timeout, upright), interrupted: pattern(of.interrupted, dots), pending: of.pending,
      lost: pattern(of.lost, (pen) => { slash(pen); backslash(pen); }) };
    drawLegend();
  }

  // What a part of a run looks like, and how much it must not be hidden where several share a pixel.
  const ranks = { waiting: 0, success: 1, running: 2, interrupted: 3, timeout: 4, error: 5, lost: 6 };
  function lookOf(run, part, isLast) {
    if (part[0] === WAITING) return "waiting";
    if (part[0] === LOST) return "lost";
    return isLast ? run.status : "error"; // an attempt that was not the last one has failed
  }

  function drawPart(pen, look, x, y, width, height) {
    if (look === "waiting") {
      const thin = Math.max(1, Math.min(3, height / 3));
      pen.fillStyle = view.patterns.pending;
      pen.fillRect(x, y + (height - thin) / 2, width, thin);
      return;
    }
    pen.fillStyle = view.patterns[look];
    pen.fillRect(x, y, width, height);
    if (look === "lost" && width >= 12 && height >= 10) { // where its owner was lost
      pen.strokeStyle = view.colours.ink;
      pen.lineWidth = 1.5;
      pen.beginPath();
      pen.moveTo(x + width - 8, y + 3); pen.lineTo(x + width - 1, y + height - 3);
      pen.moveTo(x + width - 8, y + height - 3); pen.lineTo(x + width - 1, y + 3);
      pen.stroke();
    } else if (look === "running" && width >= 8 && height >= 8) { // it goes on
      pen.fillStyle = view.colours.paper;
      pen.beginPath();
      pen.moveTo(x + width - 6, y + 3); pen.lineTo(x + width - 1.5, y + height / 2);
      pen.lineTo(x + width - 6, y + height - 3);
      pen.fill();
    }
  }

  // Draws a row of runs. What falls into one pixel becomes one bar, which looks like the worst of it.
  function drawRow(list, y, height, x) {
    const left = view.label, right = view.width;
    let binAt = -1, bin = null;
    const flush = () => { if (bin) drawPart(context, bin, binAt, y, 1, height); bin = null; };
    for (let i = firstOf(list, (run) => run.end >= view.from); i < list.length && list[i].created <= view.to; i++) {
      const run = list[i];
      for (let p = 0; p < run.parts.length; p++) {
        const part = run.parts[p];
        const from = Math.max(x(part[1]), left), to = Math.min(x(part[2]), right);
        if (to < left || from > right) continue;
        const look = lookOf(run, part, p === run.parts.length - 1);
        if (to - from < 1) {
          const pixel = Math.floor(from);
          if (pixel !== binAt) { flush(); binAt = pixel; }
          if (!bin || ranks[look] > ranks[bin]) bin = look;
        } else {
          flush();
          drawPart(context, look, from, y, to - from, height);
        }
      }
      if (run === selected) {
        flush();
        context.strokeStyle = view.colours.focus;
        context.lineWidth = 2;
        context.strokeRect(Math.max(x(run.created), left) - 1, y - 1, Math.max(x(run.end) - x(run.created), 2) + 2, height + 2);
      }
    }
    flush();
  }

  const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 3e4, 6e4, 12e4, 3e5, 6e5, 18e5, 36e5, 72e5, 216e5,
    432e5, 864e5, 1728e5, 6048e5, 2592e6, 7776e6, 31536e6, 31536e7];

  function drawAxis(x) {
    const wanted = (view.to - view.from) / Math.max((view.width - view.label) / 110, 1);
    const step = STEPS.find((step) => step >= wanted) || STEPS[STEPS.length - 1];
    context.fillStyle = view.colours.raised;
    context.fillRect(0, 0, view.width, AXIS);
    context.textBaseline = "middle";
    for (let t = Math.ceil(view.from / step) * step; t <= view.to; t += step) {
      const at = Math.round(x(t)) + 0.5;
      context.fillStyle = view.colours.line;
      context.fillRect(at, 0, 1, view.height);
      const text = when(t);
      const label = step >= 864e5 ? text.slice(0, 10) : t % 864e5 === 0 ? text.slice(5, 10) : step < 1000 ? text.slice(14) :
        step < 60000 ? text.slice(11, 19) : text.slice(11, 16);
      context.fillStyle = view.colours.quiet;
      if (at + 80 < view.width) context.fillText(label, at + 4, AXIS / 2);
    }
    context.fillStyle = view.colours.line;
    context.fillRect(0, AXIS - 1, view.width, 1);
  }

  function fitted(text, width) {
    if (text.length > 200) text = text.slice(0, 200);
    if (context.measureText(text).width <= width) return text;
    const keep = firstOf([...text].map((_, i) => i), (i) => context.measureText(text.slice(0, i + 1) + "…").width > width);
    return text.slice(0, keep) + "…";
  }

  function drawLabels(first, scroll) {
    context.fillStyle = view.colours.paper;
    context.fillRect(0, AXIS, view.label - 1, view.height - AXIS);
    context.fillStyle = view.colours.line;
    context.fillRect(view.label - 1, AXIS, 1, view.height - AXIS);
    for (let i = first; i < lanes.length && lanes[i].top - scroll < view.height; i++) {
      const lane = lanes[i];
      const y = Math.max(lane.top - scroll, AXIS);
      if (lane.top + lane.height - scroll - y < 14) continue;
      context.fillStyle = view.colours.ink;
      context.textBaseline = "top";
      if (lane.thread !== lane.labelled || lane.labelWidth !== view.label) {
        lane.label = fitted(lane.thread === "" ? "(no name)" : lane.thread, view.label - 14);
        lane.labelled = lane.thread;
        lane.labelWidth = view.label;
      }
      context.fillText(lane.label, 6, y + 5);
      if (lane.rows.length > BARS && lane.top - scroll >= AXIS) {
        context.fillStyle = view.colours.quiet;
        context.fillText(lane.rows.length + " at a time", 6, y + 22);
      }
    }
  }

  function draw() {
    const scroll = frame.scrollTop, of = view.colours;
    const scale = (view.width - view.label) / (view.to - view.from);
    const x = (t) => view.label + (t - view.from) * scale;
    const ratio = devicePixelRatio || 1;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = "12px system-ui, sans-serif";
    context.fillStyle = of.paper;
    context.fillRect(0, 0, view.width, view.height);
    drawAxis(x);
    context.save();
    context.beginPath();
    context.rect(0, AXIS, view.width, view.height - AXIS);
    context.clip();
    const first = firstOf(lanes, (lane) => lane.top + lane.height > scroll + AXIS);
    for (let i = first; i < lanes.length && lanes[i].top - scroll < view.height; i++) {
      const lane = lanes[i], top = lane.top - scroll;
      context.fillStyle = of.line;
      context.fillRect(0, top + lane.height - 1, view.width, 1);
      const from = Math.max(0, Math.floor((AXIS - top - GAP / 2) / lane.row));
      for (let r = from; r < lane.rows.length; r++) {
        const y = top + GAP / 2 + r * lane.row;
        if (y > view.height) break;
        drawRow(lane.rows[r], y + (lane.row > 4 ? 1 : 0), lane.row > 4 ? lane.row - 2 : Math.max(lane.row, 0.5), x);
      }
    }
    if (now >= view.from && now <= view.to) {
      context.fillStyle = of.quiet;
      for (let y = AXIS; y < view.height; y += 6) context.fillRect(x(now), y, 1, 3);
    }
    drawLabels(first, scroll);
    context.restore();
    if (lanes.length === 0) {
      context.fillStyle = of.quiet;
      context.textBaseline = "top";
      context.fillText(runs.length === 0 ? "There is no run." : "No run fits the filters.", 12, AXIS + 12);
    }
  }

  let isDrawing = false;
  function drawSoon() {
    if (isDrawing) return;
    isDrawing = true;
    requestAnimationFrame(() => { isDrawing = false; draw(); });
  }

  function drawLegend() {
    const looks = [["waiting", "waiting"], ["running", "running"], ["success", "success"], ["error", "error, failed attempt"],
      ["timeout", "timeout"], ["interrupted", "interrupted"], ["lost", "owner lost"]];
    $("legend").replaceChildren(...looks.map(([look, text]) => {
      const item = element("li"), sample = element("canvas");
      const ratio = devicePixelRatio || 1;
      sample.width = 30 * ratio; sample.height = 14 * ratio;
      sample.style.width = "30px"; sample.style.height = "14px";
      sample.setAttribute("aria-hidden", "true");
      item.append(sample, element("span", text));
      const pen = sample.getContext("2d");
      pen.scale(ratio, ratio);
      drawPart(pen, look, 0, 0, 30, 14);
      return item;
    }));
  }

  function describe() {
    const rows = lanes.length ? lanes[lanes.length - 1].top + lanes[lanes.length - 1].height : AXIS + 60;
    $("timeline-space").style.height = rows + "px";
    view.content = rows;
    canvas.setAttribute("aria-label", "Timeline of " + count(shown.length, "run") + " on " + count(lanes.length, "thread") +
      ", from " + when(Math.round(view.from)) + " to " + when(Math.round(view.to)) + " UTC");
    $("view").textContent = when(Math.round(view.from)).slice(0, 19) + " to " + when(Math.round(view.to)).slice(0, 19) +
      " UTC (" + duration(view.to - view.from) + ")";
    resize();
  }

  function resize() {
    const ratio = devicePixelRatio || 1;
    const width = frame.clientWidth, height = Math.min(view.content, Math.max(innerHeight * 0.6, 160) - 2);
    if (width !== view.width || height !== view.height || canvas.width !== Math.round(width * ratio)) {
      view.width = width;
      view.height = height;
      view.label = Math.round(Math.min(190, width * 0.28));
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.height = height + "px";
    }
    drawSoon();
  }

  // --- The timeline: moving ------------------------------------------------------------------------------------------

  const LEAST = 1; // milliseconds that are shown at least

  function show(from, to) {
    const all = Math.max(newest - oldest, LEAST), span = Math.min(Math.max(to - from, LEAST), all * 1.1);
    from = Math.min(Math.max(from, oldest - all * 0.05), oldest + all * 1.05 - span);
    view.from = from;
    view.to = from + span;
    describe();
  }

  const showAll = () => { const pad = Math.max(newest - oldest, LEAST) * 0.01; show(oldest - pad, newest + pad); };

  function zoom(factor, at) {
    const middle = at === undefined ? (view.from + view.to) / 2 : at;
    show(middle - (middle - view.from) * factor, middle + (view.to - middle) * factor);
  }

  function move(share) {
    const span = view.to - view.from;
    show(view.from + span * share, view.from + span * share + span);
  }

  const timeAt = (x) => view.from + (x - view.label) / (view.width - view.label) * (view.to - view.from);

  const keys = { "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "_": () => zoom(2), "0": showAll,
    ArrowLeft: () => move(-0.2), ArrowRight: () => move(0.2), ArrowUp: () => frame.scrollBy(0, -60),
    ArrowDown: () => frame.scrollBy(0, 60), PageUp: () => frame.scrollBy(0, -view.height * 0.9),
    PageDown: () => frame.scrollBy(0, view.height * 0.9),
    Home: () => show(oldest, oldest + view.to - view.from),
    End: () => show(newest - (view.to - view.from), newest) };

  // The run at a place of the canvas.
  function runAt(px, py) {
    const y = py + frame.scrollTop;
    if (py < AXIS || px < view.label) return null;
    const lane = lanes[firstOf(lanes, (lane) => lane.top + lane.height > y)];
    const row = lane && lane.rows[Math.floor((y - lane.top - GAP / 2) / lane.row)];
    if (!row) return null;
    const slack = 3 * (view.to - view.from) / (view.width - view.label), t = timeAt(px);
    const run = row[firstOf(row, (run) => run.end + slack >= t)];
    return run && run.created - slack <= t ? run : null;
  }

  function showTip(run, event) {
    const tip = $("tip");
    tip.hidden = !run;
    if (!run) return;
    tip.textContent = statusOf(run) + "  " + run.thread + "\n" + run.id + "\nwaited " + duration(run.waited) +
      (run.hasRun ? ", ran " + duration(run.ran) : "") + (run.what ? "\n" + run.what : "");
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)) + "px";
    const below = event.clientY + 16;
    tip.style.top = (below + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 8 : below) + "px";
  }

  function listenToCanvas() {
    let drag = null;
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey || !keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    });
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== canvas) return; // the page scrolls
      event.preventDefault();
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        move((event.deltaX || event.deltaY) / 1000);
      } else {
        zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 300))), timeAt(event.offsetX));
      }
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      drag = { x: event.clientX, from: view.from, to: view.to, moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!drag) return showTip(runAt(event.offsetX, event.offsetY), event);
      const by = (event.clientX - drag.x) / (view.width - view.label) * (drag.to - drag.from);
      drag.moved = drag.moved || Math.abs(event.clientX - drag.x) > 3;
      if (drag.moved) show(drag.from - by, drag.to - by);
    });
    canvas.addEventListener("pointerup", (event) => {
      const run = drag && !drag.moved && runAt(event.offsetX, event.offsetY);
      drag = null;
      if (run) select(run);
    });
    canvas.addEventListener("pointercancel", () => { drag = null; });
    canvas.addEventListener("pointerleave", () => showTip(null));
    frame.addEventListener("scroll", drawSoon);
    $("zoom-in").addEventListener("click", () => zoom(0.5));
    $("zoom-out").addEventListener("click", () => zoom(2));
    $("earlier").addEventListener("click", () => move(-0.5));
    $("later").addEventListener("click", () => move(0.5));
    $("zoom-all").addEventListener("click", showAll);
  }

  // --- The table -----------------------------------------------------------------------------------------------------

  const columns = [
    { name: "Status", width: 11, value: (run) => run.status, text: statusOf },
    { name: "Run", width: 7, value: (run) => run.id, text: (run) => run.id.length > 20 ? "…" + run.id.slice(-8) : run.id },
    { name: "Thread", width: 9, value: (run) => run.thread },
    { name: "User", width: 5.5, value: (run) => run.user },
    { name: "Handler", width: 6, value: (run) => run.handler },
    { name: "Made (UTC)", width: 11.5, value: (run) => run.created, text: (run) => when(run.created).slice(0, 19) },
    { name: "Waited", width: 6, isNumber: true, value: (run) => run.waited, text: (run) => duration(run.waited) },
    { name: "Ran", width: 6, isNumber: true, value: (run) => run.hasRun ? run.ran : -1,
      text: (run) => run.hasRun ? duration(run.ran) : "" },
    { name: "What", value: (run) => run.what },
  ];
  const body = $("table").tBodies[0];
  let order = { column: 5, down: true }, active = 0, selected = null;

  function makeHead() {
    columns.forEach((column, i) => {
      const head = element("th", undefined, column.isNumber ? "number" : "");
      head.scope = "col";
      if (column.width) head.style.width = column.width + "rem";
      const button = element("button", column.name);
      button.type = "button";
      button.addEventListener("click", () => {
        order = { column: i, down: order.column === i ? !order.down : false };
        sort();
      });
      head.append(button);
      $("table").tHead.rows[0].append(head);
    });
  }

  function sort() {
    const value = columns[order.column].value, sign = order.down ? -1 : 1;
    ordered = runs.slice().sort((a, b) => {
      const x = value(a), y = value(b);
      return x < y ? -sign : x > y ? sign : a.index - b.index;
    });
    [...$("table").tHead.rows[0].cells].forEach((head, i) => {
      const isOrder = i === order.column;
      head.setAttribute("aria-sort", isOrder ? (order.down ? "descending" : "ascending") : "none");
      head.firstChild.textContent = columns[i].name + (isOrder ? (order.down ? " ▼" : " ▲") : "");
    });
    showRows();
  }

  function showRows() {
    sorted = ordered.filter((run) => run.isShown);
    active = Math.max(0, selected ? sorted.indexOf(selected) : 0);
    $("table").setAttribute("aria-rowcount", sorted.length + 1);
    renderRows();
  }

  function rowOf(run, place) {
    const row = element("tr");
    row.setAttribute("aria-rowindex", place + 2);
    row.setAttribute("aria-selected", String(run === selected));
    row.tabIndex = place === active ? 0 : -1;
    row.dataset.place = place;
    if (place % 2) row.className = "odd";
    for (const column of columns) {
      const cell = element("td", (column.text || column.value)(run), column.isNumber ? "number" : "");
      if (column === columns[0]) {
        cell.classList.add("status");
        cell.style.setProperty("--of", "var(--" + (run.lost ? "lost" : run.status) + ")");
      }
      row.append(cell);
    }
    return row;
  }

  const filler = (rows) => {
    const row = element("tr"), cell = element("td");
    row.setAttribute("aria-hidden", "true");
    row.style.height = cell.style.height = rows * ROW + "px";
    cell.colSpan = columns.length;
    row.append(cell);
    return row;
  };

  // Makes the rows that can be seen, and a few around them; empty ones stand for the others.
  function renderRows() {
    const region = $("runs"), hadFocus = body.contains(document.activeElement);
    const first = Math.max(0, Math.floor(region.scrollTop / ROW) - 5);
    const last = Math.min(sorted.length, first + Math.ceil(region.clientHeight / ROW) + 10);
    const rows = [];
    if (first > 0) rows.push(filler(first));
    for (let i = first; i < last; i++) rows.push(rowOf(sorted[i], i));
    if (last < sorted.length) rows.push(filler(sorted.length - last));
    body.replaceChildren(...rows);
    if (!hadFocus) return;
    const row = rowAt(active);
    (row || region).focus({ preventScroll: true });
  }

  const rowAt = (place) => body.querySelector('tr[data-place="' + place + '"]');

  function goTo(place) {
    if (sorted.length === 0) return;
    active = Math.max(0, Math.min(sorted.length - 1, place));
    const region = $("runs"), head = $("table").tHead.offsetHeight, top = active * ROW;
    if (top < region.scrollTop) region.scrollTop = top;
    const bottom = top + ROW + head - region.clientHeight;
    if (bottom > region.scrollTop) region.scrollTop = bottom;
    renderRows();
    rowAt(active).focus({ preventScroll: true });
  }

  function listenToTable() {
    const page = () => Math.max(1, Math.floor($("runs").clientHeight / ROW) - 2);
    const moves = { ArrowDown: () => active + 1, ArrowUp: () => active - 1, PageDown: () => active + page(),
      PageUp: () => active - page(), Home: () => 0, End: () => sorted.length - 1 };
    $("runs").addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey || event.target.tagName === "BUTTON") return;
      if (event.key === "Enter" && body.contains(event.target)) return select(sorted[active], true);
      if (!moves[event.key]) return;
      event.preventDefault();
      goTo(event.target === $("runs") && event.key === "ArrowDown" ? active : moves[event.key]());
    });
    body.addEventListener("click", (event) => {
      const row = event.target.closest("tr[data-place]");
      if (!row) return;
      active = Number(row.dataset.place);
      select(sorted[active]);
    });
    let isDue = false;
    $("runs").addEventListener("scroll", () => {
      if (isDue) return;
      isDue = true;
      requestAnimationFrame(() => { isDue = false; renderRows(); });
    });
  }

  // --- One run -------------------------------------------------------------------------------------------------------

  const partNames = ["waiting", "running", "owner lost"];

  function select(run, takesFocus) {
    selected = run;
    $("details").hidden = !run;
    if (run) {
      const course = run.parts.map(([kind, from, to]) => when(from) + "  " + partNames[kind] + " " + duration(to - from));
      const pairs = [["Run", run.id], ["Thread", run.thread], ["Status", statusOf(run)], ["User", run.user],
        ["Handler", run.handler], ["What", run.what], ["Made", when(run.created)], ["Started", when(run.started)],
        ["Ended", when(run.ended)], ["Waited", duration(run.waited)], ["Ran", run.hasRun ? duration(run.ran) : ""],
        ["Course", course.join("\n")]].filter((pair) => pair[1] !== "");
      $("fields").replaceChildren(...pairs.flatMap(([name, text]) => [element("dt", name), element("dd", text)]));
      const at = sorted.indexOf(run);
      if (at >= 0) active = at;
      const lane = lanes.find((lane) => lane.thread === run.thread);
      if (lane && (lane.top < frame.scrollTop + AXIS || lane.top + BAR > frame.scrollTop + view.height)) {
        frame.scrollTop = lane.top - AXIS;
      }
      if (run.end < view.from || run.created > view.to) {
        const span = view.to - view.from;
        show((run.created + run.end - span) / 2, (run.created + run.end + span) / 2);
      }
      if (takesFocus) $("details-title").focus();
    }
    renderRows();
    drawSoon();
  }

  // --- Times ---------------------------------------------------------------------------------------------------------

  const BINS = [[0, "under 10 ms"], [10, "10–100 ms"], [100, "0.1–1 s"], [1e3, "1–10 s"], [1e4, "10–60 s"], [6e4, "1–10 min"],
    [6e5, "10–60 min"], [36e5, "1–6 h"], [216e5, "6–24 h"], [864e5, "a day or more"]];

  function histogram(table, title, whose, times) {
    const counts = BINS.map(() => 0);
    for (const time of times) {
      let i = BINS.length - 1;
      while (i > 0 && time < BINS[i][0]) i--;
      counts[i]++;
    }
    const ordered = Float64Array.from(times).sort(), most = Math.max(...counts, 1);
    const at = (share) => duration(ordered[Math.min(ordered.length - 1, Math.floor(share * ordered.length))]);
    const caption = element("caption");
    caption.append(element("strong", title + ", " + whose), element("span", ordered.length === 0 ? "none" :
      "half within " + at(0.5) + ", 95 % within " + at(0.95) + ", the longest " + at(1)));
    const rows = element("tbody");
    BINS.forEach(([, label], i) => {
      const row = element("tr"), head = element("th", label), cell = element("td"), fill = element("span", undefined, "fill");
      head.scope = "row";
      fill.style.width = counts[i] === 0 ? "1px" : "calc((100% - 5rem) * " + counts[i] / most + ")";
      fill.setAttribute("aria-hidden", "true");
      cell.append(fill, counts[i].toLocaleString("en"));
      row.append(head, cell);
      rows.append(row);
    });
    table.replaceChildren(caption, rows);
  }

  // --- What is in the way --------------------------------------------------------------------------------------------

  function listWaits(ids) {
    const list = data.waits.filter((wait) => ids.has(wait[0]));
    $("waits").hidden = list.length === 0;
    $("waits-none").hidden = list.length > 0;
    $("waits").tBodies[0].replaceChildren(...list.map(([id, thread, since, reasons]) => {
      const row = element("tr");
      row.append(element("td", id), element("td", thread), element("td", duration(Math.max(0, now - since))),
        element("td", reasons.join("\n")));
      return row;
    }));
    $("waits-more").hidden = !about.more_waits;
    $("waits-more").textContent = "Only the " + data.waits.length + " oldest of those that wait are explained.";
  }

  // --- The page ------------------------------------------------------------------------------------------------------

  function tellAbout() {
    $("about").textContent = about.store + ", read " + when(now).slice(0, 19) + " UTC by keel " + about.version;
    const left = [];
    if (about.since !== undefined) left.push("runs made before " + when(about.since).slice(0, 19) + " UTC are left out");
    if (about.more) left.push("older runs are left out: only the newest " + about.limit.toLocaleString("en") +
      " and what is in flight are here (--limit)");
    if (about.courses_left_out) left.push("of " + count(about.courses_left_out, "run") +
      " with several attempts only the last one is shown");
    const text = left.join("; ");
    $("left-out").textContent = text === "" ? "" : text[0].toUpperCase() + text.slice(1) + ".";
    $("left-out").hidden = text === "";
  }

  tellAbout();
  readColours();
  fillFilters();
  makeHead();
  listenToCanvas();
  listenToTable();
  $("details-close").addEventListener("click", () => {
    const had = selected;
    select(null);
    if (had && rowAt(active)) rowAt(active).focus({ preventScroll: true });
  });
  addEventListener("resize", () => { resize(); renderRows(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); drawSoon(); });
  sort();
  filter();
  showAll();
})();
