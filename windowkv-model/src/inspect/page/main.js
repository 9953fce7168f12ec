// State, controls, and what the pointer and the keys do.

const tip = document.getElementById("tip");
const state = { method: 0, layer: 0, own: false, budgets: 0, unit: null, cell: null };
let view = null;

function choose(change) {
  Object.assign(state, change);
  const method = data.methods[state.method];
  const token = state.unit === null ? null : view.start(state.unit);
  if (method.unit !== "window") state.own = false;
  if (!method.similarity[state.budgets]) state.budgets = 0;
  view = new View(method, state.layer, state.own);
  state.unit = token === null ? null : view.unitAt(token);
  renderControls();
  renderFigures();
  renderLegend(view);
  renderText(view);
  renderPyramid(view);
  renderMeans(view, method.similarity[state.budgets]);
  renderTable(view);
  draw();
}

function draw() {
  drawMap(view, state.unit);
  drawCurve(view, state.unit, document.getElementById("log").checked);
  drawHeat(view, view.method.similarity[state.budgets], state.cell);
  for (const span of textBox.querySelectorAll(".current")) span.classList.remove("current");
  if (state.unit !== null) textUnits[state.unit].classList.add("current");
}

function radios(box, name, labels, chosen, pick) {
  if (box.childElementCount !== labels.length || [...box.children].some((child, at) => child.textContent !== labels[at])) {
    box.replaceChildren(...labels.map((label, at) => {
      const input = element("input", { type: "radio", name, value: String(at) });
      input.addEventListener("change", () => pick(at));
      return element("label", {}, input, element("span", {}, label));
    }));
  }
  box.querySelectorAll("input").forEach((input, at) => { input.checked = at === chosen; });
}

function renderControls() {
  const method = view.method;
  radios(document.getElementById("methods"), "method", data.methods.map((each) => each.title), state.method,
    (at) => choose({ method: at, cell: null }));
  const grouped = method.unit === "window";
  document.getElementById("group-field").hidden = !grouped;
  document.getElementById("own-field").hidden = !grouped;
  if (grouped) {
    radios(document.getElementById("groups"), "group", method.groups.map((group) => layersName(group.first_layer, group.layers)),
      view.group, (at) => choose({ layer: method.groups[at].first_layer }));
  }
  const slider = document.getElementById("layer");
  slider.max = method.layers.length - 1;
  slider.value = state.layer;
  document.getElementById("own").checked = state.own;
  const leader = method.groups[view.group].first_layer;
  document.getElementById("layer-name").textContent = !grouped || state.own || leader === state.layer
    ? `${state.layer}${grouped && leader === state.layer ? ", leads its group" : ""}`
    : `${state.layer}, led by layer ${leader}`;
  const compared = method.similarity.map((each) => (each.budgets === "equal" ? "the same budget" : "the group's budget"));
  document.getElementById("budgets-field").hidden = compared.length < 2;
  radios(document.getElementById("budgets"), "budgets", compared, state.budgets, (at) => choose({ budgets: at }));
}

function renderFigures() {
  const method = view.method;
  const entries = [["tokens kept", `${number(view.keptTokens)} of ${number(seqlen)}`], ["share", percent(view.keptTokens / seqlen)]];
  if (method.unit === "window") {
    entries.push(["windows kept", `${number(view.keptUnits)} of ${number(method.windows.count)}`]);
    if (data.task) entries.push(["task", data.task]);
    entries.push(["window, suffix", `${number(method.windows.window_len)}, ${number(method.always_kept)} tokens`]);
  } else if (view.heads > 1) {
    entries.push(["cache heads", number(view.heads)]);
    entries.push(["kept by any head", number(view.share.reduce((sum, share) => sum + (share > 0), 0))]);
  }
  if (data.prompt.marked) {
    const [from, to] = data.prompt.marked[0];
    let kept = 0;
    for (let token = from; token < to; token++) kept += view.share[view.unitAt(token)];
    entries.push([data.prompt.marked[1], `${percent(kept / (to - from))} kept`]);
  }
  document.getElementById("figures").replaceChildren(...entries.map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

// What is known about a unit, for the pointer and for a screen reader.
function describe(unit) {
  const method = view.method;
  const start = view.start(unit);
  const end = view.end(unit);
  const text = shown(data.prompt.pieces.slice(start, end).join("")).replace(/\s+/g, " ").trim();
  const quoted = `“${text.length > 80 ? `${text.slice(0, 80)}…` : text}”`;
  const scored = view.scores && unit < view.scores.length
    ? `score ${score(view.scores[unit])}, rank ${number(view.ranks[unit])} of ${number(view.scores.length)}`
    : "not scored";
  if (method.unit === "window") {
    if (view.isAlways(unit)) return `suffix, tokens ${number(start)}–${number(end - 1)}: always kept\n${quoted}`;
    const kept = view.share[unit] ? "kept" : "dropped";
    const groups = method.groups.filter((group) => inSpans(method.layers[group.first_layer].kept.spans, unit))
      .map((group) => layersName(group.first_layer, group.layers));
    const where = groups.length === 0 ? "kept in no group" : groups.length === method.groups.length ? "kept in every group" : `kept in ${groups.join(", ")}`;
    return `window ${number(unit)}, tokens ${number(start)}–${number(end - 1)}: ${kept}\n${scored}\n${where}\n${quoted}`;
  }
  const name = `token ${number(unit)}`;
  if (view.isAlways(unit)) return `${name}: always kept\n${quoted}`;
  const heads = view.mask ? view.keepers(unit) : [];
  const kept = !view.mask ? (view.share[unit] ? "kept" : "dropped")
    : heads.length === 0 ? "dropped by every head"
      : `kept by ${heads.length} of ${view.heads} heads${heads.length < view.heads ? ` (${heads.join(", ")})` : ""}`;
  return `${name}: ${kept}\n${scored}${view.scores && view.heads > 1 ? " (mean over heads)" : ""}\n${quoted}`;
}

function inSpans(spans, unit) {
  for (let at = 0; at < spans.length; at += 2) if (unit >= spans[at] && unit < spans[at + 1]) return true;
  return false;
}

function showTip(text, x, y) {
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const left = Math.min(window.innerWidth - box.width - 8, Math.max(8, x + 14));
  const below = y + 18;
  const top = below + box.height < window.innerHeight - 8 ? below : Math.max(8, y - box.height - 14);
  tip.style.left = `${left}px`;
  tip.style.top = `${top}px`;
}

function hideTip() { tip.hidden = true; }

function focusUnit(unit, x, y) {
  if (unit !== state.unit) {
    state.unit = unit;
    requestDraw();
  }
  showTip(describe(unit), x, y);
}

let drawing = false;
function requestDraw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => { drawing = false; draw(); });
}

// Moves by keys on the text, the map or the curve; true when the key meant something.
function step(key, place) {
  const last = view.units - 1;
  const at = state.unit ?? -1;
  const units = { ArrowLeft: Math.max(0, at - 1), ArrowRight: Math.min(last, at + 1), Home: 0, End: last };
  const layers = { ArrowUp: state.layer - 1, ArrowDown: state.layer + 1 };
  if (key === "Escape") {
    state.unit = null;
    hideTip();
    requestDraw();
    return true;
  }
  if (key in layers && place !== textBox) {
    const next = Math.min(view.method.layers.length - 1, Math.max(0, layers[key]));
    if (next !== state.layer) choose({ layer: next });
    if (state.unit !== null) focusUnit(state.unit, tip.offsetLeft - 14, tip.offsetTop - 18);
    return true;
  }
  if (!(key in units)) return false;
  const unit = units[key];
  scrollToUnitIfHidden(unit, place);
  const box = place === textBox ? textUnits[unit].getClientRects()[0] ?? textBox.getBoundingClientRect() : place.getBoundingClientRect();
  const x = place === textBox ? box.left : box.left + tokenX(view.start(unit), box.width - MARGIN.left - MARGIN.right);
  focusUnit(unit, x, place === textBox ? box.bottom : box.top + box.height / 2);
  return true;
}

function scrollToUnitIfHidden(unit, place) {
  const outer = textBox.getBoundingClientRect();
  const box = textUnits[unit].getBoundingClientRect();
  const inside = textBox.scrollHeight > textBox.clientHeight + 1;
  const hidden = inside ? box.top < outer.top || box.bottom > outer.bottom : place === textBox && (box.top < 0 || box.bottom > window.innerHeight);
  if (hidden) scrollToUnit(unit);
}

function start() {
  readColours();
  const prompt = data.prompt;
  document.title = `What is kept of ${prompt.source}`;
  document.getElementById("caption").textContent =
    `${prompt.source}: ${number(seqlen)} tokens, read by ${data.model.name} with ${data.model.num_layers} layers, ` +
    `${data.model.num_heads_q} query heads and ${data.model.num_heads_kv} KV heads`;
  document.getElementById("footer").textContent =
    `Made by windowkv inspect ${data.version}. The page holds everything that it shows; it loads nothing.`;
  const notes = document.getElementById("notes");
  notes.hidden = data.notes.length === 0;
  notes.replaceChildren(...data.notes.map((note) => element("li", {}, note)));
  choose({});

  document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("layer").addEventListener("input", (event) => choose({ layer: Number(event.target.value) }));
  document.getElementById("own").addEventListener("change", (event) => choose({ own: event.target.checked }));
  document.getElementById("log").addEventListener("change", requestDraw);

  const unitOf = (event) => {
    const span = event.target.closest?.(".unit");
    return span ? Number(span.dataset.unit) : null;
  };
  for (const kind of ["pointermove", "pointerdown"]) {
    textBox.addEventListener(kind, (event) => {
      const unit = unitOf(event);
      if (unit === null) hideTip(); else focusUnit(unit, event.clientX, event.clientY);
    });
  }
  for (const canvas of [mapCanvas, curveCanvas]) {
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return view.unitAt(xToken(event.clientX - box.left, box.width - MARGIN.left - MARGIN.right));
    };
    for (const kind of ["pointermove", "pointerdown"]) {
      canvas.addEventListener(kind, (event) => focusUnit(at(event), event.clientX, event.clientY));
    }
    canvas.addEventListener("click", (event) => {
      if (canvas === mapCanvas) {
        const rows = mapRows(view);
        const box = canvas.getBoundingClientRect();
        const row = Math.floor((event.clientY - box.top) / ((box.height - MARGIN.axis) / rows.length));
        if (rows[row]) choose({ layer: rows[row].layer });
      }
      scrollToUnit(at(event));
      hideTip();
    });
  }
  for (const place of [textBox, mapCanvas, curveCanvas]) {
    place.addEventListener("keydown", (event) => {
      if (!event.ctrlKey && !event.metaKey && !event.altKey && step(event.key, place)) event.preventDefault();
    });
    place.addEventListener("pointerleave", hideTip);
    place.addEventListener("blur", hideTip);
  }
  startHeat();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); requestDraw(); });
  window.addEventListener("resize", requestDraw);
  window.addEventListener("scroll", hideTip, { passive: true });
}

function startHeat() {
  const show = (row, column, x, y) => {
    const compared = view.method.similarity[state.budgets];
    state.cell = { row, column };
    requestDraw();
    const value = compared.matrix[row][column];
    showTip(`layers ${row} and ${column}: ${value === null ? "neither chooses any" : value.toFixed(3)}`, x, y);
  };
  const place = (event) => {
    const box = heatCanvas.getBoundingClientRect();
    const layers = view.method.layers.length;
    const column = Math.floor((event.clientX - box.left - heatLayout.left) / heatLayout.cell);
    const row = Math.floor((event.clientY - box.top - heatLayout.top) / heatLayout.cell);
    if (row < 0 || column < 0 || row >= layers || column >= layers) hideTip();
    else show(row, column, event.clientX, event.clientY);
  };
  heatCanvas.addEventListener("pointermove", place);
  heatCanvas.addEventListener("pointerdown", place);
  heatCanvas.addEventListener("pointerleave", hideTip);
  heatCanvas.addEventListener("blur", hideTip);
  heatCanvas.addEventListener("keydown", (event) => {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    const last = view.method.layers.length - 1;
    const cell = state.cell ?? { row: 0, column: -1 };
    const row = Math.min(last, Math.max(0, cell.row + move[0]));
    const column = Math.min(last, Math.max(0, cell.column + move[1]));
    const box = heatCanvas.getBoundingClientRect();
    show(row, column, box.left + heatLayout.left + (column + 1) * heatLayout.cell, box.top + heatLayout.top + (row + 0.5) * heatLayout.cell);
  });
}

start();
