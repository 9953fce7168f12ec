// The map (what every layer keeps along the prompt) and the curve of scores, on canvas.

const mapCanvas = document.getElementById("map");
const curveCanvas = document.getElementById("curve");
// Room for labels, in CSS pixels; the same for both, so that positions stand above each other.
const MARGIN = { left: 54, right: 8, axis: 20 };

const colours = {};

function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["page", "surface", "ink", "muted", "line", "bar-kept", "bar-dropped", "bar-always", "cursor",
    "fact", "ramp-0", "ramp-1", "ramp-2", "ramp-3", "ramp-4", "ramp-5"]) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
}

// Sizes a canvas for the screen's pixels; returns its context in CSS pixels and its width.
function prepare(canvas, height) {
  const width = Math.max(120, canvas.clientWidth);
  const ratio = window.devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  return { context, width, plot: width - MARGIN.left - MARGIN.right };
}

function tokenX(token, plot) { return MARGIN.left + (token / seqlen) * plot; }

function xToken(x, plot) {
  return Math.min(seqlen - 1, Math.max(0, Math.floor(((x - MARGIN.left) / plot) * seqlen)));
}

// Rows of the map: groups where layers share a choice, else layers.
function mapRows(view) {
  const method = view.method;
  if (!view.own) return method.groups.map((group) => ({ layer: group.first_layer, layers: group.layers }));
  return method.layers.map((_, layer) => ({ layer, layers: 1 }));
}

// Shares by row, for the columns of the present width.
let mapImages = new Map();
let mapColumns = 0;

function drawMap(view, cursor) {
  const rows = mapRows(view);
  const rowHeight = Math.max(5, Math.min(20, Math.floor(220 / rows.length)));
  const height = rows.length * rowHeight + MARGIN.axis;
  const { context, width, plot } = prepare(mapCanvas, height);
  const columns = Math.max(1, Math.round(plot));
  rows.forEach((row, index) => {
    const y = index * rowHeight;
    const selected = row.layer <= view.layer && view.layer < row.layer + row.layers;
    context.fillStyle = colours.line;
    context.globalAlpha = 0.5;
    context.fillRect(MARGIN.left, y, plot, rowHeight - 1);
    const shares = rowShares(view.method, row.layer, view.own, columns);
    context.fillStyle = colours["bar-kept"];
    for (let column = 0; column < columns; column++) {
      if (shares[column] === 0) continue;
      context.globalAlpha = 0.25 + 0.75 * shares[column];
      context.fillRect(MARGIN.left + column, y, 1, rowHeight - 1);
    }
    context.globalAlpha = 1;
    const always = tokenX(view.review, plot);
    context.fillStyle = colours["bar-always"];
    if (view.method.always_kept > 0) context.fillRect(always, y, Math.max(1.5, MARGIN.left + plot - always), rowHeight - 1);
    if (selected) {
      context.fillStyle = colours.cursor;
      context.fillRect(MARGIN.left - 4, y, 3, rowHeight - 1);
    }
    if (rowHeight >= 12 || selected || rows.length < 12) {
      context.fillStyle = selected ? colours.ink : colours.muted;
      context.textAlign = "right";
      const name = row.layers === 1 ? `${row.layer}` : `${row.layer}–${row.layer + row.layers - 1}`;
      const labelY = Math.min(height - MARGIN.axis - 6, Math.max(6, y + rowHeight / 2));
      context.fillText(name, MARGIN.left - 8, labelY);
    }
  });
  drawAxis(context, plot, rows.length * rowHeight);
  drawMarks(context, plot, rows.length * rowHeight, view, cursor);
  mapCanvas.setAttribute("aria-label", `Map of the prompt: ${rows.length} rows of layers, kept tokens are filled`);
}

// The share of each column's tokens that a layer keeps.
function rowShares(method, layer, own, columns) {
  if (columns !== mapColumns) {
    mapColumns = columns;
    mapImages = new Map();
  }
  const key = `${method.method}/${layer}/${own}`;
  if (!mapImages.has(key)) {
    const view = new View(method, layer, own);
    const sums = new Float64Array(columns);
    const counts = new Float64Array(columns);
    for (let token = 0; token < Math.max(seqlen, columns); token++) {
      const at = seqlen >= columns ? token : Math.floor((token * seqlen) / columns);
      const column = seqlen >= columns ? Math.floor((token * columns) / seqlen) : token;
      sums[column] += view.share[view.unitAt(at)];
      counts[column] += 1;
    }
    mapImages.set(key, sums.map((sum, column) => sum / Math.max(1, counts[column])));
  }
  return mapImages.get(key);
}

function drawAxis(context, plot, y) {
  context.fillStyle = colours.muted;
  context.strokeStyle = colours.line;
  const about = seqlen / Math.max(2, Math.floor(plot / 90));
  const power = 10 ** Math.floor(Math.log10(Math.max(1, about)));
  const step = Math.max(1, [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= about));
  for (let token = 0; token < seqlen; token += step) {
    const x = tokenX(token, plot);
    context.fillRect(x, y, 1, 4);
    context.textAlign = token === 0 ? "left" : "center";
    if (x < MARGIN.left + plot - 20 || token === 0) context.fillText(number(token), x, y + 12);
  }
}

// The asked fact, and the cursor.
function drawMarks(context, plot, height, view, cursor) {
  if (data.prompt.marked) {
    const [from, to] = data.prompt.marked[0];
    context.fillStyle = colours.fact;
    context.fillRect(tokenX(from, plot), height - 3, Math.max(3, tokenX(to, plot) - tokenX(from, plot)), 5);
  }
  if (cursor !== null) {
    context.fillStyle = colours.cursor;
    const x = tokenX((view.start(cursor) + view.end(cursor)) / 2, plot);
    context.fillRect(x - 0.75, 0, 1.5, height);
  }
}

const CURVE_HEIGHT = 170;

function drawCurve(view, cursor, logarithmic) {
  const { context, plot } = prepare(curveCanvas, CURVE_HEIGHT + MARGIN.axis);
  const title = document.getElementById("curve-title");
  if (!view.scores) {
    title.textContent = "Score curve";
    context.fillStyle = colours.muted;
    context.textAlign = "center";
    context.fillText(unscoredReason(view), MARGIN.left + plot / 2, CURVE_HEIGHT / 2);
    drawAxis(context, plot, CURVE_HEIGHT);
    curveCanvas.setAttribute("aria-label", unscoredReason(view));
    return;
  }
  const unit = view.method.unit;
  title.textContent = `Score of each ${unit}, layer ${view.leader}${view.heads > 1 ? ", mean over heads" : ""}`;
  const scale = curveScale(view.scores, logarithmic);
  drawScale(context, plot, scale);
  // The highest of the kept and of the dropped units of each column.
  const columns = Math.max(1, Math.round(plot));
  const kept = new Float64Array(columns).fill(-1);
  const dropped = new Float64Array(columns).fill(-1);
  let least = Infinity;
  view.scores.forEach((value, index) => {
    const height = scale.height(value);
    const side = view.share[index] > 0 ? kept : dropped;
    if (view.share[index] > 0) least = Math.min(least, value);
    const first = Math.floor((view.start(index) * columns) / seqlen);
    const last = Math.max(first + 1, Math.floor((view.end(index) * columns) / seqlen));
    for (let column = first; column < Math.min(last, columns); column++) side[column] = Math.max(side[column], height);
  });
  for (let column = 0; column < columns; column++) {
    const bars = [[dropped[column], "bar-dropped"], [kept[column], "bar-kept"]].sort((a, b) => b[0] - a[0]);
    for (const [height, colour] of bars) {
      if (height < 0) continue;
      context.fillStyle = colours[colour];
      const pixels = Math.max(1, height * (CURVE_HEIGHT - 8));
      context.fillRect(MARGIN.left + column, CURVE_HEIGHT - pixels, 1, pixels);
    }
  }
  if (unit === "window" && view.keptUnits > 0 && view.keptUnits < view.scores.length) {
    const y = CURVE_HEIGHT - scale.height(least) * (CURVE_HEIGHT - 8);
    context.strokeStyle = colours.ink;
    context.setLineDash([4, 4]);
    context.beginPath();
    context.moveTo(MARGIN.left, y);
    context.lineTo(MARGIN.left + plot, y);
    context.stroke();
    context.setLineDash([]);
    title.textContent += `; kept from ${score(least)} (dashed)`;
  }
  drawAxis(context, plot, CURVE_HEIGHT);
  drawMarks(context, plot, CURVE_HEIGHT, view, cursor);
  curveCanvas.setAttribute("aria-label", title.textContent);
}

function unscoredReason(view) {
  if (view.method.method === "fullkv") return "The full cache keeps everything: nothing is scored";
  if (view.method.method === "streamingllm") return "StreamingLLM keeps the first and the last tokens: nothing is scored";
  return "The whole prompt fits the budget: nothing had to be scored";
}

function curveScale(scores, logarithmic) {
  let most = 0;
  let least = Infinity;
  for (const value of scores) {
    most = Math.max(most, value);
    if (value > 0) least = Math.min(least, value);
  }
  if (most === 0) most = 1;
  if (!logarithmic) return { logarithmic, least: 0, most, height: (value) => value / most };
  // At most five decades: what is lower stands at the bottom.
  const low = Math.log10(Math.max(Math.min(least, most / 10), most * 1e-5));
  const high = Math.log10(most);
  const height = (value) => (value <= 0 ? 0 : Math.max(0, (Math.log10(value) - low) / (high - low)));
  return { logarithmic, least: 10 ** low, most, height };
}

function drawScale(context, plot, scale) {
  const values = [];
  if (scale.logarithmic) {
    for (let power = Math.ceil(Math.log10(scale.least)); power <= Math.log10(scale.most); power++) values.push(10 ** power);
  }
  if (values.length < 2) values.splice(0, values.length, scale.least, scale.most);
  context.textAlign = "right";
  for (const value of values) {
    const y = Math.max(7, CURVE_HEIGHT - scale.height(value) * (CURVE_HEIGHT - 8));
    context.fillStyle = colours.line;
    context.fillRect(MARGIN.left, y, plot, 1);
    context.fillStyle = colours.muted;
    context.fillText(value >= 0.0001 || value === 0 ? String(Number(value.toPrecision(2))) : value.toExponential(0), MARGIN.left - 6, y);
  }
}
