"use strict";
// Adds to pages that work without it: live rows, keys, relative times, and buttons that copy.
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const one = (selector) => document.querySelector(selector);

  // Relative times grow older.
  const units = [[60, 1, "s"], [3600, 60, "min"], [172800, 3600, "h"], [Infinity, 86400, "days"]];
  const distance = (seconds) => {
    const length = Math.abs(seconds);
    const [, size, name] = units.find(([limit]) => length < limit);
    const text = `${Math.floor(length / size)} ${name}`;
    return seconds < 0 ? `in ${text}` : `${text} ago`;
  };
  const refresh = () => all("time[data-relative]").forEach((time) => {
    time.textContent = distance((Date.now() - Date.parse(time.dateTime)) / 1000);
  });
  setInterval(refresh, 10000);

  // Buttons that copy are of use with the script alone.
  const reveal = (from) => all("[data-copy]", from).forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  });
  if (navigator.clipboard) reveal(document);

  // One box ticks all rows.
  const every = one("[data-every]");
  if (every) {
    every.hidden = false;
    every.addEventListener("change", () => all("[name=id]").forEach((box) => { box.checked = every.checked; }));
  }

  // Folding of a body.
  all("[data-fold]").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", () => {
      const details = all(".json details").slice(1);
      const open = details.some((part) => part.open);
      details.forEach((part) => { part.open = !open; });
    });
  });

  // Keys: / searches, j and k move between rows, Enter opens, x ticks, r replays.
  const rows = () => all("tbody tr");
  const focused = () => rows().findIndex((row) => row.contains(document.activeElement));
  const move = (step) => {
    const lines = rows();
    if (!lines.length) return;
    const next = Math.min(Math.max(focused() + step, 0), lines.length - 1);
    const link = lines[next].querySelector("a[href]") ?? lines[next].querySelector("button, input");
    if (link) link.focus();
  };
  const keys = {
    "/": () => { const field = one("form.filters input:not([type=hidden]), form.find input"); if (field) { field.closest("details")?.setAttribute("open", ""); field.focus(); } },
    j: () => move(1),
    k: () => move(focused() < 0 ? 1 : -1),
    x: () => { const row = rows()[focused()]; row?.querySelector("[name=id]")?.click(); },
    r: () => { const row = rows()[focused()]; (row?.querySelector("[data-key=r]") ?? one("main > .bar [data-key=r]"))?.click(); },
    n: () => one("a[rel=next]")?.click(),
    p: () => one("a[rel=prev]")?.click(),
    "?": () => { const help = one("#keys"); if (help) help.open = !help.open; },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input:not([type=checkbox]), textarea, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const act = keys[event.key];
    if (act) { event.preventDefault(); act(); }
  });

  // The field that a login lacks, and the one thing to do while an act runs, whose page comes again and again.
  const login = one(".login");
  if (login) (login.elements.name.value ? login.elements.password : login.elements.name).focus();
  if (one("progress")) one("form[action$='/cancel'] button")?.focus();

  // Live rows come as events: a row for each delivery that is new or has changed.
  const toggle = one("[data-live]");
  if (!toggle || !window.EventSource) return;
  toggle.hidden = false;
  const table = one("tbody");
  const status = one("#live-status");
  let stream = null;
  let waiting = [];
  const place = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    const row = template.content.querySelector("tr");
    if (!row) return;
    const known = document.getElementById(row.id);
    if (known) {
      const ticked = known.querySelector("[name=id]")?.checked;
      known.replaceWith(row);
      if (ticked) row.querySelector("[name=id]").checked = true;
    } else if (table) {
      table.prepend(row);
      rows().slice(200).forEach((old) => old.remove());
    } else {
      location.reload();
    }
    reveal(row);
  };
  const held = () => table?.matches(":hover") || table?.contains(document.activeElement) || window.scrollY > 400;
  const flush = () => {
    if (held()) {
      const fresh = new Set(waiting.map((html) => html.match(/id="([^"]*)"/)?.[1]).filter((id) => id && !document.getElementById(id)));
      status.textContent = fresh.size ? `Live: ${fresh.size} new` : "Live: held while you read";
      return;
    }
    waiting.splice(0).forEach(place);
    status.textContent = "Live";
  };
  const start = () => {
    stream = new EventSource(toggle.dataset.live);
    stream.addEventListener("rows", (event) => {
      const template = document.createElement("template");
      template.innerHTML = event.data;
      waiting.push(...[...template.content.querySelectorAll("tr")].map((row) => row.outerHTML));
      waiting.splice(0, Math.max(0, waiting.length - 400));
      flush();
    });
    stream.addEventListener("gone", (event) => { waiting = waiting.filter((html) => !html.includes(`id="${event.data}"`)); document.getElementById(event.data)?.remove(); });
    stream.addEventListener("open", () => { status.textContent = "Live"; });
    stream.addEventListener("error", () => { status.textContent = "Live: no answer; trying again"; });
    toggle.setAttribute("aria-pressed", "true");
  };
  const stop = () => {
    stream?.close();
    stream = null;
    status.textContent = "";
    toggle.setAttribute("aria-pressed", "false");
  };
  toggle.addEventListener("click", () => { if (stream) stop(); else start(); });
  setInterval(() => { if (stream && waiting.length) flush(); }, 500);
  // A page in the background costs nothing.
  let resume = false;
  const begin = () => { if (document.hidden) resume = true; else start(); };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && stream) { resume = true; stop(); } else if (!document.hidden && resume) { resume = false; start(); }
  });
  if (new URLSearchParams(location.search).get("live") === "1") begin();
})();
