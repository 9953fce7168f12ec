// What layers may keep, and how much alike they choose.

function renderPyramid(view) {
  const method = view.method;
  const list = document.getElementById("pyramid");
  const budget = (group) => Math.min(seqlen, group.kv_budget + (method.unit === "window" ? method.always_kept : 0));
  // Layers that keep as much and may keep as much stand in one row, unless they are groups.
  const rows = [];
  for (const group of method.groups) {
    const kept = method.layers[group.first_layer].kept_tokens;
    const last = rows[rows.length - 1];
    if (method.unit === "token" && last && last.kept === kept && last.budget === budget(group)) last.layers += group.layers;
    else rows.push({ first: group.first_layer, layers: group.layers, kept, budget: budget(group) });
  }
  const widest = Math.max(...rows.map((row) => Math.max(row.budget, row.kept)), 1);
  list.classList.toggle("many", rows.length > 16);
  list.replaceChildren(...rows.map((row) => {
    const always = Math.min(method.always_kept, row.kept);
    const button = element("button", { type: "button" },
      element("span", {}, layersName(row.first, row.layers)),
      element("span", { className: "bar" }, element("span", { className: "fill" },
        element("i", { className: "chosen" }), element("i", { className: "stays" }))),
      element("span", { className: "count" }, `${number(row.kept)} tokens`));
    const bar = button.querySelector(".bar");
    bar.style.width = `${(100 * Math.max(row.budget, row.kept)) / widest}%`;
    bar.querySelector(".fill").style.width = `${(100 * row.kept) / Math.max(row.budget, row.kept, 1)}%`;
    bar.querySelector(".chosen").style.width = `${(100 * (row.kept - always)) / Math.max(row.kept, 1)}%`;
    bar.querySelector(".stays").style.width = `${(100 * always) / Math.max(row.kept, 1)}%`;
    button.title = `may keep ${number(row.budget)}`;
    button.setAttribute("aria-current", row.first <= view.layer && view.layer < row.first + row.layers);
    button.addEventListener("click", () => choose({ layer: row.first }));
    return element("li", {}, button);
  }));
  const hint = method.unit === "window"
    ? `Tokens that each layer keeps: chosen windows, and the suffix of ${number(method.always_kept)} (blue). Dashed: the budget, which whole windows do not fill to the last token.`
    : method.method === "fullkv" ? "Every layer keeps the whole prompt."
      : `Tokens that each cache head keeps: chosen ones, and the last ${number(method.always_kept)} (blue).`;
  document.getElementById("pyramid-hint").textContent = hint;
}

function element(name, properties, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

const heatCanvas = document.getElementById("heat");
const heatLayout = { cell: 1, left: 30, top: 4 };

function renderMeans(view, compared) {
  const section = document.getElementById("similarity");
  section.hidden = compared === undefined;
  if (compared === undefined) return;
  const entries = view.method.unit === "window"
    ? [["mean inside groups", compared.mean_inside], ["mean across groups", compared.mean_across]]
    : [["mean over pairs of layers", compared.mean_across]];
  document.getElementById("means").replaceChildren(...entries.map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, similarity(value)))));
  const what = view.method.unit === "window" ? "windows that two layers would keep by their own scores" : "chosen tokens of two layers, head by head";
  const how = compared.budgets === "equal"
    ? "Every layer has the mean budget here, so that only the scores decide."
    : view.method.unit === "window" ? "Each layer has its group's budget: with different budgets two layers cannot be wholly alike." : "";
  document.getElementById("similarity-hint").textContent =
    `Jaccard similarity of the ${what}; what always stays is left out. ${how}`;
}

function drawHeat(view, compared, cell) {
  if (compared === undefined) return;
  const layers = compared.matrix.length;
  heatCanvas.style.maxWidth = `${Math.min(416, 160 + 48 * layers)}px`;
  const size = Math.max(120, heatCanvas.clientWidth);
  const { context } = prepare(heatCanvas, size);
  const { left, top } = heatLayout;
  heatLayout.cell = (size - left - top) / layers;
  const side = heatLayout.cell;
  const gap = side > 12 ? 1 : 0;
  for (let row = 0; row < layers; row++) {
    for (let column = 0; column < layers; column++) {
      const value = compared.matrix[row][column];
      context.fillStyle = value === null ? colours.page : rampColour(value);
      context.fillRect(left + column * side, top + row * side, side - gap + (gap ? 0 : 0.5), side - gap + (gap ? 0 : 0.5));
    }
  }
  context.fillStyle = colours.muted;
  const step = Math.ceil(16 / side);
  for (let layer = 0; layer < layers; layer += step) {
    context.textAlign = "right";
    context.fillText(String(layer), left - 5, top + (layer + 0.5) * side);
    context.textAlign = "center";
    context.fillText(String(layer), left + (layer + 0.5) * side, size - left / 2 + 2);
  }
  context.lineWidth = 2;
  context.strokeStyle = colours.ink;
  if (view.method.unit === "window") {
    for (const group of view.method.groups) {
      const from = group.first_layer * side;
      context.strokeRect(left + from, top + from, group.layers * side - gap, group.layers * side - gap);
    }
  }
  context.strokeStyle = colours.cursor;
  if (cell !== null) context.strokeRect(left + cell.column * side, top + cell.row * side, side - gap, side - gap);
  heatCanvas.setAttribute("aria-label",
    `Heat map of the similarity of ${layers} layers; arrow keys step through the pairs`);
}

// Interpolates the six stops of the ramp.
function rampColour(value) {
  const at = Math.min(4.999, Math.max(0, value * 5));
  const parse = (stop) => [1, 3, 5].map((start) => parseInt(colours[`ramp-${stop}`].slice(start, start + 2), 16));
  const low = parse(Math.floor(at));
  const high = parse(Math.floor(at) + 1);
  const part = at - Math.floor(at);
  return `rgb(${low.map((channel, index) => Math.round(channel + (high[index] - channel) * part)).join(" ")})`;
}

function renderTable(view) {
  const head = ["", "tokens kept", "of the prompt", "alike inside groups", "across groups"];
  const rows = data.methods.map((method) => {
    const kept = method.layers.reduce((sum, layer) => sum + layer.kept_tokens, 0) / method.layers.length;
    const alike = method.similarity[0];
    const cells = [number(Math.round(kept)), percent(kept / seqlen),
      alike && method.unit === "window" ? similarity(alike.mean_inside) : "–", alike ? similarity(alike.mean_across) : "–"];
    const row = element("tr", {}, Object.assign(element("th", {}, method.title), { scope: "row" }),
      ...cells.map((cell) => element("td", {}, cell)));
    row.setAttribute("aria-current", method === view.method);
    return row;
  });
  document.getElementById("table").replaceChildren(
    element("thead", {}, element("tr", {}, ...head.map((name) => Object.assign(element("th", {}, name), { scope: "col" })))),
    element("tbody", {}, ...rows));
}
