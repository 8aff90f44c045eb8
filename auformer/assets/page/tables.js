// Tables and sliders of the page. Text is put in as text, never as HTML.
import { clock } from "./timeline.js";

const MOST = 4; // people beside each other at the playhead
export const STEP = 200; // episodes shown at a time

/** An element with text or children. */
export function make(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name in element && name !== "for") element[name] = value; else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function number(value, digits) {
  return value === null || value === undefined || Number.isNaN(value) ? "–" : value.toFixed(digits);
}

export function heads(table, names) {
  table.tHead.replaceChildren(make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name))));
}

/** Values of each person in a frame; cells are made once and then only filled. */
export class Now {
  constructor(table) { this.table = table; }

  show(source) {
    this.people = source.people.slice(0, MOST);
    heads(this.table, ["AU", ...this.people.map((person) => person.label)]);
    this.cells = source.aus.map((each, k) => {
      const cells = this.people.map(() => make("td"));
      return { row: make("tr", {}, make("th", { scope: "row", title: each.name }, each.au, make("span", { className: "long" }, each.name.slice(each.au.length))), ...cells), cells, k };
    });
    this.table.tBodies[0].replaceChildren(...this.cells.map((each) => each.row));
    const more = source.people.length - this.people.length;
    this.table.caption.textContent = `At the playhead: probability${source.strengths ? ", intensity" : ""}${more > 0 ? `; the first ${MOST} of ${source.people.length} people` : ""}`;
  }

  fill(frame) {
    const places = this.people.map((person) => person.at(frame));
    for (const { cells, k } of this.cells) {
      cells.forEach((cell, p) => {
        const row = this.people[p].rows[k], place = places[p];
        let text = "–", on = false;
        if (place >= 0) {
          const prob = row.probs[place], level = row.intensity[place];
          text = [Number.isNaN(prob) ? "" : prob.toFixed(2), Number.isNaN(level) ? "" : level.toFixed(1)].filter(Boolean).join(" · ") || (row.active[place] ? "active" : "no");
          on = Boolean(row.active[place]);
        }
        if (cell.textContent !== text) cell.textContent = text;
        cell.classList.toggle("on", on);
      });
    }
  }
}

/** A slider per AU with probabilities; onMove(au, value). */
export function sliders(box, aus, thresholds, onMove) {
  const rows = aus.filter((each) => each.au in thresholds).map((each) => {
    const known = thresholds[each.au], start = known === null ? 0.5 : known;
    const input = make("input", { type: "range", min: "0", max: "1", step: "0.005", value: String(start), title: each.name });
    input.setAttribute("aria-label", `Threshold of ${each.name}`);
    const output = make("output", {}, known === null ? "file" : known.toFixed(3));
    const label = make("label", {}, make("span", {}, each.au), input, output);
    input.addEventListener("input", () => onMove(each.au, Number(input.value)));
    return {
      au: each.au, label,
      set(value) {
        const moved = value !== undefined;
        input.value = String(moved ? value : start);
        output.textContent = moved ? value.toFixed(3) : known === null ? "file" : known.toFixed(3);
        label.classList.toggle("moved", moved);
      },
    };
  });
  box.replaceChildren(...rows.map((row) => row.label));
  return Object.fromEntries(rows.map((row) => [row.au, row]));
}

/** Rows of episodes; onGo(frame of the source). */
export function episodeRows(table, found, shown, source, onGo) {
  const names = ["Begin", "Person", "AU", "End", source.timed ? "Seconds" : "Length", "Frames", "Mean prob."];
  heads(table, source.strengths ? [...names, "Mean int.", "Peak int."] : names);
  table.tBodies[0].replaceChildren(...found.slice(0, shown).map((each) => {
    const go = make("button", { type: "button", className: "link" }, clock(each.begin, source.timed));
    go.addEventListener("click", () => onGo(each));
    const cells = [each.person.label, each.row.au, clock(each.end, source.timed), (each.end - each.begin).toFixed(source.timed ? 3 : 0), String(each.frames), number(each.meanProb, 3)];
    if (source.strengths) cells.push(number(each.meanIntensity, 2), number(each.peak, 2));
    const row = make("tr", {}, make("td", {}, go), ...cells.map((text) => make("td", {}, text)));
    row.dataset.begin = String(each.begin);
    return row;
  }));
}

/** The agreement with a second file. */
export function agreementRows(table, rows) {
  const strengths = rows.some((row) => "icc" in row);
  const names = ["AU", "Frames", "First active, %", "Second active, %", "Agree, %", "Kappa", "Correlation"];
  heads(table, strengths ? [...names, "ICC(3,1)", "MAE"] : names);
  const share = (value) => (value === null ? "–" : (100 * value).toFixed(1));
  table.tBodies[0].replaceChildren(...rows.map((row) => {
    const cells = [String(row.faces), share(row.active_first), share(row.active_second), share(row.agree), number(row.kappa, 2), number(row.correlation, 2)];
    if (strengths) cells.push(number(row.icc, 2), number(row.mae, 2));
    return make("tr", {}, make("th", { scope: "row" }, row.au), ...cells.map((text) => make("td", {}, text)));
  }));
}
