"use strict";
// One cell of a CSV file: quoted where it must be, and guarded where a spreadsheet would run it.
const csvCell = (() => {
  const FORMULA = /^'*[=+\-@\t\r]/, NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;
  return (text) => {
    const safe = FORMULA.test(text) && !NUMBER.test(text) ? "'" + text : text;
    return /[",\r\n]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
  };
})();
const csvText = (rows) => rows.map((row) => row.map(csvCell).join(",") + "\n").join("");
