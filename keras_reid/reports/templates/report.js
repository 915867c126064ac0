// --- Filters of the ranked lists.
const queries = all("article.query"), filters = one("#filters");
function applyFilters() {
  const field = (name) => filters.elements[name]?.value ?? "";
  const text = field("text").trim().toLocaleLowerCase(), camera = field("camera"), outcome = field("outcome");
  for (const query of queries) {
    const data = query.dataset, texts = [data.person, data.query].map((one) => one.toLocaleLowerCase());
    const fits = texts.some((one) => one.includes(text)) && (!camera || camera === "=" + data.camera);
    query.hidden = !(fits && (!outcome || outcome === data.outcome));
  }
  for (const block of all(".block")) {
    block.querySelector(".none").hidden = all("article:not([hidden])", block).length > 0;
  }
  const shown = queries.filter((query) => !query.hidden).length;
  one("#filtered").textContent = `${shown} of ${queries.length} lists shown`;
}
filters.addEventListener("input", applyFilters);
filters.addEventListener("submit", (event) => event.preventDefault());
filters.addEventListener("reset", () => setTimeout(applyFilters));
filters.hidden = false;
applyFilters();

// --- Links to a query: #query=NAME.
function followLink() {
  const [, name] = /^#query=(.*)$/s.exec(location.hash) ?? [];
  one("#linked").textContent = "";
  if (name === undefined) return;
  let wanted = name;
  try { wanted = decodeURIComponent(name); } catch { /* a % that escapes nothing */ }
  const query = queries.find((query) => query.dataset.query === wanted || query.dataset.query === name);
  if (!query) {
    const sample = `it shows ${page.shown} of ${page.queries} queries`;
    one("#linked").textContent = `No query “${wanted}” on this page: ${sample}.`;
    one("#lists").scrollIntoView();
    return;
  }
  if (query.hidden) { filters.reset(); for (const other of queries) other.hidden = false; }
  query.closest("details").open = true;
  query.scrollIntoView();
  query.focus({ preventScroll: true });
}
addEventListener("hashchange", followLink);

// --- Attention: overlays in place of both photos.
function look(button, on) {
  const hit = button.closest(".hit"), asked = button.closest("article").querySelector(".asked");
  button.setAttribute("aria-pressed", String(on));
  for (const [card, side] of [[asked, "query"], [hit, "hit"]]) {
    card.querySelector(".crop:not(.seen)").hidden = on;
    const overlay = hit.querySelector(`.seen[data-of=${side}]`) ?? asked.querySelector(`.seen[data-of=${side}]`);
    overlay.hidden = !on;
    (on ? card : hit).prepend(overlay);
  }
}
for (const button of all(".look")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") === "false";
    for (const other of all(".look[aria-pressed=true]", button.closest("article"))) look(other, false);
    if (on) look(button, true);
  });
}

followLink();
