"use strict";

const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (selector) => document.querySelector(selector);
const page = JSON.parse(one("#page-data").textContent);

// What the browser keeps; a file that was opened from a disk may not be allowed any of it.
const kept = {
  read(key) { try { return localStorage.getItem(key); } catch { return null; } },
  write(key, text) { try { localStorage.setItem(key, text); return true; } catch { return false; } },
};

// --- Theme.
const themes = { "": "as the system", light: "light", dark: "dark" };
const themeButton = one("#theme");
function showTheme(theme) {
  document.documentElement.dataset.theme = theme;
  themeButton.textContent = `Theme: ${themes[theme]}`;
}
themeButton.addEventListener("click", () => {
  const names = Object.keys(themes), now = names.indexOf(document.documentElement.dataset.theme);
  const next = names[(now + 1) % names.length];
  showTheme(next);
  kept.write("keras_reid theme", next);
});
const theme = kept.read("keras_reid theme");
showTheme(theme in themes ? theme : "");
themeButton.hidden = false;
