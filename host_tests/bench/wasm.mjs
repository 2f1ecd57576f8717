// Runs a program on the 32-bit WebAssembly build of MicroPython, step by step.
//
// stdin: {"package": DIR, "heap": BYTES, "files": [[path inside, path outside]], "steps": [PROGRAM]}
//
// Each step is a call of its own, because this build collects garbage only between calls: `gc.collect()` takes effect
// when the step that called it has returned. What the steps print goes to stdout.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const job = JSON.parse(readFileSync(0, "utf8"));
const { loadMicroPython } = await import(pathToFileURL(`${job.package}/micropython.mjs`));
const mp = await loadMicroPython({ heapsize: job.heap, stdout: console.log, stderr: console.error });
for (const [inside, outside] of job.files) {
  mp.FS.mkdirTree(inside.slice(0, inside.lastIndexOf("/")));
  mp.FS.writeFile(inside, readFileSync(outside));
}
mp.FS.mkdirTree("/state");
mp.FS.chdir("/state");
try {
  for (const step of job.steps) mp.runPython(step);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
