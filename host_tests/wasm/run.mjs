// Runs MicroPython tests on the 32-bit WebAssembly build, one after the other, each in a fresh interpreter.
//
// stdin:  {"package": DIR, "files": [[path inside, path outside]], "tests": [{"name", "program", "heap"}]}
// stdout: one JSON line for each test as it ends: {"name", "status", "output"}; status 0 = the program ran to its end.
//
// Nothing here limits the time of a test: who started this kills it when a line is late, and starts it for the rest.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const job = JSON.parse(readFileSync(0, "utf8"));
const { loadMicroPython } = await import(pathToFileURL(`${job.package}/micropython.mjs`));
const files = job.files.map(([inside, outside]) => [inside, readFileSync(outside)]);

async function run(test) {
  let output = "";
  const say = (line) => { output += `${line}\n`; };
  const mp = await loadMicroPython({ heapsize: test.heap, stdout: say, stderr: say });
  for (const [inside, content] of files) {
    mp.FS.mkdirTree(inside.slice(0, inside.lastIndexOf("/")));
    mp.FS.writeFile(inside, content);
  }
  mp.FS.mkdirTree("/state");
  mp.FS.chdir("/state");
  try {
    mp.runPython("import sys\nsys.path[:0] = ['/firmware', '/unit']");
    mp.runPython(test.program);
    return { name: test.name, status: 0, output };
  } catch (error) {
    say(error.name === "PythonError" ? error.message : error.stack);
    return { name: test.name, status: 1, output };
  }
}

for (const test of job.tests) {
  process.stdout.write(`${JSON.stringify(await run(test))}\n`);
}
