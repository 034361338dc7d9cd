// BullMQ under measurement: `bullmq_peer.cjs produce|work SOCKET [COUNT]`.
const { Queue, Worker } = require("bullmq");

const FRAME = 32;
const UNDER_WAY = 24;
const [, , role, path, count] = process.argv;

async function produce() {
  const queue = new Queue("bench", { connection: { path } });
  await queue.waitUntilReady();
  const job = {
    name: "send",
    data: { to: "+15550100", text: "Your code is 1234" },
    opts: { removeOnComplete: true },
  };
  console.log(JSON.stringify({ began: Date.now() / 1000 }));
  let left = Number(count);
  const send = async () => {
    while (left > 0) {
      const size = Math.min(FRAME, left);
      left -= size;
      await queue.addBulk(Array(size).fill(job));
    }
  };
  await Promise.all(Array.from({ length: UNDER_WAY }, send));
  await queue.close();
}

function work() {
  const worker = new Worker("bench", async () => {}, {
    connection: { path, maxRetriesPerRequest: null },
    concurrency: 100,
  });
  worker.on("error", (error) => console.error(error));
}

if (role === "produce") produce();
else work();
