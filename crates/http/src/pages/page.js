// Counts down to the deadline by the server's clock, and keeps a second press from being sent.
(() => {
  // A page from the back button's memory shows an old state.
  addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });
  const bar = document.querySelector('.bar');
  if (!bar) return;
  const left = document.getElementById('left');
  const said = document.getElementById('said');
  const sheet = bar.querySelector('.sheet');
  const opener = sheet.querySelector('summary');
  const deadline = Number(bar.dataset.deadline);
  const skew = Number(bar.dataset.now) - Date.now();
  const two = (n) => String(n).padStart(2, '0');
  const words = (s) => {
    if (s >= 172800) return `${Math.floor(s / 86400)} days`;
    const h = Math.floor(s / 3600);
    return `${h ? `${h}:${two(Math.floor(s / 60) % 60)}` : Math.floor(s / 60)}:${two(s % 60)}`;
  };
  // A touch says that a person has it open. Scanners run scripts as well, but touch nothing. Buttons speak for themselves.
  const touches = ['pointerdown', 'keydown', 'wheel'];
  const touched = (event) => {
    if (!event.isTrusted || document.hidden || (event.target.closest && event.target.closest('button'))) return;
    touches.forEach((kind) => removeEventListener(kind, touched));
    const body = new URLSearchParams({ nonce: bar.querySelector('[name=nonce]').value });
    fetch(`${location.pathname}?seen`, { method: 'POST', body, redirect: 'error', keepalive: true }).catch(() => {});
  };
  if ('nudged' in bar.dataset) touches.forEach((kind) => addEventListener(kind, touched, { passive: true }));
  let warned = false;
  const tick = () => {
    const ms = deadline - Date.now() - skew;
    if (ms <= 0) {
      left.textContent = '';
      bar.dataset.over = '';
      sheet.open = false;
      opener.setAttribute('aria-disabled', 'true');
      bar.querySelectorAll('button').forEach((button) => { button.disabled = true; });
      said.textContent = 'The time to answer has passed. You can no longer answer here.';
      return;
    }
    const s = Math.ceil(ms / 1000);
    left.textContent = `${words(s)} left`;
    if (s <= 60) {
      left.className = 'soon';
      // One announcement, not one a second.
      if (!warned && !said.textContent) said.textContent = 'Less than a minute left.';
      warned = true;
    }
    setTimeout(tick, Math.min(1000, ms % 1000 || 1000));
  };
  tick();
  // The sheet closes as sheets do: by Escape, or by a tap beside it.
  addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && sheet.open) { sheet.open = false; opener.focus(); }
  });
  addEventListener('click', (event) => { if (!sheet.contains(event.target)) sheet.open = false; });
  sheet.addEventListener('toggle', () => { opener.setAttribute('aria-expanded', String(sheet.open)); });
  // With scripts, a tap on a reason is the answer; arrow keys only choose.
  let tapped = false;
  sheet.addEventListener('pointerdown', () => { tapped = true; });
  sheet.addEventListener('keydown', () => { tapped = false; });
  sheet.addEventListener('change', (event) => {
    if (tapped && event.target.name === 'because') event.target.form.requestSubmit(sheet.querySelector('button.no'));
  });
  bar.addEventListener('submit', (event) => {
    if (bar.dataset.sent) { event.preventDefault(); return; }
    // Disabling the buttons now would drop the pressed one from what is sent.
    bar.dataset.sent = 'yes';
    said.textContent = 'Sending…';
    setTimeout(() => {
      delete bar.dataset.sent;
      if (!('over' in bar.dataset)) said.textContent = 'No answer yet. You can press again.';
    }, 10000);
  });
})();
