(() => {
  const root = document.documentElement, order = ["auto", "dark", "light"];
  const keep = (name, value) => { try { localStorage.setItem(name, value); } catch { /* private window */ } };
  const kept = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
  const show = (theme) => {
    if (theme === "auto") root.removeAttribute("data-theme"); else root.dataset.theme = theme;
    for (const button of document.querySelectorAll("[data-toggle=theme]")) button.textContent = "Theme: " + theme;
  };
  let theme = order.includes(kept("theme")) ? kept("theme") : "auto";
  show(theme);
  document.addEventListener("DOMContentLoaded", () => {
    show(theme);
    for (const button of document.querySelectorAll("[data-toggle=theme]")) button.addEventListener("click", () => {
      theme = order[(order.indexOf(theme) + 1) % order.length];
      keep("theme", theme);
      show(theme);
    });
    for (const button of document.querySelectorAll("[data-toggle=code]")) button.addEventListener("click", () => {
      const hidden = document.body.classList.toggle("hide-code");
      button.textContent = hidden ? "Show code" : "Hide code";
      button.setAttribute("aria-pressed", String(hidden));
    });
    const open = () => {
      const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
      if (target && target.tagName === "DETAILS") target.open = true;
    };
    addEventListener("hashchange", open);
    open();
  });
})();
