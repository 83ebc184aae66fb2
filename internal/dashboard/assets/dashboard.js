// Small things only; every page works without it.
(() => {
  "use strict";

  // What cannot be undone is asked about first.
  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.confirm;
    if (question && !confirm(question)) event.preventDefault();
  });

  // "Open a job by its id" goes straight to its page.
  document.querySelector("[data-open-job]")?.addEventListener("submit", (event) => {
    event.preventDefault();
    const id = new FormData(event.target).get("job").trim();
    if (id) location.assign("/jobs/" + encodeURIComponent(id));
  });

  // The live part of a page is fetched again and put in place of the old one,
  // unless somebody is at work in it.
  const busy = (live) =>
    document.hidden || live.contains(document.activeElement) || live.querySelector("details[open]") ||
    [...live.querySelectorAll("video, audio")].some((media) => !media.paused);

  async function refresh(live) {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById(live.id);
    if (!fresh || busy(live) || fresh.innerHTML === live.innerHTML) return;
    for (const name of fresh.getAttributeNames()) live.setAttribute(name, fresh.getAttribute(name));
    keepMedia(live, fresh);
    live.replaceChildren(...fresh.childNodes);
  }

  // Pictures that stay are moved over, so that they do not flicker.
  function keepMedia(live, fresh) {
    for (const media of fresh.querySelectorAll("img[src], video[src], audio[src]")) {
      const old = live.querySelector(media.localName + '[src="' + CSS.escape(media.getAttribute("src")) + '"]');
      if (old) media.replaceWith(old);
    }
  }

  async function watch(live) {
    for (;;) {
      await new Promise((done) => setTimeout(done, 1000 * Number(live.dataset.live || 5)));
      if (busy(live)) continue;
      try {
        await refresh(live);
      } catch {
        // The server is away for a moment; the next round asks again.
      }
    }
  }

  const live = document.querySelector("[data-live]");
  if (live) watch(live);
})();
