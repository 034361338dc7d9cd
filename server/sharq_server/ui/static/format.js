// Numbers and times as people read them.

const NUMBER = new Intl.NumberFormat("en");

export function count(value) {
  return value === null || value === undefined ? "" : NUMBER.format(value);
}

// A count and its noun: "1 job", "2 jobs".
export function many(value, one, more = one + "s") {
  return `${count(value)} ${value === 1 ? one : more}`;
}

const STEPS = [
  [86_400_000, "d", 3_600_000, "h"],
  [3_600_000, "h", 60_000, "min"],
  [60_000, "min", 1000, "s"],
];

// A time span in ms with two units at most: "230 ms", "4.2 s", "2 min 5 s".
export function span(ms) {
  if (ms === null || ms === undefined) return "";
  if (ms < 1000) return `${NUMBER.format(Math.round(ms * 1000) / 1000)} ms`;
  if (ms < 10_000) return `${(Math.floor(ms / 100) / 10).toFixed(1).replace(".0", "")} s`;
  if (ms < 60_000) return `${Math.floor(ms / 1000)} s`;
  for (const [size, unit, part, name] of STEPS) {
    if (ms < size) continue;
    const rest = Math.floor((ms % size) / part);
    return `${NUMBER.format(Math.floor(ms / size))} ${unit}${rest ? ` ${rest} ${name}` : ""}`;
  }
  return "";
}

// A span that counts down or up in whole seconds, so that it does not flicker.
export function seconds(ms) {
  return ms < 1000 ? "under 1 s" : span(ms < 10_000 ? Math.floor(ms / 1000) * 1000 : ms);
}

const two = (value) => String(value).padStart(2, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

// The time of day; of another day with its date.
export function clock(ms, now, exact = true) {
  const at = new Date(ms);
  const time = `${two(at.getHours())}:${two(at.getMinutes())}${exact ? `:${two(at.getSeconds())}` : ""}`;
  const today = new Date(now);
  if (at.toDateString() === today.toDateString()) return time;
  const year = at.getFullYear() === today.getFullYear() ? "" : ` ${at.getFullYear()}`;
  return `${at.getDate()} ${MONTHS[at.getMonth()]}${year} ${time}`;
}

// When something ends that is `ms` from now: the minute will do for what is far away.
export function until(ms, now) {
  return clock(now + ms, now, ms < 600_000);
}

// An interval (ms between two) as a rate: "1 a second", "5 a minute".
export function rate(interval) {
  if (!interval) return "no limit";
  for (const [size, unit] of [[1000, "a second"], [60_000, "a minute"], [3_600_000, "an hour"], [86_400_000, "a day"]]) {
    if (interval <= size) return `${NUMBER.format(Math.round((size / interval) * 100) / 100)} ${unit}`;
  }
  return `1 in ${span(interval)}`;
}

export function bytes(size) {
  if (size < 1024) return `${size} B`;
  return size < 1_048_576 ? `${(size / 1024).toFixed(1)} KiB` : `${(size / 1_048_576).toFixed(1)} MiB`;
}

const SHORT = 160;

// The beginning of a text that is shown whole elsewhere.
export function short(text) {
  return text.length > SHORT ? `${text.slice(0, SHORT)}…` : text;
}
