// Asks its own address for news and swaps what has changed; the focus stays where it was.
(() => {
  const part = (id, from = document) => from.getElementById(id);
  const usual = 3000;
  let pause = usual;
  let timer = 0;
  let busy = false;
  const swap = (fresh) => {
    inLocalTime(fresh);
    const list = part('list');
    const news = part('list', fresh);
    if (list.innerHTML !== news.innerHTML) {
      const focused = document.activeElement && document.activeElement.getAttribute('href');
      list.replaceChildren(...news.childNodes);
      const again = focused && [...list.querySelectorAll('a')].find((link) => link.getAttribute('href') === focused);
      if (again) again.focus({ preventScroll: true });
    }
    const count = part('count', fresh).textContent;
    // Written only when it differs: a live region speaks on every write.
    if (part('count').textContent !== count) part('count').textContent = count;
    document.title = fresh.title;
  };
  const ask = async () => {
    if (busy) return;
    busy = true;
    clearTimeout(timer);
    try {
      const answer = await fetch(location.href, { cache: 'no-store', redirect: 'error' });
      if (answer.status === 404 || answer.status === 410) { location.reload(); return; }
      if (!answer.ok) throw new Error(answer.status);
      swap(new DOMParser().parseFromString(await answer.text(), 'text/html'));
      part('trouble').hidden = true;
      pause = usual;
    } catch {
      part('trouble').hidden = false;
      pause = Math.min(pause * 2, 30000);
    }
    busy = false;
    if (!document.hidden) timer = setTimeout(ask, pause);
  };
  document.addEventListener('visibilitychange', () => { if (!document.hidden) ask(); });
  addEventListener('pageshow', (event) => { if (event.persisted) ask(); });
  timer = setTimeout(ask, pause);
})();
