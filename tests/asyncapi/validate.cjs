// Prints what the official parser has against the AsyncAPI document on standard input: a JSON list of lines, errors
// and warnings alike.
const { readFileSync } = require("node:fs");
const { Parser } = require("@asyncapi/parser");

const WARNING = 1;

new Parser().parse(readFileSync(0, "utf8")).then(({ diagnostics }) => {
  const serious = diagnostics.filter(({ severity }) => severity <= WARNING);
  console.log(JSON.stringify(serious.map(({ code, path, message }) => `${path.join("/")}: ${code}: ${message}`)));
});
