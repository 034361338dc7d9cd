// Charts of the last ten minutes, as SVG.

import { el } from "./element.js";
import { clock, count } from "./format.js";

export const SERIES = [
  ["enqueued", "enqueued"],
  ["dispatched", "dispatched"],
  ["finished", "finished"],
];

// `{minute: [enqueued, dispatched, finished]}` as `[[minute, …counts]]`, the oldest first.
export function rows(minutes) {
  return Object.entries(minutes ?? {})
    .map(([minute, counts]) => [Number(minute), ...counts])
    .sort((one, other) => one[0] - other[0]);
}

const MINUTE = 60_000;

// The counts of the 60 s before `at`: of the minute that runs, and of the one before in proportion to what is left.
export function lastMinute(minutes, at) {
  const begin = Math.floor(at / MINUTE) * MINUTE;
  const left = 1 - (at - begin) / MINUTE;
  const [now, before] = [begin, begin - MINUTE].map((minute) => minutes?.[minute] ?? [0, 0, 0]);
  return now.map((value, which) => Math.round(value + before[which] * left));
}

// The next round number above: the top of an axis.
export function ceiling(value) {
  const size = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((step) => step * size).find((step) => step >= value);
}

// Three lines; the running minute is dashed, since it is not over. `small` is for a table's cell.
export function lines(minutes, now, small = false) {
  const all = rows(minutes);
  const { width, height, left, right, above, below } = small ? SPARK : large();
  const top = ceiling(Math.max(...all.flatMap((row) => row.slice(1)), 1));
  const x = (at) => left + (at * (width - left - right)) / Math.max(all.length - 1, 1);
  const y = (value) => above + (height - above - below) * (1 - value / top);
  const drawn = SERIES.map(([name], at) => {
    const points = all.map((row, index) => `${x(index).toFixed(1)},${y(row[at + 1]).toFixed(1)}`);
    return [
      el("polyline", { class: `line ${name}`, points: points.slice(0, -1).join(" ") }),
      el("polyline", { class: `line ${name} partial`, points: points.slice(-2).join(" ") }),
    ];
  }).reverse();
  const last = lastMinute(minutes, now);
  const said = `In the last minute ${SERIES.map(([, name], at) => `${count(last[at])} ${name}`).join(", ")}.`;
  const frame = { class: small ? "spark" : "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": said };
  if (small) return el("svg", frame, el("title", null, said), drawn);
  return el("svg", frame, axis(all, now, { width, height, left, right, top, x, y }), drawn, columns(all, now, x, height, (row) =>
    SERIES.map(([, name], at) => `${count(row[at + 1])} ${name}`).join(", "),
  ));
}

const SPARK = { width: 110, height: 26, left: 2, right: 2, above: 3, below: 3 };

// As wide as the page, so that a text in it has its size.
function large() {
  const width = Math.max(280, (document.getElementById("page")?.clientWidth ?? 900) - (innerWidth > 700 ? 70 : 54));
  return { width, height: 160, left: 50, right: 22, above: 10, below: 24 };
}

function axis(all, now, { width, height, left, right, top, x, y }) {
  return [
    [0, top / 2, top].map((value) => [
      el("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
      el("text", { class: "tick", x: left - 6, y: y(value) + 4, "text-anchor": "end" }, Number.isInteger(value) || top > 2 ? count(value) : ""),
    ]),
    all.map((row, at) =>
      at % 3 === 0 ? el("text", { class: "tick", x: x(at), y: height - 4, "text-anchor": "middle" }, clock(row[0], now, false)) : null,
    ),
  ];
}

// An invisible column over each minute that tells its numbers.
function columns(all, now, x, height, tell) {
  const half = (x(1) - x(0)) / 2 || 20;
  return all.map((row, at) =>
    el(
      "rect",
      { class: "column", x: x(at) - half, y: 0, width: 2 * half, height },
      el("title", null, `${clock(row[0], now, false)}: ${tell(row)}`),
    ),
  );
}

export function legend() {
  return el("p", { class: "legend" }, SERIES.map(([name, text]) => el("span", { class: name }, text)), " a minute");
}

// Bars of what was used in each minute under the line of what is permitted (null: no limit).
export function used(counts, permitted, now) {
  const all = Object.entries(counts ?? {}).map(([minute, value]) => [Number(minute), value]).sort((one, other) => one[0] - other[0]);
  const { width, height, left, right, below } = large();
  const above = 20; // room for a text over the line
  const top = ceiling(Math.max(...all.map((row) => row[1]), permitted ?? 0, 1));
  const step = (width - left - right) / Math.max(all.length, 1);
  const x = (at) => left + step * (at + 0.5);
  const y = (value) => above + (height - above - below) * (1 - value / top);
  const words = permitted === null ? "no limit" : `${count(Math.round(permitted * 100) / 100)} a minute permitted`;
  const said = `Dispatched a minute, ${words}: ${all.map((row) => count(row[1])).join(", ")}.`;
  return el(
    "svg",
    { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": said },
    axis(all, now, { width, height, left, right, top, x, y }),
    all.map((row, at) =>
      el("rect", {
        class: at === all.length - 1 ? "bar partial" : "bar",
        x: x(at) - step * 0.32,
        y: y(row[1]),
        width: step * 0.64,
        height: Math.max(0, y(0) - y(row[1])),
      }),
    ),
    permitted === null ? null : el("line", { class: "permitted", x1: left, x2: width - right, y1: y(permitted), y2: y(permitted) }),
    permitted === null ? null : el("text", { class: "tick permitted", x: width - right, y: y(permitted) - 4, "text-anchor": "end" }, words),
    columns(all, now, x, height, (row) => `${count(row[1])} dispatched, ${words}`),
  );
}
