// --- Embedding map: a point shows its crop, and all points of its identity.
const map = one(".map svg"), points = all(".point", map), shown = one(".point-shown");
let current = -1, method = 0;
const place = (index) => page.points[index].at[method];

function show(index) {
  if (index === current) return;
  points[current]?.setAttribute("aria-selected", "false");
  current = index;
  const point = points[index], data = point.dataset, { crop } = page.points[index];
  point.setAttribute("aria-selected", "true");
  map.setAttribute("aria-activedescendant", point.id);
  for (const other of points) other.classList.toggle("kin", other.dataset.person === data.person);
  map.classList.add("chosen");
  const text = document.createElement("p"), parts = [`${data.side} image`, `identity ${data.person}`];
  if (data.camera) parts.push(`camera ${data.camera}`);
  for (const part of [...parts, data.name]) {
    const line = document.createElement("bdi");
    line.textContent = part;
    text.append(line, document.createElement("br"));
  }
  const picture = document.createElement(crop ? "img" : "div");
  picture.className = crop ? "crop" : "crop missing";
  if (crop) { picture.src = crop; picture.alt = `Image ${data.name}`; } else picture.textContent = data.missing;
  shown.replaceChildren(picture, text);
}

const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
function neighbor([dx, dy]) {
  const [x, y] = place(current);
  let best = current, least = Infinity;
  points.forEach((_, index) => {
    const along = (place(index)[0] - x) * dx + (place(index)[1] - y) * dy;
    const across = Math.abs((place(index)[0] - x) * dy + (place(index)[1] - y) * dx);
    // At equal places, later points come after earlier ones, so that each can be reached.
    if (along < 0 || (along === 0 && (across > 0 || (index - current) * (dx + dy) <= 0))) return;
    if (along + 2 * across < least) [least, best] = [along + 2 * across, index];
  });
  return best;
}
map.addEventListener("keydown", (event) => {
  const direction = directions[event.key];
  const next = event.key === "Home" ? 0 : event.key === "End" ? points.length - 1
    : direction ? (current < 0 ? 0 : neighbor(direction)) : undefined;
  if (next === undefined) return;
  event.preventDefault();
  show(next);
});
map.addEventListener("focus", () => { if (current < 0) show(0); });
for (const kind of ["pointerover", "click"]) {
  map.addEventListener(kind, (event) => {
    const point = event.target.closest(".point");
    if (point) show(points.indexOf(point));
  });
}
const methods = one(".methods");
if (methods) {
  methods.hidden = false;
  methods.addEventListener("click", (event) => {
    if (!event.target.value) return;
    method = Number(event.target.value);
    for (const button of methods.children) button.setAttribute("aria-pressed", String(button === event.target));
    points.forEach((point, index) => point.setAttribute("transform", `translate(${place(index).join(" ")})`));
  });
}
