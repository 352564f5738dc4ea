// Objects, strings, buffers outside of the heap of objects, compression, and threads.
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto');
const zlib = require('zlib');

function work(seed) {
    const hash = crypto.createHash('sha256');
    const map = new Map();
    for (let i = 0; i < 30000; i++) {
        map.set(`key ${(i * 7919 + seed) % 5003}`, { i, text: 'x'.repeat(i % 100) });
    }
    hash.update(JSON.stringify([...map].sort()));
    for (let i = 0; i < 150; i++) {
        const buffer = Buffer.alloc(1 + (i * 997) % 100000, seed + i);
        const packed = zlib.deflateSync(buffer, { level: 1 });
        if (!zlib.inflateSync(packed).equals(buffer)) throw new Error('not what was packed');
        hash.update(packed);
    }
    return hash.digest('hex');
}

if (isMainThread) {
    const run = seed => new Promise((done, failed) => {
        const worker = new Worker(__filename, { workerData: seed });
        worker.on('message', done);
        worker.on('error', failed);
    });
    Promise.all([1, 2].map(run)).then(all => console.log([work(0), ...all].join('\n')));
} else {
    parentPort.postMessage(work(workerData));
}
