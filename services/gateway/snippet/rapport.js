// Rapport's tracking snippet: tells what happens on a page, without getting in its way.
//
//   <script async src="https://HOST/rapport.js" data-write-key="KEY"></script>
//
// Before it is there, calls wait: window.rapport = window.rapport || []; rapport.push(["track", "Signed Up"]).
// Afterwards rapport.track(…) and the like. Attributes: data-host (where events go; default: where
// the script is from), data-consent="required" (nothing is kept or sent before rapport.consent(true)),
// data-respect-dnt (nothing at all when the browser asks not to be tracked), data-auto (what it does
// by itself; default "page dwell clicks forms"), data-query (names of query parameters that addresses keep,
// besides campaigns and click ids; everything else of a query may be private and is left out).
//
// An event has its id from the start and is kept in localStorage until the answer says that it is
// durable: reloads, lost connections and a second tab repeat it at most, and a repeat has no effect.
(() => {
  "use strict";
  const script = document.currentScript || document.querySelector("script[data-write-key]");
  const settings = (script && script.dataset) || {};
  const waiting = Array.isArray(window.rapport) ? window.rapport : [];
  if (!settings.writeKey) {
    console.error("rapport.js: the script element needs data-write-key");
    return;
  }
  if (window.rapport && window.rapport.version) return; // a second script element

  const VERSION = "0.1.0";
  const HOST = (settings.host || new URL(script.src, location.href).origin).replace(/\/+$/, "");
  const AUTO = new Set((settings.auto || "page dwell clicks forms").split(/\s+/));
  const REFUSED =
    "respectDnt" in settings && (navigator.doNotTrack === "1" || navigator.globalPrivacyControl === true);
  // Sites share an origin's storage: events wait for the page with the key that they were made for.
  const OWN = settings.writeKey.slice(-12);
  const EVENTS = "rapport.event.";
  const PREFIX = `${EVENTS}${OWN}.`;
  const KEPT_DAYS = 30; // then nobody comes for them any more
  const KEPT = 500; // events that wait at most; then the oldest goes
  const BATCH = 10;
  const PAUSE_MS = 1000; // an event waits for others that long
  const LONGEST_MS = 60000;
  const KEEPALIVE_BYTES = 60000; // browsers allow 64 KiB at a time while a page closes
  const CLICK_IDS = ["gclid", "gbraid", "wbraid", "msclkid", "fbclid", "ttclid", "twclid", "li_fat_id", "bd_vid", "qhclickid", "sogou_vid"];
  const DOWNLOAD = /\.(csv|docx?|dmg|epub|exe|gz|mp3|mp4|pdf|pptx?|rar|tgz|xlsx?|zip)$/i;

  // -- what is kept in the browser --

  // Without storage (blocked, full) events live as long as the page.
  const memory = new Map();
  const storage = {
    get(key) {
      if (memory.has(key)) return memory.get(key);
      try {
        return localStorage.getItem(key);
      } catch {
        return null;
      }
    },
    set(key, value) {
      try {
        localStorage.setItem(key, value);
        memory.delete(key);
      } catch {
        memory.set(key, value);
      }
    },
    remove(key) {
      memory.delete(key);
      try {
        localStorage.removeItem(key);
      } catch {
        // It was never there.
      }
    },
    events(prefix = PREFIX) {
      const keys = new Set(memory.keys());
      try {
        for (let n = 0; n < localStorage.length; n++) keys.add(localStorage.key(n));
      } catch {
        // Those in memory are all.
      }
      return [...keys].filter((key) => key.startsWith(prefix)).sort();
    },
  };

  const id = () =>
    crypto.randomUUID
      ? crypto.randomUUID()
      : "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (c) =>
          (c ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (c / 4)))).toString(16),
        );

  const cookie = () => (document.cookie.match(/(?:^|; )rapport_id=([\w-]+)/) || [])[1];

  // One id of this browser: in localStorage, and in a first-party cookie where that is lost sooner.
  function anonymousId() {
    let value = storage.get("rapport.anonymous") || cookie();
    if (!value) value = id();
    storage.set("rapport.anonymous", value);
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `rapport_id=${value}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
    return value;
  }

  // A no holds on the next page and in the other tabs, too.
  const granted = () =>
    settings.consent === "required"
      ? storage.get("rapport.consent") === "yes"
      : storage.get("rapport.consent") !== "no";
  const allowed = () => !REFUSED && granted();

  // -- events --

  // What the page was, for events that tell of it after it has changed.
  function seen() {
    const url = clean(location.href);
    const { search } = new URL(url || "about:blank");
    return { url, path: location.pathname, search, title: document.title, referrer: previous };
  }

  // Queries and fragments hold tokens, addresses, searches: only what tells of campaigns stays.
  const QUERY = new Set([...CLICK_IDS, ...(settings.query || "").split(/\s+/).filter(Boolean)]);
  function clean(address) {
    let url;
    try {
      url = new URL(address);
    } catch {
      return "";
    }
    for (const name of [...url.searchParams.keys()]) {
      if (!name.startsWith("utm_") && !QUERY.has(name)) url.searchParams.delete(name);
    }
    url.username = "";
    url.password = "";
    // Of pages that keep their path there.
    url.hash = /^#!?\//.test(url.hash) ? url.hash.split("?")[0] : "";
    return url.href;
  }
  let previous = clean(document.referrer);
  let address = location.href;
  let page = seen();

  function context() {
    const all = {
      page,
      locale: navigator.language,
      timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      userAgent: navigator.userAgent,
      screen: { width: screen.width, height: screen.height },
      library: { name: "rapport.js", version: VERSION },
    };
    const query = new URLSearchParams(page.search);
    const campaign = {};
    for (const [key, value] of query) {
      if (key.startsWith("utm_") && value) campaign[key === "utm_campaign" ? "name" : key.slice(4)] = value;
    }
    if (Object.keys(campaign).length) all.campaign = campaign;
    const click = CLICK_IDS.find((name) => query.get(name));
    if (click) all.click = { type: click, id: query.get(click) };
    const dropped = Number(storage.get("rapport.dropped"));
    if (dropped) all.dropped = dropped;
    return all;
  }

  let number = 0;
  function keep(event) {
    if (!allowed()) return;
    const whole = {
      messageId: id(),
      timestamp: new Date().toISOString(),
      anonymousId: anonymousId(),
      context: context(),
      ...event,
    };
    const userId = storage.get("rapport.user");
    if (userId && !whole.userId) whole.userId = userId;
    const kept = storage.events();
    if (kept.length >= KEPT) {
      storage.remove(kept[0]);
      storage.set("rapport.dropped", String(Number(storage.get("rapport.dropped")) + 1));
    }
    // Sorted by time, then by the order on this page.
    number += 1;
    const place = `${Date.now()}.${String(number).padStart(6, "0")}`;
    storage.set(`${PREFIX}${place}.${whole.messageId}`, JSON.stringify(whole));
    plan(kept.length + 1 >= BATCH ? 0 : PAUSE_MS);
  }

  const text = (value) => (value === undefined || value === null ? undefined : String(value));
  const api = {
    version: VERSION,
    track: (event, properties) => keep({ type: "track", event: text(event), properties }),
    page: (name, properties) => keep({ type: "page", name: text(name), properties: { ...page, ...properties } }),
    identify(userId, traits) {
      // identify({…}) tells about somebody whose id is not known.
      if (userId !== null && typeof userId === "object") [userId, traits] = [undefined, userId];
      if (!allowed()) return;
      if (text(userId)) storage.set("rapport.user", text(userId));
      keep({ type: "identify", userId: text(userId), traits });
    },
    alias(userId, previousId) {
      if (!allowed()) return;
      keep({ type: "alias", userId: text(userId), previousId: text(previousId) || anonymousId() });
    },
    group: (groupId, traits) => keep({ type: "group", groupId: text(groupId), traits }),
    // Somebody else sits down: another id from now on.
    reset() {
      storage.remove("rapport.user");
      storage.remove("rapport.anonymous");
      document.cookie = "rapport_id=; Path=/; Max-Age=0";
    },
    // No takes back what waits and what was kept.
    consent(yes) {
      if (REFUSED) return;
      const before = allowed();
      storage.set("rapport.consent", yes === true ? "yes" : "no");
      if (yes === true) {
        if (!before) arrive();
        return;
      }
      storage.events(EVENTS).forEach(storage.remove);
      storage.remove("rapport.dropped");
      api.reset();
    },
    push(...calls) {
      for (const [name, ...words] of calls) {
        if (typeof api[name] === "function" && name !== "push") api[name](...words);
        else console.error(`rapport.js: there is no ${name}`);
      }
    },
  };

  // -- delivery --

  let timer = 0;
  let due = Infinity;
  let failures = 0;
  let blockedUntil = 0;
  function plan(ms) {
    const at = Math.max(Date.now() + ms, blockedUntil);
    if (at >= due) return;
    clearTimeout(timer);
    due = at;
    timer = setTimeout(() => {
      due = Infinity;
      flush();
    }, at - Date.now());
  }

  // Of several tabs one sends; the others' events lie in the same storage.
  function flush() {
    if (!navigator.locks) return deliver();
    return navigator.locks
      .request(`rapport.send.${OWN}`, { ifAvailable: true }, (lock) => (lock ? deliver() : plan(PAUSE_MS)))
      .catch(deliver); // where storage is blocked, locks are refused
  }

  function body(keys) {
    const events = keys.map(storage.get).filter(Boolean);
    const sentAt = JSON.stringify(new Date().toISOString());
    return `{"writeKey":${JSON.stringify(settings.writeKey)},"sentAt":${sentAt},"batch":[${events.join(",")}]}`;
  }

  // A plain text needs no question beforehand (CORS preflight).
  const post = (content, keepalive) =>
    fetch(`${HOST}/v1/batch`, {
      method: "POST",
      body: content,
      keepalive,
      credentials: "omit",
      headers: { "content-type": "text/plain" },
      // One that hangs must not keep the other tabs waiting.
      signal: keepalive || !AbortSignal.timeout ? undefined : AbortSignal.timeout(20000),
    });

  async function deliver() {
    const keys = storage.events().slice(0, BATCH);
    if (!keys.length || !allowed()) return;
    let answer;
    try {
      answer = await post(body(keys), false);
    } catch {
      answer = undefined; // no connection
    }
    const status = answer ? answer.status : 0;
    const passes = status === 0 || status >= 500 || [408, 425, 429].includes(status);
    if (passes) {
      failures += 1;
      const asked = answer ? Number(answer.headers.get("retry-after")) * 1000 : 0;
      const own = Math.min(LONGEST_MS, 500 * 2 ** failures) * (0.5 + Math.random() / 2);
      blockedUntil = Date.now() + (asked || own);
      return plan(0);
    }
    // Taken, or never to be taken.
    keys.forEach(storage.remove);
    failures = 0;
    blockedUntil = 0;
    if (storage.events().length) plan(0);
  }

  // The page may close: whatever is not answered stays, and is repeated by the next page.
  function last() {
    if (!allowed() || Date.now() < blockedUntil) return;
    let keys = storage.events().slice(0, 5 * BATCH);
    let content = body(keys);
    while (keys.length > 1 && content.length > KEEPALIVE_BYTES / 2) {
      keys = keys.slice(0, keys.length / 2);
      content = body(keys);
    }
    if (!keys.length) return;
    post(content, true)
      .then((answer) => answer.ok && keys.forEach(storage.remove))
      .catch(() => {});
  }

  // -- what it sees by itself --

  let visibleSince = document.visibilityState === "visible" ? performance.now() : undefined;
  let deepest = 0;
  function scrolled() {
    const whole = document.documentElement.scrollHeight - innerHeight;
    deepest = Math.max(deepest, whole > 0 ? Math.min(1, scrollY / whole) : 1);
  }

  // One event for each stretch of time in which the page could be seen; their sum is the dwell.
  function dwelled() {
    if (visibleSince === undefined) return;
    const ms = Math.round(performance.now() - visibleSince);
    visibleSince = undefined;
    if (AUTO.has("dwell") && ms >= 500) {
      api.track("Page Dwelled", { duration_ms: ms, scroll_depth: Math.round(deepest * 100) / 100 });
    }
  }

  function arrive() {
    deepest = 0;
    if (document.visibilityState === "visible") visibleSince = performance.now();
    if (AUTO.has("page")) api.page();
  }

  // Pages that change without being loaded.
  function moved() {
    if (location.href === address) return;
    dwelled();
    previous = page.url;
    address = location.href;
    const now = (page = seen());
    deepest = 0;
    if (document.visibilityState === "visible") visibleSince = performance.now();
    // Routers write the title of a view after its address.
    setTimeout(() => {
      if (page !== now) return;
      page.title = document.title;
      if (AUTO.has("page")) api.page();
    }, 0);
  }

  function clicked(event) {
    const target = event.target instanceof Element ? event.target : undefined;
    const named = target && target.closest("[data-rapport-event]");
    if (named) {
      const properties = {};
      for (const [key, value] of Object.entries(named.dataset)) {
        if (key.startsWith("rapport") && key !== "rapportEvent") {
          properties[key.charAt(7).toLowerCase() + key.slice(8)] = value;
        }
      }
      api.track(named.dataset.rapportEvent, properties);
    }
    const link = target && target.closest("a[href]");
    if (!link || !/^https?:$/.test(link.protocol)) return;
    // Without its query, which may hold anything.
    const url = link.origin + link.pathname;
    if (link.hasAttribute("download") || DOWNLOAD.test(link.pathname)) {
      api.track("File Downloaded", { url });
    } else if (link.host !== location.host) {
      api.track("Link Clicked", { url, host: link.host });
    }
  }

  // Never what was written into a field.
  function submitted(event) {
    const form = event.target;
    if (!(form instanceof HTMLFormElement)) return;
    // By attribute: a field of that name would stand before the property.
    const name = form.getAttribute("name") || form.getAttribute("id") || undefined;
    const action = new URL(form.getAttribute("action") || "", location.href);
    const path = /^https?:$/.test(action.protocol) ? action.pathname : undefined;
    api.track("Form Submitted", { form: name, path });
  }

  for (const name of ["pushState", "replaceState"]) {
    const original = history[name];
    history[name] = function (...words) {
      const answer = original.apply(this, words);
      moved();
      return answer;
    };
  }
  addEventListener("popstate", moved);
  addEventListener("hashchange", moved);
  addEventListener("scroll", scrolled, { passive: true });
  addEventListener("online", () => {
    blockedUntil = 0;
    plan(0);
  });
  if (AUTO.has("clicks")) document.addEventListener("click", clicked, true);
  if (AUTO.has("forms")) document.addEventListener("submit", submitted, true);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") {
      dwelled();
      last();
    } else {
      visibleSince = performance.now();
    }
  });
  addEventListener("pagehide", () => {
    dwelled();
    last();
  });
  // Back from the browser's memory of whole pages.
  addEventListener("pageshow", (event) => {
    if (event.persisted) arrive();
  });

  window.rapport = api;
  for (const key of storage.events(EVENTS)) {
    const made = Number(key.slice(EVENTS.length).split(".")[1]);
    if (!(made > Date.now() - KEPT_DAYS * 86400000)) storage.remove(key);
  }
  if (allowed()) arrive();
  api.push(...waiting);
  if (storage.events().length) plan(0); // what earlier pages left
})();
