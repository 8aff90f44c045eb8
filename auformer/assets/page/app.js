// The page: what was dropped, what became of it, and one result with its picture, timeline and tables.
import * as time from "./episodes.js";
import { Player } from "./player.js";
import { Now, STEP, agreementRows, episodeRows, make, sliders } from "./tables.js";
import { Timeline, clock } from "./timeline.js";

const POLL = 400, SLOW_POLL = 4000, LATER = 250; // milliseconds: with work going on, without, before agreement is asked for
const $ = (id) => document.getElementById(id);
const TYPES = { float64: Float64Array, int32: Int32Array, uint8: Uint8Array };

// ---------------------------------------------------------------- asking the server

async function ask(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: { "x-auformer": "1", ...(options.headers || {}) } });
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw new Error(told.error || `The page's server answers ${answer.status}.`);
  }
  return answer;
}
const get = async (path, options) => (await ask(path, options)).json();
const send = (path, method, value) => get(path, { method, body: value === undefined ? undefined : JSON.stringify(value) });

/** Upload a file; onShare(bytes so far). */
function put(path, file, onBytes) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    request.open("PUT", path);
    request.setRequestHeader("x-auformer", "1");
    request.upload.addEventListener("progress", (event) => onBytes(event.loaded));
    request.addEventListener("load", () => {
      let told = {};
      try { told = JSON.parse(request.responseText); } catch { /* no JSON */ }
      if (request.status < 300) done(told); else fail(new Error(told.error || `The page's server answers ${request.status}.`));
    });
    request.addEventListener("error", () => fail(new Error("The upload was interrupted. Is the page's server still running?")));
    request.send(file);
  });
}

function say(text) { $("status").textContent = text; }
function complain(text, where = "error") {
  $(where).textContent = text;
  $(where).hidden = !text;
}
const megabytes = (bytes) => (bytes >= 1e6 ? `${Math.round(bytes / 1e6).toLocaleString("en")} MB` : `${Math.max(1, Math.round(bytes / 1e3))} kB`);

// ---------------------------------------------------------------- what was dropped

let known = { items: [], most_bytes: Infinity };
let polling = 0, sending = false;

async function poll() {
  clearTimeout(polling);
  let busy = false;
  try {
    known = await get("api/state");
    showState();
    if (waited) openWaited();
    busy = !known.ready || known.items.some((item) => ["waiting", "running"].includes(item.state));
  } catch (error) {
    complain(error instanceof TypeError ? "The page's server does not answer: `auformer page` has ended." : error.message);
  }
  polling = setTimeout(poll, busy ? POLL : SLOW_POLL);
}

function showState() {
  showStatement();
  const list = $("items"), there = new Map([...list.children].map((line) => [line.dataset.id, line]));
  for (const item of known.items) {
    let line = there.get(item.id);
    if (!line) line = newLine(item);
    there.delete(item.id);
    fillLine(line, item);
    list.append(line);
  }
  for (const line of there.values()) line.remove();
  const hours = known.keep_s / 3600;
  $("kept").textContent = `Uploads of up to ${megabytes(known.most_bytes)} at a time. They and their results are deleted when you remove them, when auformer page ends, and after ${Number(hours.toFixed(1))} ${hours === 1 ? "hour" : "hours"} without a request.`;
  $("foot").textContent = `auformer ${known.version}`;
}

function showStatement() {
  const { statement, checkpoint, ready, problem } = known, box = $("statement");
  const key = JSON.stringify([statement.figures, checkpoint, problem, statement.figures.length ? 1 : ready]);
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  const lines = [make("p", {}, make("strong", {}, "What these numbers are, and what they are not."), " An action unit (AU) is a visible movement of facial muscles. It does not tell what someone feels or means. The AU detector is no measuring instrument, and errors may differ between people: compare with your own coding before you use a number.")];
  if (problem) lines.push(make("p", { className: "error" }, problem));
  for (const [heading, text] of statement.figures) lines.push(make("p", {}, make("strong", {}, `${heading} (${checkpoint}): `), text));
  if (!statement.figures.length && !ready) lines.push(make("p", {}, `Reading the checkpoint ${checkpoint} …`));
  if (statement.card) lines.push(make("details", {}, make("summary", {}, "Its card in full"), make("pre", {}, statement.card)));
  box.replaceChildren(...lines);
  box.hidden = false;
}

function newLine(item) {
  const line = make("li", {}), buttons = make("div", { className: "buttons" });
  line.dataset.id = item.id;
  line.append(
    make("div", { className: "head" }, make("strong", {}, item.name), buttons),
    make("progress", { max: 1, value: 0, hidden: true }), make("span", { className: "note" }),
  );
  const button = (word, text, action) => {
    const one = make("button", { type: "button" }, text);
    one.dataset.word = word;
    one.setAttribute("aria-label", `${text} ${item.name}`);
    one.addEventListener("click", async () => {
      complain("");
      try { await action(); } catch (error) { complain(error.message); }
      poll();
    });
    buttons.append(one);
  };
  const path = `api/items/${item.id}`;
  button("open", "Open", () => openItem(item.id));
  button("cancel", "Cancel", () => send(`${path}/cancel`, "POST"));
  button("resume", "Resume", () => send(`${path}/start`, "POST"));
  button("remove", "Remove", async () => {
    await send(path, "DELETE");
    if (view && view.id === item.id) closeItem();
  });
  return line;
}

function fillLine(line, item) {
  const [, bar, note] = line.children, { done = 0, total = 0, rate, left_s } = item.progress;
  const shown = {
    open: item.state === "done", cancel: ["waiting", "running"].includes(item.state),
    resume: ["cancelled", "failed"].includes(item.state) && item.kind === "run", remove: !item.kept,
  };
  for (const button of line.querySelectorAll("button")) button.hidden = !shown[button.dataset.word];
  bar.hidden = !["running", "cancelled"].includes(item.state) || !total;
  bar.max = total || 1;
  bar.value = done;
  bar.setAttribute("aria-label", `Frames done of ${item.name}`);
  const frames = `${done.toLocaleString("en")} of ${total ? total.toLocaleString("en") : "?"} frames`;
  const speed = rate ? `, ${rate >= 10 ? Math.round(rate) : rate.toFixed(1)} frames a second` : "";
  const left = left_s !== undefined ? `, about ${duration(left_s)} left` : "";
  note.textContent = {
    uploading: "arriving …", waiting: item.before ? `waiting for ${item.before} other ${item.before === 1 ? "run" : "runs"}` : "waiting",
    running: total || done ? `${frames}${speed}${left}` : "loading the AU detector …",
    cancelled: `cancelled after ${frames}; what is done is kept`, failed: item.message,
    done: [item.kept ? "was there when the page was started" : "", item.message].filter(Boolean).join("\n"),
  }[item.state] || item.state;
  note.classList.toggle("error", item.state === "failed");
}

function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

async function take(files) {
  files = [...files];
  if (!files.length || sending) return;
  complain("");
  const total = files.reduce((sum, file) => sum + file.size, 0);
  sending = true;
  let id = null;
  try {
    const faces = $("faces").value, smooth = Number($("smooth").value);
    const options = { every: Number($("every").value) || 1, faces: faces ? Number(faces) : null, smooth: smooth || null };
    ({ id } = await send("api/items", "POST", { files: files.map((file) => ({ name: file.name, size: file.size })), options }));
    poll();
    let before = 0;
    for (const [number, file] of files.entries()) {
      await put(`api/items/${id}/files/${number}`, file, (bytes) => say(`Copying to the page: ${megabytes(before + bytes)} of ${megabytes(total)}`));
      before += file.size;
    }
    await send(`api/items/${id}/start`, "POST");
    say("");
    const item = (await get("api/state")).items.find((one) => one.id === id);
    if (item && item.state === "done") await openItem(id); else waited = id;
  } catch (error) {
    say("");
    complain(error.message);
    if (id) await send(`api/items/${id}`, "DELETE").catch(() => {});
  } finally {
    sending = false;
    $("files").value = "";
    poll();
  }
}

let waited = null; // opened by itself when it is done, unless something else was opened meanwhile

function openWaited() {
  const item = known.items.find((one) => one.id === waited);
  if (!item || item.state !== "done") return;
  waited = null;
  openItem(item.id).catch((error) => complain(error.message));
}

// ---------------------------------------------------------------- one result

let view = null;
const player = new Player(
  { video: $("video"), image: $("image"), boxes: $("boxes"), picture: $("picture"), nothing: $("nothing"), viewing: $("viewing"), play: $("play") },
  (frame) => showFrame(frame), get,
);
const timeline = new Timeline($("timeline"), (t) => goTo(t));
const now = new Now($("now"));
window.auformer = { player, timeline, get view() { return view; }, time }; // for tests and measurements

async function openItem(id) {
  waited = null;
  const about = await get(`api/items/${id}/about`);
  view = { id, about, moved: {}, second: null, source: null };
  $("viewer").hidden = false;
  $("title").textContent = about.name;
  $("made").textContent = [`Predicted by ${about.made_by}.`, ...about.notice.split("\n"), ...about.notes].filter(Boolean).join(" ");
  $("which").hidden = about.sources.length < 2;
  $("source").replaceChildren(...about.sources.map((one, k) => make("option", { value: String(k) }, one.name)));
  view.sliders = sliders($("sliders"), about.aus, about.thresholds, moveThreshold);
  $("threshold-box").hidden = !Object.keys(about.thresholds).length;
  showDownloads();
  showSecond(null);
  complain("", "second-error");
  const first = about.sources.findIndex((one) => one.people.length);
  await openSource(Math.max(0, first));
  $("viewer").scrollIntoView({ behavior: "instant", block: "start" });
}

function closeItem() {
  player.close();
  view = null;
  $("viewer").hidden = true;
}

/** Read the bytes of a source, see results.py. */
function decode(buffer, about, moved) {
  const length = new DataView(buffer).getUint32(0, true), start = 4 + length;
  const source = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const array = (place) => new TYPES[place.type](buffer, start + place.at, place.length);
  source.times = array(source.times);
  source.numbers = array(source.numbers);
  source.timed = source.kind === "video";
  source.ends = time.frameEnds(source.times);
  source.usual = time.usualLength(source.times);
  source.aus = about.aus;
  source.people = source.people.map((each) => {
    const n = each.frames, places = array(each.places), byAu = {};
    for (const kind of ["probs", "intensity", "active"]) byAu[kind] = array(each[kind]);
    const person = {
      face: each.face, label: each.label, places, boxes: array(each.boxes),
      times: Float64Array.from(places, (k) => source.times[k]), ends: Float64Array.from(places, (k) => source.ends[k]),
      title: `${each.label}: seen in ${n.toLocaleString("en")} of ${source.times.length.toLocaleString("en")} frames`,
      at: (frame) => { const k = time.lastAtMost(places, frame); return k >= 0 && places[k] === frame ? k : -1; },
    };
    person.rows = about.aus.map((au, k) => {
      const part = (kind) => byAu[kind].subarray(k * n, (k + 1) * n);
      return { au: au.au, name: au.name, probs: part("probs"), intensity: part("intensity"), told: part("active"), active: part("active").slice(), threshold: null, second: null };
    });
    return person;
  });
  source.strengths = source.people.some((person) => person.rows.some((row) => row.intensity.some((value) => !Number.isNaN(value))));
  for (const au of Object.keys(about.thresholds)) applyThreshold(source, au, moved[au], about.thresholds[au]);
  for (const person of source.people) for (const row of person.rows) refreshEpisodes(source, person, row);
  return source;
}

function refreshEpisodes(source, person, row) {
  row.episodes = time.episodes(person.times, person.ends, row.active, source.usual, row.probs, row.intensity);
}

function applyThreshold(source, au, value, known) {
  for (const person of source.people) {
    const row = person.rows.find((one) => one.au === au);
    if (value === undefined) row.active.set(row.told); else time.reach(row.probs, value, row.active);
    row.threshold = value === undefined ? known : value;
  }
}

async function openSource(number) {
  const base = `api/items/${view.id}/sources/${number}`, mine = view;
  const buffer = await (await ask(base)).arrayBuffer();
  if (view !== mine) return;
  view.number = number;
  $("source").value = String(number);
  const source = decode(buffer, view.about, view.moved);
  view.source = source;
  $("over-time").hidden = $("episode-box").hidden = source.times.length < 2;
  $("transport").hidden = source.times.length < 2;
  now.show(source);
  fillChoice($("episode-person"), source.people.map((person) => person.label));
  fillChoice($("episode-au"), view.about.aus.map((each) => each.au));
  timeline.show(source);
  chooseRows();
  legend();
  const strip = $("timeline");
  strip.setAttribute("aria-valuemin", source.times[0].toFixed(3));
  strip.setAttribute("aria-valuemax", source.times[source.times.length - 1].toFixed(3));
  strip.style.height = ""; // as high as its rows, up to what the style sheet allows
  const allowed = strip.clientHeight;
  if (timeline.height + 2 < allowed) strip.style.height = `${timeline.height + 2}px`;
  view.shown = STEP;
  showEpisodes();
  player.open(source, base);
  player.seek(0);
  if (view.second) refreshSecond();
}

function fillChoice(select, names) {
  select.replaceChildren(make("option", { value: "" }, "all"), ...names.map((name) => make("option", { value: name }, name)));
}

function chooseRows() {
  const some = $("rows").value === "active";
  for (const person of view.source.people) for (const row of person.rows) row.hidden = some && !row.episodes.length;
  timeline.layout();
}

function legend() {
  const source = view.source, parts = [["prob", "probability, 0 to 1"]];
  if (source.strengths) parts.push(["intensity", "intensity, 0 to 5"]);
  parts.push(["active", "active"], ["gap", "face not seen"]);
  if (Object.values(view.about.thresholds).some((value) => value !== null)) parts.push(["quiet", "decision threshold (dashes)"]);
  if (view.second) parts.push(["second", `second file: ${view.second.name}`]);
  if (!source.timed && source.times.length > 1) parts.push([null, "The table has no times: the timeline counts frames."]);
  $("legend").replaceChildren(...parts.map(([name, text]) => {
    const mark = make("i");
    if (name) mark.style.background = `var(--${name})`; else mark.hidden = true;
    return make("span", {}, mark, text);
  }));
}

function goTo(t) {
  if (view && view.source) player.seek(Math.max(0, time.lastAtMost(view.source.times, t)));
}

function showFrame(frame) {
  const source = view && view.source;
  if (!source) return;
  const t = source.times[frame];
  timeline.setPlayhead(t, player.playing);
  now.fill(frame);
  const text = source.timed ? `${clock(t, true, 3)}, frame ${source.numbers[frame]}` : `frame ${source.numbers[frame]}`;
  $("clock").textContent = source.times.length > 1 ? text : "";
  const strip = $("timeline");
  strip.setAttribute("aria-valuenow", t.toFixed(3));
  strip.setAttribute("aria-valuetext", text);
}

// ---------------------------------------------------------------- thresholds and episodes

let refreshing = 0;

function moveThreshold(au, value) {
  const source = view.source;
  if (value === undefined) delete view.moved[au]; else view.moved[au] = value;
  view.sliders[au].set(value);
  applyThreshold(source, au, value, view.about.thresholds[au]);
  for (const person of source.people) {
    const row = person.rows.find((one) => one.au === au);
    refreshEpisodes(source, person, row);
    timeline.prepare(row);
  }
  afterThresholds();
}

function afterThresholds() {
  const count = Object.keys(view.moved).length;
  $("moved").textContent = count ? `(${count} moved)` : "";
  chooseRows();
  showEpisodes();
  showFrame(player.frame);
  player.drawBoxes();
  showDownloads();
  clearTimeout(refreshing);
  if (view.second) refreshing = setTimeout(refreshSecond, LATER);
}

function resetThresholds() {
  for (const au of Object.keys(view.moved)) moveThreshold(au, undefined);
}

function showEpisodes() {
  const { source } = view, who = $("episode-person").value, which = $("episode-au").value;
  const found = [];
  for (const person of source.people) {
    if (who && person.label !== who) continue;
    for (const row of person.rows) if (!which || row.au === which) for (const each of row.episodes) found.push({ ...each, person, row });
  }
  found.sort((a, b) => a.begin - b.begin);
  $("episode-count").textContent = `(${found.length.toLocaleString("en")})`;
  episodeRows($("episodes"), found, view.shown, source, (each) => {
    const span = timeline.to - timeline.from, t = each.begin;
    if (t < timeline.from || each.end > timeline.to) timeline.view(t - span / 4, t + 3 * span / 4);
    player.seek(each.person.places[each.first]);
  });
  $("more").hidden = found.length <= view.shown;
}

// ---------------------------------------------------------------- the second file

async function takeSecond(file) {
  complain("", "second-error");
  $("second-facts").textContent = "Reading …";
  const mine = view;
  try {
    await put(`api/items/${view.id}/second?name=${encodeURIComponent(file.name)}`, file, () => {});
    if (view === mine) await refreshSecond();
  } catch (error) {
    $("second-facts").textContent = "";
    complain(error.message, "second-error");
  } finally {
    $("second").value = "";
  }
}

async function refreshSecond() {
  const mine = view;
  try {
    const told = await send(`api/items/${view.id}/agreement`, "POST", { thresholds: view.moved, source: view.number });
    if (view === mine) showSecond(told);
  } catch (error) {
    complain(error.message, "second-error");
  }
}

function showSecond(told) {
  view.second = told;
  $("second-remove").hidden = $("agreement-frame").hidden = !told;
  if (view.source) {
    view.source.people.forEach((person, k) => {
      for (const row of person.rows) row.second = (told && told.people[k] && told.people[k][row.au]) || null;
    });
    legend();
    timeline.ask();
  }
  $("second-facts").textContent = "";
  if (!told) return;
  const { counts } = told, both = counts.in_both.toLocaleString("en");
  const lines = [`${told.name} (${told.format}): ${both} faces in both files, ${counts.only_first} in the first only, ${counts.only_second} in the second only, in ${counts.images.toLocaleString("en")} images that both have.`];
  if (counts.undecided) lines.push(`${counts.undecided} faces were left out: of images with several, a file does not say where they are.`);
  lines.push(...told.notes, "Agreement is not accuracy.");
  $("second-facts").textContent = lines.join(" ");
  agreementRows($("agreement"), told.agreement);
}

async function removeSecond() {
  await send(`api/items/${view.id}/second`, "DELETE");
  showSecond(null);
}

// ---------------------------------------------------------------- downloads

function showDownloads() {
  const moved = Object.keys(view.moved).length;
  $("download-note").textContent = moved
    ? "Activity in the files follows the thresholds that you moved."
    : "The same bytes as these commands write.";
  const query = moved ? `?thresholds=${encodeURIComponent(JSON.stringify(view.moved))}` : "";
  $("downloads").replaceChildren(...view.about.downloads.map(({ key, label, command }) => {
    const link = make("button", { type: "button", className: "link" }, label);
    link.dataset.key = key;
    link.addEventListener("click", () => download(`api/items/${view.id}/downloads/${key}${query}`, link));
    return make("li", {}, link, make("code", {}, command));
  }));
}

/** Fetched first, so that an error is a message here and not a file. */
async function download(path, link) {
  complain("", "download-error");
  link.disabled = true;
  try {
    const answer = await ask(path), name = decodeURIComponent((answer.headers.get("content-disposition") || "").split("''")[1] || "download");
    const url = URL.createObjectURL(await answer.blob()), anchor = make("a", { href: url, download: name });
    document.body.append(anchor);
    anchor.click();
    anchor.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  } catch (error) {
    complain(error.message, "download-error");
  } finally {
    link.disabled = false;
  }
}

// ---------------------------------------------------------------- what people do

function keys(event) {
  if (!view || !view.source || event.ctrlKey || event.metaKey || event.altKey) return;
  const inTimeline = event.target === $("timeline");
  if (!inTimeline && event.target !== document.body) return;
  const { times, timed, usual } = view.source, by = event.shiftKey ? Math.max(1, Math.round((timed ? 1 : 10) / (timed ? usual : 1))) : 1;
  const action = {
    " ": () => player.toggle(), ArrowLeft: () => step(-by), ArrowRight: () => step(by), Home: () => player.seek(0),
    End: () => player.seek(times.length - 1), "+": () => timeline.zoom(0.5), "=": () => timeline.zoom(0.5),
    "-": () => timeline.zoom(2), 0: () => timeline.view(timeline.begin, timeline.end),
  }[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

function step(by) {
  player.seek(player.frame + by);
  const t = view.source.times[player.frame];
  if (t < timeline.from || t > timeline.to) timeline.view(t - (timeline.to - timeline.from) / 2, t + (timeline.to - timeline.from) / 2);
}

function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = theme;
  $("theme").textContent = `Theme: ${theme}`;
  $("theme").setAttribute("aria-label", `Theme: ${theme}; change it`);
  try { localStorage.setItem("auformer-theme", theme); } catch { /* not allowed here */ }
  timeline.themeChanged();
}

function listen() {
  history.replaceState(null, "", location.pathname); // the token is a cookie now
  let theme = "system";
  try { theme = localStorage.getItem("auformer-theme") || theme; } catch { /* not allowed here */ }
  setTheme(["light", "dark"].includes(theme) ? theme : "system");
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => timeline.themeChanged());
  $("theme").addEventListener("click", () => {
    const order = ["system", "light", "dark"];
    setTheme(order[(order.indexOf(document.documentElement.dataset.theme || "system") + 1) % 3]);
  });
  $("files").addEventListener("change", () => take($("files").files));
  for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
  document.addEventListener("dragover", () => $("drop").classList.add("over"));
  document.addEventListener("dragleave", () => $("drop").classList.remove("over"));
  document.addEventListener("drop", (event) => { $("drop").classList.remove("over"); take(event.dataTransfer.files); });
  $("source").addEventListener("change", () => openSource(Number($("source").value)).catch((error) => complain(error.message)));
  $("play").addEventListener("click", () => player.toggle());
  $("back").addEventListener("click", () => step(-1));
  $("forward").addEventListener("click", () => step(1));
  $("speed").addEventListener("change", () => player.speed(Number($("speed").value)));
  $("rows").addEventListener("change", chooseRows);
  $("closer").addEventListener("click", () => timeline.zoom(0.5));
  $("wider").addEventListener("click", () => timeline.zoom(2));
  $("whole").addEventListener("click", () => timeline.view(timeline.begin, timeline.end));
  $("reset").addEventListener("click", resetThresholds);
  for (const id of ["episode-person", "episode-au"]) $(id).addEventListener("change", () => { view.shown = STEP; showEpisodes(); });
  $("more").addEventListener("click", () => { view.shown += STEP; showEpisodes(); });
  $("second").addEventListener("change", () => { if ($("second").files.length) takeSecond($("second").files[0]); });
  $("second-remove").addEventListener("click", () => removeSecond().catch((error) => complain(error.message, "second-error")));
  document.addEventListener("keydown", keys);
}

async function begin() {
  listen();
  await poll();
  const open = known.items.filter((item) => item.state === "done");
  if (open.length === 1) await openItem(open[0].id).catch((error) => complain(error.message));
}

begin();
