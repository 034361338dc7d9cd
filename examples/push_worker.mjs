// A worker over the push channel, for Node.js 22 (or 20 with --experimental-websocket): prints each
// job, and takes its time over it. It needs no package.
//
//     node push_worker.mjs [URL [TYPE]]
//
// A payload may say how long that is (`work_ms`), or that the job fails (`fail`). Where the server
// asks for a token, SHARQ_TOKEN has it.

const [url = "ws://127.0.0.1:8080/ws/", queueType = "sms"] = process.argv.slice(2);
const CONCURRENCY = 32;
const AGAIN = 500; // ms until what the store could not take is sent again
const LONGEST_DELAY = 30_000;
const GRACE = 30_000; // ms in which running jobs may end after SIGTERM
const MOST_LEASES = 1000; // in one frame

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function handle(job) {
  console.log(`${job.queue_id} ${job.job_id}: ${JSON.stringify(job.payload)}`);
  await sleep(job.payload?.work_ms ?? 100);
  if (job.payload?.fail) throw new Error("its payload asks for it");
}

const held = new Map(); // by lease: until when it lasts, its length, whether its handler runs
const ends = new Map(); // by lease: the frame that ends it, until that is answered
const sent = new Map(); // by the id of a frame: its socket, and the leases that it ends
const extensions = new Map(); // by the id of a frame: the leases that it extends
let current = null; // the socket on which jobs come
let stopping = false;
let lastWish = null; // the id of the frame that asks for no more jobs, until it is answered
let storeAway = false;
let lastId = 0;

function send(socket, frame) {
  const id = ++lastId;
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ id, ...frame }));
  return id;
}

function connect(delay = 50) {
  const token = process.env.SHARQ_TOKEN;
  const bearer = token ? [`sharq.bearer.${Buffer.from(token).toString("base64url")}`] : [];
  const socket = new WebSocket(url, ["sharq.v1.json", ...bearer]);
  let next = Math.min(2 * delay, LONGEST_DELAY);
  let heartbeat = 20_000;
  let heardAt = Date.now();
  let left = false; // another connection takes its place
  let welcome = false;

  // Pings of the websocket are not seen here, so that a frame asks whether the server is there.
  const beat = setInterval(() => {
    if (Date.now() - heardAt > 2 * heartbeat) lost();
    else if (Date.now() - heardAt > heartbeat / 2) send(socket, { op: "ping" });
  }, 100);

  function lost({ code, message } = {}) {
    clearInterval(beat);
    const why = message || (code ? `close code ${code}` : "no answer");
    // WebSocket hides the status of a refusal.
    const hint = "Is this a server's /ws/, and is SHARQ_TOKEN valid?";
    const ended = `The connection has ended: ${why}`;
    if (!stopping && !left) console.error(welcome ? ended : `No connection to ${url}: ${why}. ${hint}`);
    socket.onmessage = socket.onclose = socket.onerror = null;
    socket.close();
    for (const [id, frame] of sent) if (frame.socket === socket) sent.delete(id);
    if (current === socket) {
      current = lastWish = null;
      extensions.clear();
    }
    // A worker that stops still has to tell how its last jobs ended.
    if (!left && (!stopping || held.size)) setTimeout(connect, Math.random() * delay, next);
    leaveIfIdle();
    if (left) sendEnds([...ends.keys()].filter((lease) => !isSent(lease)));
  }

  socket.onerror = lost; // not every version has a close follow
  socket.onclose = lost;
  socket.onmessage = ({ data }) => {
    heardAt = Date.now();
    const event = JSON.parse(data);
    switch (event.event) {
      case "welcome":
        welcome = true;
        heartbeat = event.heartbeat;
        next = 50;
        current = socket;
        storeAway = false;
        send(socket, {
          op: "subscribe",
          queue_type: queueType,
          credit: stopping ? 0 : CONCURRENCY,
          ...(held.size && { leases: [...held.keys()].slice(0, MOST_LEASES) }),
        });
        sendEnds([...ends.keys()].filter((lease) => !isSent(lease)));
        break;
      case "jobs":
        for (const job of event.jobs) take(job);
        break;
      case "reply":
      case "error":
        answered(event);
        break;
      case "expired":
        event.leases.forEach(forget);
        break;
      case "paused":
        storeAway = true;
        break;
      case "resumed":
        storeAway = false;
        sendEnds([...ends.keys()]);
        break;
      case "draining": // its jobs are ended on it until it closes
        if (!left && !stopping) {
          left = true;
          connect();
        }
        break;
    }
  };
}

function take(job) {
  if (held.has(job.lease)) return; // one lease is one run
  const lease = { until: Date.now() + job.lease_ms, length: job.lease_ms, runs: true };
  held.set(job.lease, lease);
  if (stopping) return end(job.lease, { op: "release", count_requeue: false });
  handle(job).then(
    () => end(job.lease, { op: "finish" }),
    (error) => {
      console.error(`${job.job_id} has failed: ${error}`);
      const { name, message, stack } = error;
      end(job.lease, { op: "fail", error: { type: name, message, trace: stack } });
    },
  );
}

function end(lease, frame) {
  if (!held.has(lease)) return leaveIfIdle(); // lost meanwhile: another worker may have the job
  held.get(lease).runs = false;
  ends.set(lease, frame);
  sendEnds([lease]);
}

function isSent(lease) {
  return [...sent.values()].some((frame) => frame.leases.includes(lease));
}

// On the connection that takes jobs; while there is none, they wait for the next one.
function sendEnds(leases) {
  if (!current || storeAway) return;
  for (const lease of leases) {
    if (!ends.has(lease)) continue;
    const id = send(current, { ...ends.get(lease), leases: [lease] });
    sent.set(id, { socket: current, leases: [lease] });
  }
}

function answered({ event, id, code, message, results = [] }) {
  if (id === lastWish) {
    lastWish = null;
    return leaveIfIdle();
  }
  if (extensions.has(id)) {
    const leases = extensions.get(id);
    extensions.delete(id);
    results.forEach(({ status, lease_ms }, at) => {
      if (status === "success" && held.has(leases[at]))
        held.get(leases[at]).until = Date.now() + lease_ms;
      else if (["not_active", "stale_lease", "already_finished"].includes(status))
        forget(leases[at]);
    });
    return;
  }
  if (event === "error") console.error(`refused: ${message}`);
  const leases = sent.get(id)?.leases ?? [];
  sent.delete(id);
  leases.forEach((lease, at) => {
    const result = event === "error" ? code : results[at];
    const again = /^(store_|overloaded|stopping|internal)/.test(result);
    if (again) setTimeout(sendEnds, AGAIN, [lease]);
    else forget(lease); // done, or no longer this worker's
  });
}

function forget(lease) {
  held.delete(lease);
  ends.delete(lease);
  leaveIfIdle();
}

setInterval(() => {
  if (!current) return;
  const leases = [...held].filter(([, { runs, until, length }]) => runs && until - Date.now() < length / 2);
  for (const length of new Set(leases.map(([, lease]) => lease.length))) {
    const alike = leases.filter(([, lease]) => lease.length === length).map(([lease]) => lease);
    extensions.set(send(current, { op: "extend", leases: alike, by: length }), alike);
  }
}, 250);

function stop() {
  if (stopping) process.exit(1); // asked for twice
  stopping = true;
  setTimeout(() => process.exit(1), GRACE);
  if (current) lastWish = send(current, { op: "credit", credit: 0 });
  leaveIfIdle(); // not before the answer: jobs may come before it, and go back
}

function leaveIfIdle() {
  if (!stopping || held.size || lastWish !== null) return;
  current?.close(1000);
  setTimeout(() => process.exit(0), 100);
}

process.on("SIGTERM", stop);
process.on("SIGINT", stop);
if (typeof WebSocket === "undefined") {
  console.error("This Node.js has no WebSocket: use 22, or 20 with --experimental-websocket.");
  process.exit(2);
}
connect();
