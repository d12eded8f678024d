"use strict";
// Everything works without this but what is live: new events, times in the reader's zone, keys, copying.
(() => {
  const base = document.body.dataset.base;
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
  // The server escapes what it sends as rows; nothing else is ever taken for markup.
  const trusted = window.trustedTypes?.createPolicy("rows", { createHTML: (html) => html });

  // Times in the reader's zone, with the exact one on hover.
  const zone = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  const localise = (within) => {
    for (const time of $$("time", within)) {
      const date = new Date(time.dateTime);
      if (time.title || Number.isNaN(date.getTime())) continue;
      time.title = time.dateTime;
      time.textContent = zone.format(date);
    }
  };
  localise(document);

  // Copying.
  const copy = async (button, text) => {
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      button.textContent = document.execCommand("copy") ? "Copied" : "Select and copy it";
      area.remove();
    }
    setTimeout(() => { button.textContent = label; }, 2000);
  };
  for (const button of $$("[data-copy], [data-copy-text]")) {
    button.hidden = false;
    const text = () => button.dataset.copyText ?? document.getElementById(button.dataset.copy).textContent;
    button.addEventListener("click", () => copy(button, text()));
  }

  // Keys.
  const help = $("#keys");
  const keysButton = $("[data-keys]");
  if (keysButton) {
    keysButton.hidden = false;
    keysButton.addEventListener("click", () => help.showModal());
  }
  // The address of a search says what was asked for, and no more.
  $(".filters")?.addEventListener("formdata", ({ formData }) => {
    for (const [name, value] of [...formData]) if (!value) formData.delete(name);
  });

  const rows = $("#rows");
  let selected = null;
  const select = (row) => {
    if (!row) return;
    selected?.removeAttribute("aria-selected");
    selected = row;
    row.setAttribute("aria-selected", "true");
    $("a", row).focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  };
  const go = (selector) => { const link = $(selector); if (link) location.assign(link.href); };
  const keys = {
    j: () => (rows ? select(selected?.isConnected ? selected.nextElementSibling : rows.firstElementChild) : go(".crumbs [rel=next]")),
    k: () => (rows ? select(selected?.isConnected ? selected.previousElementSibling : rows.firstElementChild) : go(".crumbs [rel=prev]")),
    "/": () => ($("input[type=search]") ? $("input[type=search]").focus() : location.assign(`${base}/`)),
    r: () => (rows ? live?.show() : $("#replay select, #replay input, #replay button")?.focus()),
    u: () => go("[data-up]"),
    "?": () => help.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (event.target.closest?.("input, select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const act = keys[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });

  // New events: put in at the top, unless somebody reads further down or has selected something.
  const MOST_ROWS = 300;
  const AT_ONCE = 1000;
  // So many nobody reads one by one: they come in once a second, as each time the whole list is laid out and painted.
  const MANY = 20;
  let live = null;
  const place = $("#live");
  if (rows && place?.dataset.live === "true") live = follow();

  function follow() {
    const button = $("#new");
    const query = place.dataset.query;
    let after = Number(place.dataset.after);
    let waiting = [];
    let scheduled = false;
    let lastPut = -Infinity;
    // So many waited, and were let go: newer ones fill the list.
    let dropped = 0;
    const separator = query ? "&" : "?";
    const address = (path) => `${base}/events/${path}${query}${separator}after=${after}`;
    const say = (text) => { if (place.textContent !== text) place.textContent = text; };
    const isPaused = () => window.scrollY > 80 || selected?.isConnected || !(getSelection()?.isCollapsed ?? true);

    const read = (html) => {
      const template = document.createElement("template");
      template.innerHTML = trusted ? trusted.createHTML(html) : html;
      return $$("tr", template.content);
    };
    const take = (html) => {
      const known = waiting.length ? waiting[0] : rows.firstElementChild;
      let newest = Number(known?.dataset.seq ?? 0);
      // A message is newest first. What is there already does not come in a second time.
      const fresh = read(html).reverse().filter((row) => Number(row.dataset.seq) > newest);
      for (const row of fresh) waiting.unshift(row);
      schedule();
    };
    const schedule = () => {
      if (scheduled) return;
      scheduled = true;
      const look = () => { scheduled = false; if (isPaused()) keep(); else put(AT_ONCE); };
      const wait = waiting.length < MANY ? 0 : lastPut + 1000 - performance.now();
      if (wait > 0) setTimeout(() => requestAnimationFrame(look), wait); else requestAnimationFrame(look);
    };
    const tell = () => {
      const count = waiting.length + dropped;
      button.hidden = count === 0;
      button.textContent = count === 1 ? "1 new event" : `${count} new events`;
    };
    const keep = () => {
      dropped += Math.max(0, waiting.length - AT_ONCE);
      waiting.length = Math.min(waiting.length, AT_ONCE);
      tell();
    };
    // Not all at a time, so that the page stays quick whatever comes.
    const put = (most) => {
      const some = waiting.splice(-most);
      if (some.length) {
        lastPut = performance.now();
        dropped = 0;
        $("#empty")?.remove();
        rows.prepend(...some);
        while (rows.children.length > MOST_ROWS) rows.lastElementChild.remove();
        // Of many nobody sees that they are new, and each would be painted again and again.
        for (const row of some.slice(0, MOST_ROWS)) {
          for (const link of $$("a", row)) link.search = rows.dataset.address;
          localise(row);
          row.classList.toggle("fresh", some.length < MANY);
        }
        trimmed();
      }
      tell();
      if (waiting.length) schedule();
    };
    // What was taken out at the end is where the older ones begin.
    const trimmed = () => {
      const last = rows.lastElementChild?.dataset.seq;
      if (rows.children.length < MOST_ROWS || !last) return;
      let older = $(".pager [rel=next]");
      if (!older) {
        older = document.createElement("a");
        older.rel = "next";
        older.textContent = "Older";
        $(".pager").append(older);
      }
      older.href = `${base}/${query}${separator}before=${last}`;
    };
    const show = () => {
      selected?.removeAttribute("aria-selected");
      selected = null;
      getSelection()?.removeAllRanges();
      window.scrollTo(0, 0);
      put(AT_ONCE);
    };
    button.addEventListener("click", show);
    addEventListener("scroll", () => { if (waiting.length && !isPaused()) schedule(); }, { passive: true });
    document.addEventListener("selectionchange", () => { if (waiting.length && !isPaused()) schedule(); });

    // By a stream; where a proxy keeps it back, by asking, and by a stream again once one comes through.
    let polling = false;
    let turn = 0;
    let again = null;
    const stream = () => {
      const source = new EventSource(address("stream"));
      let hears = null;
      const giveUp = () => { clearTimeout(hears); source.close(); poll(); };
      const wait = (time) => { clearTimeout(hears); hears = setTimeout(giveUp, time); };
      const heard = () => {
        polling = false;
        say("Live");
        wait(15000);
      };
      wait(6000);
      // Where one was held back, a beginning is not enough.
      source.addEventListener("hello", () => { if (polling) wait(15000); else heard(); });
      source.addEventListener("beat", heard);
      source.addEventListener("rows", (event) => {
        heard();
        after = Math.max(after, Number(event.lastEventId));
        take(event.data);
      });
      source.addEventListener("error", () => {
        if (!polling) say("Reconnecting…");
        if (source.readyState === EventSource.CLOSED) giveUp();
      });
    };
    const poll = () => {
      clearTimeout(again);
      again = setTimeout(stream, 60000);
      if (!polling) { polling = true; ask(); }
    };
    const ask = async () => {
      const mine = ++turn;
      while (polling && mine === turn) {
        try {
          const answer = await fetch(address("new"), { headers: { accept: "application/json" } });
          if (answer.status === 401) { say("Signed out: reload the page"); return; }
          if (!answer.ok) throw new Error(String(answer.status));
          const found = await answer.json();
          if (polling) say("Live, every 2 seconds");
          const more = found.after > after;
          after = Math.max(after, found.after);
          take(found.rows);
          if (more) continue;
        } catch {
          if (polling) say("Reconnecting…");
        }
        await new Promise((resolve) => { setTimeout(resolve, 2000); });
      }
    };
    stream();
    return { show };
  }

  // What became of events that are on the page.
  const refresh = async () => {
    const open = $$("#rows tr").filter((row) => row.dataset.state === "pending" || row.dataset.state === "stored").slice(0, 200);
    if (open.length && !document.hidden) {
      const numbers = open.map((row) => Number(row.dataset.seq));
      try {
        const answer = await fetch(`${base}/events/states?from=${Math.min(...numbers)}&to=${Math.max(...numbers)}`);
        const states = answer.ok ? await answer.json() : {};
        for (const row of open) {
          const [state, duplicates] = states[row.dataset.seq] ?? [];
          if (!state) continue;
          const shown = $(".state", row);
          if (shown.textContent !== state) {
            shown.textContent = state;
            shown.className = `state ${state}`;
            row.dataset.state = state;
          }
          const dup = $(".dup", row);
          dup.hidden = !duplicates;
          dup.textContent = `×${duplicates + 1}`;
        }
      } catch {
        // The next time.
      }
    }
    setTimeout(refresh, 2000);
  };
  if (rows) setTimeout(refresh, 1000);

  // A job.
  const job = $("#job");
  const watch = async () => {
    try {
      const answer = await fetch(`${base}/jobs/${job.dataset.job}`, { headers: { accept: "application/json" } });
      const { state, looked_at: looked, text, total } = await answer.json();
      $("#job-text").textContent = text;
      const bar = $("#job-bar");
      bar.max = Math.max(total, 1);
      bar.value = looked;
      if (state !== "running") { location.reload(); return; }
    } catch {
      // The next time.
    }
    setTimeout(watch, 500);
  };
  if (job?.dataset.state === "running") setTimeout(watch, 300);
})();
