// --- Corrections: image and other image -> verdict.
const separator = "\u0000", header = ["image_path", "other_path", "verdict"];
const verdicts = ["same", "not the same", "bad crop"];
let corrections = readCorrections(kept.read(page.key)), past = [], isKept = true;

function readCorrections(text) {
  try {
    const entries = JSON.parse(text ?? "[]");
    return new Map(entries.filter(([key, verdict]) => typeof key === "string" && verdicts.includes(verdict)));
  } catch { return new Map(); }
}
function change(next) {
  past.push(corrections);
  corrections = next;
  saveAndShow();
}
function saveAndShow(note = "") {
  isKept = kept.write(page.key, JSON.stringify([...corrections]));
  for (const group of all(".verdicts")) {
    const verdict = corrections.get(group.dataset.image + separator + group.dataset.other);
    for (const button of group.children) button.setAttribute("aria-pressed", String(button.value === verdict));
  }
  for (const button of all(".suggested")) {
    const holds = suggestionOf(button).every(([key, verdict]) => corrections.get(key) === verdict);
    button.setAttribute("aria-pressed", String(holds));
  }
  const count = corrections.size, noun = count === 1 ? "correction" : "corrections";
  const warning = isKept || !count ? "" : " This browser keeps nothing for this file: export before you close it.";
  one("#count").textContent = `${count || "No"} ${noun}${count ? "" : " yet"}.${warning} ${note}`.trim();
  one("#undo").disabled = !past.length;
  one("#export").disabled = one("#clear").disabled = !count;
}
document.addEventListener("click", (event) => {
  const button = event.target.closest(".verdicts button");
  if (!button) return;
  const { image, other } = button.parentElement.dataset, key = image + separator + other, next = new Map(corrections);
  if (next.get(key) === button.value) next.delete(key); else next.set(key, button.value);
  change(next);
});
// What follows from a suggestion, all at once.
function suggestionOf(button) {
  return JSON.parse(button.dataset.corrections).map(([image, other, verdict]) => [image + separator + other, verdict]);
}
for (const button of all(".suggested")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = new Map(corrections), taken = button.getAttribute("aria-pressed") === "true";
    for (const [key, verdict] of suggestionOf(button)) if (taken) next.delete(key); else next.set(key, verdict);
    change(next);
  });
}
one("#undo").addEventListener("click", () => { corrections = past.pop() ?? corrections; saveAndShow(); });
one("#clear").addEventListener("click", () => change(new Map()));

const cell = (text) => /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
function asCsv() {
  const rows = [...corrections].map(([key, verdict]) => [...key.split(separator), verdict]);
  return [header, ...rows].map((row) => row.map(cell).join(",") + "\r\n").join("");
}
one("#export").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([asCsv()], { type: "text/csv;charset=utf-8" }));
  link.download = "corrections.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
});

function readCsv(text) {
  const rows = [[]];
  const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|\n|\r|$)/y;
  text = text.replace(/^\ufeff/, "");
  while (field.lastIndex < text.length) {
    const found = field.exec(text);
    if (!found) return null;
    rows.at(-1).push(found[1] === undefined ? found[2] : found[1].replaceAll('""', '"'));
    if (found[3] !== ",") { if (field.lastIndex >= text.length) break; rows.push([]); }
    else if (field.lastIndex === text.length) rows.at(-1).push("");
  }
  return rows;
}
one("#import").addEventListener("click", () => one("#file").click());
one("#file").addEventListener("change", async () => {
  const [file] = one("#file").files;
  if (!file) return;
  const [names, ...rows] = readCsv(await file.text()) ?? [[]];
  one("#file").value = "";
  if (names.join() !== header.join()) {
    saveAndShow(`${file.name} holds no corrections: its first line must be ${header.join(",")}.`);
    return;
  }
  const good = rows.filter((row) => row.length === 3 && verdicts.includes(row[2]));
  const next = new Map(corrections);
  for (const [image, other, verdict] of good) next.set(image + separator + other, verdict);
  change(next);
  const left = rows.length - good.length;
  saveAndShow(`${good.length} read from ${file.name}${left ? `, ${left} lines left out: no correction` : ""}.`);
});

for (const group of all(".verdicts")) group.hidden = false;
one("#corrections").hidden = !one(".verdicts");
saveAndShow();
