// What an operator can do to a job and to dead letters: for each action its question and its request.
//
// Each takes what it is about and `done`, which is called when it is done.

import { ask } from "./dialog.js";
import { count, many } from "./format.js";

function ofJob({ type, queue, job }, verb) {
  return `${verb}/${type}/${queue}/${job}/`;
}

export function cancel(about, done) {
  ask({
    title: `Delete the job ${about.job}`,
    about: ["1 job is removed from its queue for good, and never dispatched."],
    danger: true,
    verb: "delete 1 job",
    request: () => ({ method: "DELETE", path: ofJob(about, "job") }),
    done: () => (done(), `Deleted: ${about.job}.`),
  });
}

// With the lease that the page shows: if another worker has the job by then, its lease is not ended.
function leased({ lease }, body) {
  return lease ? { lease, ...body } : body;
}

export function release(about, done) {
  ask({
    title: `Release the job ${about.job}`,
    about: ["Its lease ends, and it goes back to its queue. The worker that has it may still be working on it."],
    fields: [
      { name: "delay", label: "Again after, ms", value: "0", inputmode: "numeric" },
      { name: "count", label: "counts as an attempt", kind: "checkbox", value: true },
    ],
    verb: "release",
    request: (given) => {
      if (!/^\d{1,11}$/.test(given.delay)) throw new Error("Again after: a time in whole ms.");
      return { method: "POST", path: ofJob(about, "release"), body: leased(about, { delay: Number(given.delay), count_requeue: given.count }) };
    },
    done: (answer) => (done(), `Released: ${about.job} is ${answer.state}.`),
  });
}

export function fail(about, done) {
  ask({
    title: `Fail the job ${about.job}`,
    about: ["Its lease ends as failed. It comes again after its backoff, or becomes a dead letter."],
    fields: [
      { name: "message", label: "Error", value: "failed by an operator" },
      { name: "dead", label: "no retry: it is dead at once", kind: "checkbox" },
    ],
    danger: true,
    verb: "fail 1 job",
    request: (given) => {
      const body = { error: { type: "Operator", message: given.message } };
      if (given.dead) body.retry = false;
      return { method: "POST", path: ofJob(about, "fail"), body: leased(about, body) };
    },
    done: (answer) => (done(), `Failed: ${about.job} is ${answer.state}.`),
  });
}

const LARGEST = 1000;

// What became of named dead letters, in words.
function outcome(results, verb) {
  const made = results.filter((result) => result === "success").length;
  const rest = results.length - made;
  return `${many(made, "dead letter")} ${verb}${rest ? `, ${count(rest)} not: they are gone, or their names are in use` : ""}.`;
}

// `jobs`: pairs of a queue and a job; the question names how many.
export function retryDead(type, jobs, done) {
  const some = jobs.slice(0, LARGEST);
  ask({
    title: `Retry ${many(some.length, "dead letter")} of ${type}`,
    about: ["Each becomes a new job at the tail of its queue, with its whole requeue limit."],
    verb: `retry ${count(some.length)}`,
    request: () => ({ method: "POST", path: `dead/${type}/retry`, body: { jobs: some } }),
    done: ({ results }) => (done(), outcome(results, "retried")),
  });
}

export function deleteDead(type, jobs, done) {
  const some = jobs.slice(0, LARGEST);
  ask({
    title: `Delete ${many(some.length, "dead letter")} of ${type}`,
    about: ["They are gone for good, with their payloads."],
    danger: true,
    verb: `delete ${count(some.length)}`,
    request: () => ({ method: "DELETE", path: `dead/${type}/`, body: { jobs: some } }),
    done: ({ results }) => (done(), outcome(results, "deleted")),
  });
}

// Of those that were there when they were counted: what dies later is nobody's wish yet.
function selection(filter, before) {
  return { filter: { ...filter, before } };
}

function matching(filter) {
  const words = Object.entries(filter).map(([name, value]) => `${name === "queue_id" ? "queue" : name} ${value}`);
  return words.length ? `with ${words.join(", ")}` : "of the type";
}

// `counted`: how many match that died before `before` (ms), in words.
export function retryAll(type, filter, { counted, before }, done) {
  ask({
    title: `Retry ${counted} ${matching(filter)}`,
    about: ["It goes on in the background, up to 100 at a time; here you see how far it is. What fails again is not tried again by it."],
    fields: [{ name: "limit", label: "At most", hint: "Empty: all. Try it with a few first; the oldest go first.", inputmode: "numeric" }],
    verb: "retry",
    request: (given) => {
      if (given.limit && !/^[1-9]\d{0,6}$/.test(given.limit)) throw new Error("At most: a whole number.");
      return { method: "POST", path: `dead/${type}/retry`, body: { ...selection(filter, before), ...(given.limit && { limit: Number(given.limit) }) } };
    },
    done: () => (done(), "The retry has begun."),
  });
}

export function deleteAll(type, filter, { counted, before }, done) {
  ask({
    title: `Delete ${counted} ${matching(filter)}`,
    about: ["They are gone for good, with their payloads. It goes on in the background; what dies from now on stays."],
    danger: true,
    verb: `delete ${counted}`,
    request: () => ({ method: "DELETE", path: `dead/${type}/`, body: selection(filter, before) }),
    done: () => (done(), "The deletion has begun."),
  });
}

export function stopBulk(type, done) {
  ask({
    title: "Stop it where it is",
    about: ["What was done stays done; the rest stays a dead letter."],
    verb: "stop",
    request: () => ({ method: "DELETE", path: `dead/${type}/retry` }),
    done: () => (done(), "Stopped."),
  });
}
