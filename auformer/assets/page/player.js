// The picture: a video, or single images where the browser cannot play it; and the boxes over it.
import { lastAtMost } from "./episodes.js";

const EARLY = 0.002; // seconds by which a player's time may lie before the frame's own
const BOXES = ["#56b4e9", "#e69f00", "#2bbf92", "#dd9cbd", "#8d9fe8", "#f07b35"]; // Okabe and Ito, as in reports

export class Player {
  /** parts: elements by name; onFrame(k): the k-th frame is shown; get(path): asks the server. */
  constructor(parts, onFrame, get) {
    Object.assign(this, parts);
    this.onFrame = onFrame;
    this.get = get;
    this.frame = 0;
    this.playing = false;
    this.mode = "none";
    this.video.addEventListener("play", () => this.state());
    this.video.addEventListener("pause", () => this.state());
    this.video.addEventListener("ended", () => this.state());
    this.video.addEventListener("error", () => this.cannotPlay());
    this.video.addEventListener("loadedmetadata", () => this.loaded());
    this.video.addEventListener("seeked", () => { if (!this.video.requestVideoFrameCallback) this.presented(this.video.currentTime); });
    this.video.addEventListener("timeupdate", () => { if (!this.video.requestVideoFrameCallback) this.presented(this.video.currentTime); });
    this.image.addEventListener("load", () => this.drawBoxes());
    new ResizeObserver(() => this.drawBoxes()).observe(this.picture);
  }

  /** Show a source, whose media the server describes; base: where it is on the server. */
  open(source, base) {
    this.close();
    this.source = source;
    this.base = base;
    this.token = (this.token || 0) + 1;
    this.copied = false;
    this.frame = 0;
    const media = source.media;
    this.delay = media && media.kind === "video" ? media.delay : 0;
    this.nothing.hidden = true;
    if (!media) return this.without(`The ${source.kind === "photo" ? "photo" : "video"} is not here. Drop it together with its table to see it.`);
    if (media.kind === "unreadable") return this.without(media.problem);
    if (media.kind === "image") return this.stills(""); // a photo, or numbered images
    if (!source.timed) return this.without("The table has no times, so the video cannot be put beside it. Predict it anew, or add `time_s`.");
    if (media.plays) {
      this.mode = "video";
      this.video.hidden = false;
      this.video.src = `${base}/media`;
      this.callback();
    } else {
      this.cannotPlay();
    }
  }

  close() {
    this.stop();
    this.video.removeAttribute("src");
    this.video.load();
    this.video.hidden = this.image.hidden = true;
    this.image.removeAttribute("src");
    this.viewing.textContent = "";
    this.mode = "none";
    this.source = null;
  }

  without(why) {
    this.mode = "none";
    this.video.hidden = this.image.hidden = true;
    this.nothing.hidden = false;
    this.nothing.textContent = why;
  }

  /** Single images; why: what the page says about it. */
  stills(why) {
    this.mode = "stills";
    this.video.hidden = true;
    this.image.hidden = false;
    this.image.alt = this.source.name;
    this.viewing.textContent = why;
    this.ask();
  }

  /** The browser cannot play the file: single images at once, and a copy that it plays as soon as there is one. */
  async cannotPlay() {
    if (!this.source || this.mode === "stills") return;
    if (this.copied) return this.stills("This browser plays neither the video nor the copy for viewing; single images are shown.");
    const token = this.token, codec = this.source.media.codec ? ` (${this.source.media.codec})` : "";
    this.video.removeAttribute("src");
    this.stills("");
    for (;;) {
      let told;
      try { told = await this.get(`${this.base}/copy`); } catch (error) { told = { state: "failed", message: error.message }; }
      if (token !== this.token) return;
      if (told.state === "done") break;
      if (told.state === "failed") {
        this.viewing.textContent = `This browser cannot play the video${codec}; single images are shown. ${told.message}`;
        return;
      }
      const share = told.state === "making" ? `, ${Math.round(100 * told.share)} %` : "";
      this.viewing.textContent = `This browser cannot play the video${codec}: single images are shown while a copy for viewing is made${share}. Nothing of it goes into the results.`;
      await new Promise((done) => setTimeout(done, 400));
      if (token !== this.token) return;
    }
    this.viewing.textContent = `Shown is a copy for viewing, since this browser cannot play the video${codec}.`;
    this.stop();
    this.copied = true;
    this.delay = 0;
    this.mode = "video";
    this.image.hidden = true;
    this.video.hidden = false;
    this.video.src = `${this.base}/view`;
    this.callback();
  }

  loaded() {
    if (!this.video.videoWidth) return this.cannotPlay(); // its sound alone is played
    const ends = this.source.ends[this.source.ends.length - 1] + this.delay;
    const late = this.video.duration - ends;
    if (late < -1.5 * this.source.usual - 0.2) {
      this.viewing.textContent = `The browser says that the video lasts ${this.video.duration.toFixed(2)} s, the table ${ends.toFixed(2)} s: image and values may not meet.`;
    }
    this.seek(this.frame);
  }

  /** Hear of each image that is shown. */
  callback() {
    if (!this.video.requestVideoFrameCallback) return;
    const token = this.token, copied = this.copied;
    const next = (_, about) => {
      if (token !== this.token || copied !== this.copied) return;
      this.presented(about.mediaTime);
      this.video.requestVideoFrameCallback(next);
    };
    this.video.requestVideoFrameCallback(next);
  }

  /** The image of a time of the player is on the screen. */
  presented(time) {
    if (!this.source || this.mode !== "video" || this.video.seeking) return; // amid a seek the image is an earlier one's
    const margin = Math.max(EARLY, Math.min(0.25 * this.source.usual, 0.01));
    this.at(Math.max(0, lastAtMost(this.source.times, time - this.delay + margin)));
  }

  at(frame) {
    this.frame = frame;
    this.onFrame(frame);
    this.drawBoxes();
  }

  /** Go to the k-th frame. */
  seek(frame) {
    if (!this.source) return;
    const { times, ends } = this.source, k = Math.max(0, Math.min(times.length - 1, frame));
    if (this.mode === "video") { // amid the frame, where rounding does no harm
      this.video.currentTime = times[k] + this.delay + Math.min(0.5 * (ends[k] - times[k]), 0.02);
    }
    this.at(k);
    if (this.mode === "stills") this.ask();
  }

  /** Show the image of the frame; only the last one asked for is waited for. */
  async ask() {
    this.wanted = this.frame;
    if (this.asking) return;
    this.asking = true;
    while (this.wanted !== null && this.mode === "stills") {
      const frame = this.wanted;
      this.wanted = null;
      await new Promise((done) => {
        this.image.onload = this.image.onerror = done;
        this.image.src = `${this.base}/frames/${frame}`;
      });
    }
    this.asking = false;
  }

  async toggle() {
    if (!this.source || this.source.times.length < 2) return;
    if (this.mode === "video") {
      if (this.video.paused) await this.video.play().catch(() => {}); else this.video.pause();
    } else if (this.ticking) {
      this.stop();
    } else {
      this.tick();
    }
    this.state();
  }

  /** Without a video that plays: go on by the clock. */
  tick() {
    const { times } = this.source;
    if (this.frame >= times.length - 1) this.at(0);
    let begun = performance.now(), from = times[this.frame];
    const speed = this.source.timed ? this.rate || 1 : (this.rate || 1) * 10; // frames without times: ten a second
    const step = () => {
      const k = lastAtMost(times, from + (performance.now() - begun) / 1000 * speed);
      if (k !== this.frame) this.seek(k);
      if (k >= times.length - 1) return this.stop();
      this.ticking = requestAnimationFrame(step);
    };
    this.ticking = requestAnimationFrame(step);
  }

  stop() {
    if (this.ticking) cancelAnimationFrame(this.ticking);
    this.ticking = 0;
    if (!this.video.paused) this.video.pause();
    this.state();
  }

  speed(rate) {
    this.rate = rate;
    this.video.playbackRate = this.video.defaultPlaybackRate = rate;
    if (this.ticking) { this.stop(); this.tick(); this.state(); }
  }

  state() {
    this.playing = Boolean(this.ticking) || (this.mode === "video" && !this.video.paused && !this.video.ended);
    this.play.textContent = this.playing ? "Pause" : "Play";
    this.play.setAttribute("aria-label", this.playing ? "Pause" : "Play");
  }

  /** Boxes of all people in this frame, over the picture as it is laid out. */
  drawBoxes() {
    const canvas = this.boxes, shown = this.mode === "video" ? this.video : this.image;
    const ratio = window.devicePixelRatio || 1, width = this.picture.clientWidth, height = this.picture.clientHeight;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const source = this.source;
    if (!source || this.mode === "none" || !source.media || !source.media.width) return;
    const w = source.media.width, h = source.media.height, area = shown.getBoundingClientRect();
    const outer = this.picture.getBoundingClientRect();
    const scale = Math.min(area.width / w, area.height / h);
    if (!scale) return;
    const left = area.left - outer.left + (area.width - w * scale) / 2, top = area.top - outer.top + (area.height - h * scale) / 2;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.font = "600 13px system-ui, sans-serif";
    source.people.forEach((person, number) => {
      const place = person.at(this.frame);
      if (place < 0 || person.boxes.length < 4 * (place + 1)) return;
      const [x, y, bw, bh] = person.boxes.subarray(4 * place, 4 * place + 4);
      if (Number.isNaN(x)) return;
      const colour = BOXES[person.face % BOXES.length];
      for (const [line, style] of [[4, "#000000"], [2, colour]]) {
        context.lineWidth = line;
        context.strokeStyle = style;
        context.strokeRect(left + x * scale, top + y * scale, bw * scale, bh * scale);
      }
      const active = person.rows.filter((row) => row.active[place]).map((row) => row.au.slice(2)).join(" ");
      const text = `${person.label} ${active}`.trim(), wide = context.measureText(text).width + 8;
      const tx = Math.max(0, Math.min(width - wide, left + x * scale)), above = top + y * scale - 20;
      const ty = above < 0 ? Math.min(height - 18, top + (y + bh) * scale + 2) : above;
      context.fillStyle = "#000000";
      context.fillRect(tx, ty, wide, 18);
      context.fillStyle = colour;
      context.fillText(text, tx + 4, ty + 13, width);
    });
  }
}
