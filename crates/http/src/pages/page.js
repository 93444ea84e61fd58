// Counts down to the deadline by the server's clock, and keeps a second press from being sent.
(() => {
  // A page from the back button's memory shows an old state.
  addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });
  // The form of an end page has no deadline, and needs no script.
  const form = document.querySelector('form[data-deadline]');
  if (!form) return;
  const left = document.getElementById('left');
  const said = document.getElementById('said');
  const buttons = form.querySelectorAll('button');
  const deadline = Number(form.dataset.deadline);
  const skew = Number(form.dataset.now) - Date.now();
  const two = (n) => String(n).padStart(2, '0');
  const words = (s) => {
    if (s >= 172800) return `${Math.floor(s / 86400)} days`;
    const h = Math.floor(s / 3600);
    return `${h ? `${h}:${two(Math.floor(s / 60) % 60)}` : Math.floor(s / 60)}:${two(s % 60)}`;
  };
  let warned = false;
  const tick = () => {
    const ms = deadline - Date.now() - skew;
    if (ms <= 0) {
      left.textContent = '';
      form.dataset.over = '';
      buttons.forEach((button) => { button.disabled = true; });
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
  form.addEventListener('submit', (event) => {
    if (form.dataset.sent) { event.preventDefault(); return; }
    // Disabling the buttons now would drop the pressed one from what is sent.
    form.dataset.sent = 'yes';
    said.textContent = 'Sending…';
    setTimeout(() => {
      delete form.dataset.sent;
      if (!('over' in form.dataset)) said.textContent = 'No answer yet. You can press again.';
    }, 10000);
  });
})();
