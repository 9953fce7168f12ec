// The data of the page: what `windowkv inspect --json` prints, with long arrays packed (page.rs says how).

const data = JSON.parse(document.getElementById("data").textContent);
const seqlen = data.prompt.pieces.length;

// Arrays are unpacked when they are first looked at, so that a long prompt opens at once.
const unpacked = new Map();

function bytes(index) {
  if (!unpacked.has(index)) {
    unpacked.set(index, Uint8Array.from(atob(data.arrays[index]), (letter) => letter.charCodeAt(0)));
  }
  return unpacked.get(index);
}

function floats(index) {
  const key = `f${index}`;
  if (!unpacked.has(key)) {
    const view = new DataView(bytes(index).buffer);
    unpacked.set(key, Float32Array.from({ length: view.byteLength / 4 }, (_, at) => view.getFloat32(4 * at, true)));
  }
  return unpacked.get(key);
}

// Ranks from 1, the highest score first; ties go to the lower index, as in the program.
function ranks(index) {
  const key = `r${index}`;
  if (!unpacked.has(key)) {
    const scores = floats(index);
    const order = Uint32Array.from(scores, (_, at) => at).sort((a, b) => scores[b] - scores[a] || a - b);
    const rank = new Uint32Array(scores.length);
    order.forEach((at, place) => { rank[at] = place + 1; });
    unpacked.set(key, rank);
  }
  return unpacked.get(key);
}

// How many bits of a byte are set.
const ONES = Uint8Array.from({ length: 256 }, (_, byte) => byte.toString(2).replaceAll("0", "").length);

// What a layer of a method keeps: units are windows or tokens, `start(unit)` and `end(unit)` their tokens, the
// last unit of a method with windows is the suffix.
class View {
  constructor(method, layer, own) {
    this.method = method;
    this.layer = layer;
    this.group = groupOf(method, layer);
    this.own = own && method.unit === "window";
    this.leader = this.own ? layer : method.groups[this.group].first_layer;
    this.record = method.layers[layer];
    this.review = seqlen - method.always_kept;
    this.units = unitCount(method);
    const scored = method.layers[this.leader].scores;
    this.scores = scored === null ? null : floats(scored);
    this.ranks = scored === null ? null : ranks(scored);
    const kept = this.own ? this.record.own : this.record.kept;
    this.heads = kept.heads;
    this.share = new Float32Array(this.units);
    if (kept.mask === undefined) {
      for (let at = 0; at < kept.spans.length; at += 2) this.share.fill(1, kept.spans[at], kept.spans[at + 1]);
    } else {
      this.mask = bytes(kept.mask);
      this.stride = this.mask.length / seqlen;
      this.mask.forEach((byte, at) => { this.share[Math.floor(at / this.stride)] += ONES[byte] / this.heads; });
    }
    if (method.unit === "window" && method.always_kept > 0) this.share[this.units - 1] = 1;
    this.keptUnits = this.share.reduce((sum, share) => sum + (share > 0), 0) - this.alwaysUnits();
    this.keptTokens = this.own ? this.ownTokens() : this.record.kept_tokens;
  }

  // Heads that keep a token.
  keepers(token) {
    const heads = [];
    for (let head = 0; head < this.heads; head++) {
      if (this.mask[token * this.stride + (head >> 3)] >> (head & 7) & 1) heads.push(head);
    }
    return heads;
  }

  alwaysUnits() {
    if (this.method.unit === "token") return this.method.always_kept;
    return this.method.always_kept > 0 ? 1 : 0;
  }

  isAlways(unit) { return this.start(unit) >= this.review; }

  start(unit) { return unitStart(this.method, unit); }

  end(unit) { return unitStart(this.method, unit + 1); }

  unitAt(token) {
    if (this.method.unit === "token") return token;
    return token >= this.review ? this.units - 1 : Math.floor(token / this.method.windows.window_len);
  }

  ownTokens() {
    let tokens = 0;
    for (let unit = 0; unit < this.units; unit++) if (this.share[unit]) tokens += this.end(unit) - this.start(unit);
    return tokens;
  }
}

function unitCount(method) {
  return method.unit === "token" ? seqlen : method.windows.count + (method.always_kept > 0 ? 1 : 0);
}

function unitStart(method, unit) {
  if (method.unit === "token") return unit;
  if (unit > method.windows.count) return seqlen;
  return Math.min(unit * method.windows.window_len, seqlen - method.always_kept);
}

function groupOf(method, layer) {
  return method.groups.findLastIndex((group) => group.first_layer <= layer);
}

const number = (value) => value.toLocaleString("en-US");
const score = (value) => (value === 0 ? "0" : value.toPrecision(3));
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const similarity = (value) => (value === null ? "–" : value.toFixed(2));

function layersName(first, count) {
  return count === 1 ? `layer ${first}` : `layers ${first}–${first + count - 1}`;
}

// Text as it can be shown: control characters and marks that turn the direction of text are made visible.
function shown(text) {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (letter) =>
    letter === "\r" ? "\u21b5" : `\u27e8U+${letter.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`);
}
