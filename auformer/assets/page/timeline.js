// The timeline: a row per person and AU, drawn pixel by pixel, of which only what is seen is drawn.
import { lastAtMost } from "./episodes.js";

const ROW = 30, HEAD = 22, RULER = 22, PAD = 4; // CSS pixels: a row, a person's heading, the ruler, air in a row
const BLOCKS = [64, 8]; // frames whose highest and lowest values are kept, for views in which many share a pixel
const NARROW = 520; // below this width labels are short
const NICE = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200];

/** Lowest and highest of each block of values, for each size of `BLOCKS`; NaN counts for nothing. */
function blocks(values) {
  return BLOCKS.map((size) => {
    const count = Math.ceil(values.length / size);
    const low = new Float32Array(count).fill(Infinity), high = new Float32Array(count).fill(-Infinity);
    for (let k = 0, i = 0; k < count; k++) {
      for (const stop = Math.min(values.length, i + size); i < stop; i++) {
        const value = values[i];
        if (value < low[k]) low[k] = value;
        if (value > high[k]) high[k] = value;
      }
    }
    return { low, high };
  });
}

/** A text as minutes and seconds, or the number of a frame. */
export function clock(t, timed, digits = 2) {
  if (!timed) return `${Math.round(t)}`;
  const sign = t < 0 ? "-" : "", whole = Math.abs(t), minutes = Math.floor(whole / 60);
  const seconds = (whole - 60 * minutes).toFixed(digits);
  if (Number(seconds) >= 60) return clock(Math.sign(t) * 60 * (minutes + 1), timed, digits);
  return `${sign}${minutes}:${seconds.padStart(digits ? 3 + digits : 2, "0")}`;
}

export class Timeline {
  /** element: where it is drawn; onSeek(t): a click. */
  constructor(element, onSeek) {
    this.element = element;
    this.onSeek = onSeek;
    this.inner = document.createElement("div");
    this.inner.className = "inner";
    this.canvas = document.createElement("canvas");
    this.head = document.createElement("canvas");
    this.head.className = "head";
    element.replaceChildren(this.inner);
    this.inner.append(this.head, this.canvas);
    this.rows = [];
    this.source = null;
    this.drawn = 0; // how often it was drawn, for measurements
    this.spent = 0; // milliseconds that drawing took
    this.pointers = new Map();
    element.addEventListener("scroll", () => this.ask());
    element.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    for (const [name, handler] of [["pointerdown", this.down], ["pointermove", this.move], ["pointerup", this.up], ["pointercancel", this.leave]]) {
      element.addEventListener(name, handler.bind(this));
    }
    new ResizeObserver(() => this.ask()).observe(element);
  }

  /** Show a source: {times, ends, timed, people: [{times, ends, rows: [...]}]}, see app.js. */
  show(source) {
    this.source = source;
    this.begin = source.times[0];
    this.end = Math.max(source.ends[source.ends.length - 1], this.begin + 1e-6);
    this.from = this.begin;
    this.to = this.end;
    this.playhead = this.begin;
    for (const person of source.people) for (const row of person.rows) this.prepare(row);
    this.layout();
  }

  /** Keep the extremes of a row's values, again where what is active has changed. */
  prepare(row) {
    row.probBlocks ||= blocks(row.probs);
    row.intensityBlocks ||= blocks(row.intensity);
    row.activeBlocks = blocks(row.active);
  }

  /** Which rows there are, and where: people one below the other. */
  layout() {
    this.rows = [];
    let y = RULER;
    for (const person of this.source.people) {
      this.rows.push({ person, y, height: HEAD });
      y += HEAD;
      for (const row of person.rows) {
        if (row.hidden) continue;
        this.rows.push({ person, row, y, height: ROW });
        y += ROW;
      }
    }
    this.height = y;
    this.ask();
  }

  /** Draw before the next image of the screen. */
  ask() {
    if (this.asked || !this.source) return;
    this.asked = requestAnimationFrame(() => {
      this.asked = 0;
      const start = performance.now();
      this.draw();
      this.spent += performance.now() - start;
      this.drawn++;
    });
  }

  get left() { return this.element.clientWidth < NARROW ? 48 : 176; }
  get plot() { return Math.max(10, this.element.clientWidth - this.left); }
  x(t) { return this.left + (t - this.from) / (this.to - this.from) * this.plot; }
  t(x) { return this.from + (x - this.left) / this.plot * (this.to - this.from); }

  /** Colours of the theme, as CSS and as pixels. */
  colours() {
    const style = getComputedStyle(document.documentElement), found = {};
    for (const name of ["surface", "ink", "quiet", "line", "prob", "intensity", "active", "second", "gap", "playhead"]) {
      const css = style.getPropertyValue(`--${name}`).trim();
      found[name] = { css, pixel: (0xff000000 | parseInt(css.slice(5, 7) + css.slice(3, 5) + css.slice(1, 3), 16)) >>> 0 };
    }
    return found;
  }

  themeChanged() { this.palette = null; this.ask(); }

  draw() {
    const width = this.element.clientWidth, height = this.element.clientHeight;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    if (!width || !height) return; // it is hidden
    this.inner.style.height = `${Math.max(this.height, height)}px`;
    for (const canvas of [this.canvas, this.head]) {
      if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
        canvas.width = Math.round(width * ratio);
        canvas.height = Math.round(height * ratio);
        canvas.style.width = `${width}px`;
        canvas.style.height = `${height}px`;
      }
    }
    this.palette ||= this.colours();
    const top = this.element.scrollTop, context = this.canvas.getContext("2d");
    this.pixels(context, ratio, top, height);
    this.texts(context, ratio, top, height);
    this.drawHead();
  }

  /** Everything but text: into one image, row by row. */
  pixels(context, ratio, top, height) {
    const W = Math.max(1, Math.round(this.plot * ratio)), H = this.canvas.height;
    if (!this.buffer || this.buffer.width !== W || this.buffer.height !== H) {
      this.buffer = new ImageData(W, H);
      this.cells = new Uint32Array(this.buffer.data.buffer);
    }
    this.cells.fill(this.palette.surface.pixel);
    let person = null, columns = null;
    for (const place of this.rows) {
      if (!place.row || place.y + place.height < top + RULER || place.y > top + height) continue;
      if (place.person !== person) {
        person = place.person;
        columns = this.columns(person, W);
      }
      const y0 = Math.round((place.y - top + PAD / 2) * ratio), y1 = Math.round((place.y - top + ROW - PAD / 2) * ratio);
      this.row(place.row, columns, W, H, y0, y1, Math.max(1, Math.round(ratio)));
    }
    context.fillStyle = this.palette.surface.css;
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    context.putImageData(this.buffer, Math.round(this.left * ratio), 0);
  }

  /** First and last frame of a person in each column; -1 where the person is not seen. */
  columns(person, W) {
    const { times, ends } = person, low = new Int32Array(W), high = new Int32Array(W);
    const step = (this.to - this.from) / W;
    let at = lastAtMost(times, this.from);
    for (let x = 0; x < W; x++) {
      const until = this.from + (x + 1) * step, start = this.from + x * step;
      let first = at;
      if (first < 0 || ends[first] <= start) first = at + 1; // the frame before is over
      while (at + 1 < times.length && times[at + 1] < until) at++;
      low[x] = first <= at ? first : -1;
      high[x] = at;
    }
    return { low, high };
  }

  /** One row: what is active behind, intensity from below, probability as a line, the second file at the foot. */
  row(row, { low, high }, W, H, y0, y1, thick) {
    const foot = row.second ? Math.max(thick * 4, Math.round((y1 - y0) / 6)) : 0;
    const bottom = y1 - foot, room = bottom - y0 - 1, colour = this.palette;
    if (!this.shape || this.shape.back.length !== W) {
      this.shape = { back: new Uint32Array(W), up: new Int32Array(W), top: new Int32Array(W), end: new Int32Array(W), other: new Int32Array(W) };
    }
    const { back, up, top, end, other } = this.shape; // of each column: colour behind, where intensity and lines are
    let before = -1;
    for (let x = 0; x < W; x++) {
      const first = low[x];
      up[x] = top[x] = end[x] = bottom;
      other[x] = -1;
      if (first < 0) {
        before = -1;
        back[x] = colour.gap.pixel;
        continue;
      }
      const seen = extremes(row, first, high[x]);
      back[x] = seen.active ? colour.active.pixel : colour.surface.pixel;
      const value = row.second ? row.second.value[high[x]] : null;
      if (value !== null) other[x] = bottom - 1 - Math.round(value * room);
      if (seen.level > 0) up[x] = bottom - Math.round(seen.level / 5 * room);
      if (seen.high < 0) continue; // no probability
      top[x] = bottom - 1 - Math.round(seen.high * room);
      end[x] = bottom - 1 - Math.round(seen.low * room) + thick;
      const level = bottom - 1 - Math.round(row.probs[high[x]] * room);
      if (before >= 0) {
        if (before < top[x]) top[x] = before;
        if (before + thick > end[x]) end[x] = before + thick;
      }
      before = level;
    }
    this.fill(W, Math.max(0, y0), Math.min(H, bottom), row.threshold === null ? -1 : bottom - 1 - Math.round(row.threshold * room), thick);
    if (row.second) this.foot(row.second, low, high, W, Math.max(0, bottom), Math.min(H, y1), thick);
  }

  /** The pixels of a row from its columns: what lies behind line by line, then the rest; dashes at the threshold. */
  fill(W, from, to, dash, thick) {
    const { back, up, top, end, other } = this.shape, cells = this.cells, long = 8 * thick, short = 3 * thick;
    const { prob, intensity, quiet, second, gap } = this.palette;
    for (let y = from; y < to; y++) cells.set(back, y * W);
    for (let x = 0; x < W; x++) {
      for (let y = Math.max(from, up[x]); y < to; y++) cells[y * W + x] = intensity.pixel;
      for (let y = Math.max(from, top[x]), stop = Math.min(to, end[x]); y < stop; y++) cells[y * W + x] = prob.pixel;
      if (other[x] >= from && other[x] < to) cells[other[x] * W + x] = second.pixel;
    }
    if (dash < from || dash >= to) return;
    for (let x = 0; x < W; x++) if (x % long < short && back[x] !== gap.pixel) cells[dash * W + x] = quiet.pixel;
  }

  /** The second file: full where it is active, a line where it is not, nothing where it does not say. */
  foot(second, low, high, W, from, to, thick) {
    const pixel = this.palette.second.pixel, back = this.palette.surface.pixel;
    for (let x = 0; x < W; x++) {
      let on = false, known = false;
      for (let i = low[x]; i >= 0 && i <= high[x]; i++) {
        const value = second.active[i];
        on ||= value === 1;
        known ||= value !== null;
      }
      for (let y = from; y < to; y++) this.cells[y * W + x] = on || (known && y >= to - thick) ? pixel : back;
    }
  }

  /** Ruler, headings, labels, lines between rows. */
  texts(context, ratio, top, height) {
    const { left, palette } = this, width = this.element.clientWidth, narrow = left < 100;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.textBaseline = "middle";
    for (const place of this.rows) {
      const y = place.y - top;
      if (y + place.height < RULER || y > height) continue;
      context.fillStyle = palette.line.css;
      context.fillRect(0, y, width, 1);
      if (!place.row) {
        context.fillStyle = palette.gap.css;
        context.fillRect(0, y + 1, width, place.height - 1);
      }
      context.fillStyle = place.row ? palette.ink.css : palette.quiet.css;
      context.font = place.row ? "13px system-ui, sans-serif" : "600 12px system-ui, sans-serif";
      const text = place.row ? (narrow ? place.row.au : place.row.name) : place.person.title;
      context.fillText(text, 6, y + place.height / 2 + 0.5, place.row ? left - 10 : width - 12);
    }
    context.fillStyle = palette.surface.css;
    context.fillRect(0, 0, width, RULER);
    context.fillStyle = palette.line.css;
    context.fillRect(0, RULER - 1, width, 1);
    context.font = "12px system-ui, sans-serif";
    const span = this.to - this.from, wanted = span / Math.max(2, this.plot / 90);
    const step = NICE.find((each) => each >= wanted) || Math.ceil(wanted / 3600) * 3600;
    const digits = step >= 1 ? 0 : step >= 0.1 ? 1 : step >= 0.01 ? 2 : 3;
    for (let k = Math.ceil(this.from / step); k * step <= this.to; k++) {
      const x = this.x(k * step);
      context.fillStyle = palette.line.css;
      context.fillRect(x, RULER - 6, 1, 6);
      context.fillStyle = palette.quiet.css;
      if (this.source.timed || Number.isInteger(k * step)) context.fillText(clock(k * step, this.source.timed, digits), x + 3, RULER / 2);
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
  }

  /** The playhead, on a canvas of its own, so that a video that plays redraws nothing else. */
  drawHead() {
    const ratio = this.canvas.width / Math.max(1, this.element.clientWidth), context = this.head.getContext("2d");
    this.head.style.top = `${this.element.scrollTop}px`;
    context.clearRect(0, 0, this.head.width, this.head.height);
    const x = this.x(this.playhead);
    if (x < this.left - 1 || x > this.left + this.plot + 1) return;
    this.palette ||= this.colours();
    context.fillStyle = this.palette.playhead.css;
    context.fillRect(Math.round(x * ratio), 0, Math.max(1, Math.round(1.5 * ratio)), this.head.height);
  }

  /** Move the playhead; follow = true keeps it in view. */
  setPlayhead(t, follow) {
    this.playhead = t;
    if (follow && (t < this.from || t > this.to)) {
      const span = this.to - this.from;
      this.view(t - 0.1 * span, t + 0.9 * span);
      return;
    }
    if (this.source) this.drawHead();
  }

  /** Show from one time to another, within the whole, and no closer than some frames. */
  view(from, to) {
    const whole = this.end - this.begin, least = Math.min(whole, 5 * this.source.usual);
    const span = Math.max(least, Math.min(whole, to - from));
    const middle = (from + to) / 2;
    this.from = Math.max(this.begin, Math.min(this.end - span, middle - span / 2));
    this.to = this.from + span;
    this.ask();
  }

  /** Make the view so many times as long, about a time. */
  zoom(factor, about = this.playhead) {
    const centre = Math.max(this.from, Math.min(this.to, about));
    this.view(centre - (centre - this.from) * factor, centre + (this.to - centre) * factor);
  }

  pan(pixels) {
    const shift = pixels / this.plot * (this.to - this.from);
    const span = this.to - this.from, from = Math.max(this.begin, Math.min(this.end - span, this.from + shift));
    this.from = from;
    this.to = from + span;
    this.ask();
  }

  wheel(event) {
    const side = Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.shiftKey ? event.deltaY : 0;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      this.zoom(Math.exp(event.deltaY * 0.003), this.t(event.clientX - this.element.getBoundingClientRect().left));
    } else if (side) {
      event.preventDefault();
      this.pan(side);
    }
  }

  down(event) {
    if (event.button) return;
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.moved = this.pointers.size > 1;
    this.startX = event.clientX;
    this.startY = event.clientY;
  }

  move(event) {
    const known = this.pointers.get(event.pointerId);
    if (!known) return;
    if (this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const old = Math.abs(known.x - other.x), now = Math.abs(event.clientX - other.x);
      const left = this.element.getBoundingClientRect().left;
      if (old > 10 && now > 10) this.zoom(old / now, this.t((event.clientX + other.x) / 2 - left));
    } else {
      if (Math.abs(event.clientX - this.startX) > 4 && !this.moved) {
        this.moved = true;
        this.element.setPointerCapture(event.pointerId);
      }
      if (this.moved) this.pan(known.x - event.clientX);
    }
    known.x = event.clientX;
    known.y = event.clientY;
  }

  up(event) {
    if (this.pointers.delete(event.pointerId) && !this.moved && Math.abs(event.clientY - this.startY) < 8) {
      const x = event.clientX - this.element.getBoundingClientRect().left;
      if (x >= this.left) this.onSeek(this.t(x));
    }
  }

  leave(event) { this.pointers.delete(event.pointerId); }
}

const found = { low: 0, high: 0, level: 0, active: 0 };

/** Extremes of a row from first to last frame, block by block where that is many. */
function extremes(row, first, last) {
  const { probs, intensity, active, probBlocks, intensityBlocks, activeBlocks } = row;
  let low = Infinity, high = -Infinity, level = -Infinity, on = 0;
  for (let i = first; i <= last;) {
    let b = 0;
    while (b < BLOCKS.length && (i % BLOCKS[b] !== 0 || i + BLOCKS[b] - 1 > last)) b++;
    if (b < BLOCKS.length) {
      const k = i / BLOCKS[b], prob = probBlocks[b];
      if (prob.low[k] < low) low = prob.low[k];
      if (prob.high[k] > high) high = prob.high[k];
      if (intensityBlocks[b].high[k] > level) level = intensityBlocks[b].high[k];
      if (activeBlocks[b].high[k] > 0) on = 1;
      i += BLOCKS[b];
    } else {
      const prob = probs[i], strength = intensity[i];
      if (prob < low) low = prob;
      if (prob > high) high = prob;
      if (strength > level) level = strength;
      if (active[i]) on = 1;
      i++;
    }
  }
  found.low = low; found.high = high; found.level = level; found.active = on;
  return found;
}
