// asynqmon's page keeps it to itself when an action is refused. This shows why,
// and leads to the login when the session is over.
(() => {
  "use strict";

  function say(text) {
    document.querySelector(".easel-toast")?.remove();
    const toast = document.createElement("div");
    toast.className = "easel-toast";
    toast.setAttribute("role", "alert");
    toast.textContent = text;
    document.body.append(toast);
    setTimeout(() => toast.remove(), 10_000);
  }

  function reasons(body) {
    try {
      return [...new Set(Object.values(JSON.parse(body).reasons ?? {}))].join(" ");
    } catch {
      return "";
    }
  }

  function look(method, request) {
    if (request.status === 401) {
      location.assign("/login?next=" + encodeURIComponent(location.pathname + location.search));
    } else if (method !== "GET" && request.status >= 400) {
      say(request.responseText || "That did not work.");
    } else if (method !== "GET" && request.status === 200) {
      const why = reasons(request.responseText);
      if (why) say(why);
    }
  }

  const open = XMLHttpRequest.prototype.open;
  XMLHttpRequest.prototype.open = function (method, ...rest) {
    this.addEventListener("load", () => look(method.toUpperCase(), this));
    return open.call(this, method, ...rest);
  };
})();
