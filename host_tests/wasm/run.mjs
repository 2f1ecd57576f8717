// Runs MicroPython tests on the 32-bit WebAssembly build, each in a fresh interpreter of its own.
//
// stdin:  {"package": DIR, "files": [[path inside, path outside]], "tests": [{"name", "program", "heap", "limit"}]}
// stdout: one JSON line for each test: {"name", "status", "output"}; status 0 = the program ran to its end.
//
// An interpreter lives in a worker thread, so that one which never returns can be stopped after `limit` seconds.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";

function runInWorker(job, files, test) {
  return new Promise((resolve) => {
    let output = "";
    const worker = new Worker(new URL(import.meta.url), { workerData: { package: job.package, files, test } });
    const end = (status) => {
      clearTimeout(timer);
      resolve({ name: test.name, status, output });
      worker.terminate();
    };
    const timer = setTimeout(() => end(`none, stopped after ${test.limit} s`), test.limit * 1000);
    worker.on("message", ([kind, value]) => (kind === "out" ? (output += value) : end(value)));
    worker.on("error", (error) => { output += `${error.stack ?? error}\n`; end("none, interpreter died"); });
    worker.on("exit", () => end("none, interpreter ended"));
  });
}

async function worker({ package: folder, files, test }) {
  const { loadMicroPython } = await import(pathToFileURL(`${folder}/micropython.mjs`));
  const say = (line) => parentPort.postMessage(["out", `${line}\n`]);
  const mp = await loadMicroPython({ heapsize: test.heap, stdout: say, stderr: say });
  for (const [inside, content] of files) {
    mp.FS.mkdirTree(inside.slice(0, inside.lastIndexOf("/")));
    mp.FS.writeFile(inside, content);
  }
  mp.FS.mkdirTree("/state");
  mp.FS.chdir("/state");
  let status = 0;
  try {
    mp.runPython("import sys\nsys.path[:0] = ['/firmware', '/unit']");
    mp.runPython(test.program);
  } catch (error) {
    say(error.name === "PythonError" ? error.message : error.stack);
    status = 1;
  }
  parentPort.postMessage(["end", status]);
}

if (isMainThread) {
  const job = JSON.parse(readFileSync(0, "utf8"));
  const files = job.files.map(([inside, outside]) => [inside, readFileSync(outside)]);
  for (const test of job.tests) {
    process.stdout.write(`${JSON.stringify(await runInWorker(job, files, test))}\n`);
  }
} else {
  await worker(workerData);
}
