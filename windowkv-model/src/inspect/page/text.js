// The prompt's text: one span a unit, shaded by what the layer keeps of it.

const textBox = document.getElementById("text");
let textUnits = [];
let textKey = "";

function renderText(view) {
  const method = view.method;
  const key = method.unit === "token" ? "token" : `${method.windows.window_len}/${method.always_kept}`;
  if (key !== textKey) {
    textKey = key;
    textUnits = Array.from({ length: view.units }, (_, unit) => unitSpan(unit, view.start(unit), view.end(unit)));
    const parts = [];
    const cut = data.prompt.cut;
    for (const span of textUnits) {
      const unit = Number(span.dataset.unit);
      if (cut && view.start(unit) <= cut.before && cut.before < view.end(unit)) parts.push(cutMark(cut));
      parts.push(span);
    }
    textBox.replaceChildren(...parts);
  }
  textUnits.forEach((span, unit) => { span.className = `unit ${unitClass(view, unit)}`; });
}

function unitSpan(unit, start, end) {
  const span = document.createElement("span");
  span.dataset.unit = unit;
  const [from, to] = data.prompt.marked ? data.prompt.marked[0] : [0, 0];
  let token = start;
  while (token < end) {
    const style = tokenStyle(token, from, to);
    let next = token + 1;
    while (next < end && tokenStyle(next, from, to) === style) next++;
    const text = shown(data.prompt.pieces.slice(token, next).join(""));
    if (style === "") {
      span.append(text);
    } else {
      const part = document.createElement("span");
      part.className = style;
      part.textContent = text;
      span.append(part);
    }
    token = next;
  }
  return span;
}

const addedTokens = new Set(data.prompt.added);

function tokenStyle(token, from, to) {
  if (addedTokens.has(token)) return "added";
  return token >= from && token < to ? "fact" : "";
}

function cutMark(cut) {
  const mark = document.createElement("span");
  mark.className = "cut";
  mark.textContent = `${number(cut.tokens)} tokens were cut here`;
  return mark;
}

// Kept units get a deeper shade the better their rank, or the more heads keep them.
function unitClass(view, unit) {
  if (view.isAlways(unit)) return "always";
  const share = view.share[unit];
  if (share === 0) return "";
  if (view.method.unit === "token") return `kept-${share === 1 ? 3 : share >= 0.5 ? 2 : 1}`;
  if (!view.ranks) return "kept-2";
  return `kept-${3 - Math.floor(3 * (view.ranks[unit] - 1) / Math.max(1, view.keptUnits))}`;
}

function renderLegend(view) {
  const entries = view.method.unit === "window"
    ? [["kept-3", "kept, best third of scores"], ["kept-2", "middle third"], ["kept-1", "last third"]]
    : view.heads === 1
      ? [["kept-3", "kept"]]
      : [["kept-3", "kept by every head"], ["kept-2", "by half of them or more"], ["kept-1", "by fewer"]];
  const parts = [...entries, ["always", "always kept"], ["", "dropped"]].map(([name, label]) => {
    const entry = document.createElement("span");
    const swatch = document.createElement("span");
    swatch.className = `swatch ${name}`;
    entry.append(swatch, label);
    return entry;
  });
  if (data.prompt.marked) {
    const entry = document.createElement("span");
    entry.className = "fact";
    entry.textContent = data.prompt.marked[1];
    parts.push(entry);
  }
  document.getElementById("legend").replaceChildren(...parts);
}

function scrollToUnit(unit) {
  const span = textUnits[unit];
  const inside = textBox.scrollHeight > textBox.clientHeight + 1;
  if (inside) {
    const target = span.getBoundingClientRect().top - textBox.getBoundingClientRect().top;
    textBox.scrollTop += target - textBox.clientHeight / 3;
  } else {
    span.scrollIntoView({ block: "center" });
  }
}
