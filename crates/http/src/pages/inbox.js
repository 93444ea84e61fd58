// Keeps the list fresh, decides in place, and lets the keyboard do it all. Nothing here is needed to decide.
(() => {
  const part = (id, from = document) => from.getElementById(id);
  const root = () => part('inbox');
  const shown = () => root().dataset;
  let skew = Number(shown().now) - Date.now();
  const rows = () => [...document.querySelectorAll('#list>li')];
  const rowOf = (node) => node && node.closest && node.closest('.row-of');

  // Every row that is as it was stays the very same node: what is open, typed or focused in it stays, too.
  const mergeList = (id, fresh) => {
    const list = part(id);
    const news = part(id, fresh);
    if (!list || !news) return;
    const known = new Map([...list.children].map((row) => [row.id, row]));
    const next = [...news.children].map((row) => {
      const old = known.get(row.id);
      return old && old.dataset.v === row.dataset.v ? old : row;
    });
    if (next.length !== list.children.length || next.some((row, at) => row !== list.children[at])) {
      const focused = document.activeElement;
      const row = rowOf(focused);
      const at = rows().indexOf(row);
      list.replaceChildren(...next);
      if (row && !document.contains(focused)) {
        const again = (row.id && part(row.id)) || rows()[Math.min(at, rows().length - 1)];
        if (again) again.focus({ preventScroll: true });
      } else if (focused !== document.body && document.contains(focused) && focused !== document.activeElement) {
        focused.focus({ preventScroll: true });
      }
    }
  };
  const swap = (fresh, answer) => {
    const news = part('inbox', fresh);
    if (!news) { location.reload(); return; }
    inLocalTime(fresh);
    skew = Number(news.dataset.now) - Date.now();
    if (answer || !part('list') || !part('list', fresh)) {
      // An answer to a press, or the way back from one.
      root().replaceWith(news);
      const heading = document.querySelector('h1[tabindex]') || part('result');
      if (heading) {
        heading.tabIndex = -1;
        heading.focus({ preventScroll: true });
        if (answer) scrollTo({ top: 0 });
      }
    } else {
      mergeList('list', fresh);
      const count = part('count', fresh);
      // Written only when it differs: a live region speaks on every write.
      if (part('count').textContent !== count.textContent) part('count').textContent = count.textContent;
      part('count').dataset.waiting = count.dataset.waiting;
      const outside = (from) => [...part('inbox', from).children].filter((node) => !['list', 'count', 'result', 'trouble', 'help', 'push'].includes(node.id) && node.tagName !== 'H1');
      const rest = outside(fresh);
      const old = outside(document);
      if (rest.map((node) => node.outerHTML).join() !== old.map((node) => node.outerHTML).join()) {
        old.forEach((node) => node.remove());
        let before = part('count').nextElementSibling;
        for (const node of [...news.children]) {
          const own = node.id && part(node.id);
          if (own && root().contains(own)) before = own;
          else if (node.tagName !== 'H1') { before.after(node); before = node; }
        }
      }
      Object.assign(root().dataset, news.dataset);
      if (part('push') && part('push', fresh)) Object.assign(part('push').dataset, part('push', fresh).dataset);
    }
    showPush();
    document.title = fresh.title;
    badge();
    tick();
  };
  const badge = () => {
    const waiting = part('count') && Number(part('count').dataset.waiting);
    if (navigator.setAppBadge && waiting !== null) navigator.setAppBadge(waiting || undefined).catch(() => {});
    if (navigator.clearAppBadge && waiting === 0) navigator.clearAppBadge().catch(() => {});
  };

  // Minutes that are left, by the gate's clock.
  const words = (ms) => {
    const m = Math.floor(ms / 60000);
    if (ms <= 0) return 'time is over';
    if (m < 1) return 'less than a minute left';
    if (m < 60) return `${m} min left`;
    if (m < 1440) return `${Math.floor(m / 60)} h${m % 60 ? ` ${m % 60} min` : ''} left`;
    const d = Math.floor(m / 1440);
    return d === 1 ? `1 day${Math.floor(m / 60) % 24 ? ` ${Math.floor(m / 60) % 24} h` : ''} left` : `${d} days left`;
  };
  const tick = () => {
    for (const row of rows()) {
      const left = row.querySelector('.left');
      const ms = Number(row.dataset.deadline) - Date.now() - skew;
      const text = words(ms);
      if (left && left.textContent !== text) left.textContent = text;
      if (left) left.classList.toggle('soon', ms < 120000);
    }
  };
  setInterval(tick, 5000);

  // Push on this device: offered only where the browser can, and asked for only at a press.
  const canPush = isSecureContext && 'serviceWorker' in navigator && 'PushManager' in globalThis && 'Notification' in globalThis;
  const deviceOf = async (endpoint) => {
    const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(endpoint));
    return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('').slice(0, 32);
  };
  const subscribed = async () => {
    const worker = await navigator.serviceWorker.getRegistration(shown().scope);
    return worker ? worker.pushManager.getSubscription() : null;
  };
  const pushDevices = () => part('push').dataset.devices.split(' ').filter(Boolean);
  const drawPush = (isOn, words) => {
    const box = part('push');
    const [button, hint] = box.children;
    const text = isOn ? 'Stop push on this device' : 'Push to this device';
    if (button.textContent !== text) button.textContent = text;
    button.dataset.on = isOn ? 'yes' : '';
    button.hidden = !isOn && Notification.permission === 'denied';
    const says = words || (button.hidden
      ? 'Your browser blocks notifications from this page: its settings can allow them.'
      : isOn ? 'This device is told when something waits for you.' : 'A notification here when something waits for you.');
    if (hint.textContent !== says) hint.textContent = says;
    box.hidden = false;
  };
  const showPush = async () => {
    if (!canPush || !part('push') || part('push').dataset.busy) return;
    try {
      const own = await subscribed();
      const device = own && await deviceOf(own.endpoint);
      if (part('push') && !part('push').dataset.busy) drawPush(Boolean(device) && pushDevices().includes(device));
    } catch {
      // Then there is no push here.
    }
  };
  const tellPush = async (fields) => {
    const body = new URLSearchParams({ nonce: part('push').dataset.nonce, ...fields });
    const answer = await fetch(part('push').dataset.action, { method: 'POST', body, redirect: 'error', cache: 'no-store' });
    if (!answer.ok) throw new Error(answer.status);
    return answer.json();
  };
  const subscribe = async () => {
    if (await Notification.requestPermission() !== 'granted') return null;
    await navigator.serviceWorker.register(shown().worker, { scope: shown().scope });
    const worker = await navigator.serviceWorker.ready;
    const key = Uint8Array.from(atob(part('push').dataset.key.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
    let own = await worker.pushManager.getSubscription();
    // One that was made under another key gets nothing from this gate.
    const old = own && own.options && own.options.applicationServerKey;
    if (old && String(new Uint8Array(old)) !== String(key)) {
      await own.unsubscribe();
      own = null;
    }
    return own || worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  };
  const switchPush = async (button) => {
    const box = part('push');
    if (box.dataset.busy) return;
    box.dataset.busy = 'yes';
    let isOn = Boolean(button.dataset.on);
    let words = '';
    try {
      if (isOn) {
        const own = await subscribed();
        const off = own ? await deviceOf(own.endpoint) : '';
        // The browser's own subscription stays: it may be that of another person's inbox, too.
        if (off) await tellPush({ off });
        box.dataset.devices = pushDevices().filter((device) => device !== off).join(' ');
        isOn = false;
        words = 'This device is told no more.';
      } else {
        const own = await subscribe();
        if (own) {
          const { endpoint, keys } = own.toJSON();
          const { device } = await tellPush({ endpoint, p256dh: keys.p256dh, auth: keys.auth });
          box.dataset.devices = [...pushDevices(), device].join(' ');
          isOn = true;
        }
      }
    } catch {
      words = 'That did not work. Nothing was changed; please try again.';
    }
    delete box.dataset.busy;
    if (part('push')) drawPush(isOn, words);
  };
  document.addEventListener('click', (event) => {
    const button = event.target.closest && event.target.closest('#push button');
    if (button) switchPush(button);
  });

  // News: told by the gate where it can, else asked for, less and less often while nothing happens.
  const soonest = 3000;
  const rarest = 30000;
  let pause = soonest;
  let timer = 0;
  let busy = false;
  let source = null;
  const read = async (answer, pressed) => swap(new DOMParser().parseFromString(await answer.text(), 'text/html'), pressed);
  const ask = async () => {
    // Between a press and its answer, or while one is asked to confirm, nothing may move.
    if (busy || !part('list')) { later(); return; }
    busy = true;
    clearTimeout(timer);
    try {
      const answer = await fetch(location.href, { cache: 'no-store', redirect: 'error', headers: { 'If-None-Match': `"${shown().version}"` } });
      if (answer.status === 404 || answer.status === 410) { location.reload(); return; }
      if (answer.status === 304) {
        pause = Math.min(pause * 1.25, rarest);
      } else {
        if (!answer.ok) throw new Error(answer.status);
        await read(answer);
        pause = soonest;
      }
      part('trouble').hidden = true;
    } catch {
      if (part('trouble')) part('trouble').hidden = false;
      pause = Math.min(pause * 2, rarest);
    }
    busy = false;
    later();
  };
  const later = () => {
    clearTimeout(timer);
    // Who is told by the gate asks only in case the telling has stopped.
    if (!document.hidden) timer = setTimeout(ask, source && source.readyState === 1 && part('trouble') && part('trouble').hidden ? 60000 : pause);
  };
  const listen = () => {
    if (!shown().events || source || document.hidden) return;
    source = new EventSource(shown().events);
    source.addEventListener('changed', (event) => { if (event.data !== shown().version) ask(); });
    source.addEventListener('error', () => {
      if (source && source.readyState === 2) { source = null; shown().events = ''; later(); }
    });
  };
  const hush = () => { if (source) source.close(); source = null; };
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) { hush(); clearTimeout(timer); } else { pause = soonest; listen(); ask(); }
  });
  addEventListener('pagehide', hush);
  addEventListener('pageshow', (event) => { if (event.persisted) { listen(); ask(); } });
  listen();
  later();
  badge();
  tick();
  showPush();

  // A touch says that a person has this list before them: once for each list. Scanners touch nothing.
  let told = '';
  const touched = (event) => {
    const list = rows().map((row) => row.dataset.v).join('');
    if (!event.isTrusted || document.hidden || list === told || !('nudged' in shown())) return;
    told = list;
    const body = new URLSearchParams({ nonce: shown().nonce });
    list.split(' ').filter(Boolean).forEach((one) => body.append('row', one.split('.')[0]));
    fetch(`${location.pathname}?seen`, { method: 'POST', body, redirect: 'error', keepalive: true }).catch(() => {});
  };
  ['pointerdown', 'keydown', 'wheel'].forEach((kind) => addEventListener(kind, touched, { passive: true }));

  // A press is answered by the same page; a second one of the same form is not sent.
  document.addEventListener('submit', async (event) => {
    const form = event.target;
    if (form.method !== 'post' || !root().contains(form)) return;
    event.preventDefault();
    if (busy && form.dataset.sent) return;
    form.dataset.sent = 'yes';
    busy = true;
    const row = rowOf(form);
    const at = rows().indexOf(row);
    if (row) row.dataset.busy = 'yes';
    try {
      const body = new URLSearchParams(new FormData(form, event.submitter));
      const by = event.submitter;
      const to = by && by.hasAttribute('formaction') ? by.formAction : form.action;
      const answer = await fetch(to, { method: 'POST', body, redirect: 'error', cache: 'no-store' });
      busy = false;
      await read(answer, true);
      // On to what has taken its place: the next one is decided without a look for it.
      const next = at >= 0 && rows()[Math.min(at, rows().length - 1)];
      if (next) next.focus({ preventScroll: true });
      pause = soonest;
      later();
    } catch {
      busy = false;
      delete form.dataset.sent;
      if (row) delete row.dataset.busy;
      if (part('trouble')) {
        part('trouble').hidden = false;
        part('result').textContent = 'No answer. Nothing may have been recorded; you can press again.';
      }
      later();
    }
  });

  // The keyboard. A letter does nothing while somebody writes, and approves only what is wholly in sight.
  const move = (step) => {
    const all = rows();
    if (!all.length) return;
    const at = all.indexOf(rowOf(document.activeElement));
    const next = all[at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.max(0, Math.min(all.length - 1, at + step))];
    next.focus();
    next.scrollIntoView({ block: 'nearest' });
  };
  const press = (row, choice) => {
    const button = row.querySelector(`form.decide button[value=${choice}]`);
    if (!button) { const open = row.querySelector('a.open'); if (open) open.click(); return; }
    const more = button.closest('details.more');
    if (more && !more.open) { more.open = true; more.scrollIntoView({ block: 'nearest' }); return; }
    const sheet = button.closest('details.no');
    if (sheet && !sheet.open) {
      sheet.open = true;
      button.scrollIntoView({ block: 'nearest' });
      sheet.querySelector('input').focus();
      return;
    }
    button.click();
  };
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const on = event.target;
    if (on.closest('textarea,select,dialog') || (on.tagName === 'INPUT' && on.type !== 'radio')) return;
    const row = rowOf(on);
    const does = {
      j: () => move(1),
      k: () => move(-1),
      a: () => row && press(row, 'approve'),
      r: () => row && press(row, 'reject'),
      o: () => row && row.querySelector('a.action').click(),
      '?': () => part('help') && !part('help').open && part('help').showModal(),
    }[event.key];
    if (!does) return;
    event.preventDefault();
    if (!event.repeat || 'jk'.includes(event.key)) does();
  });
})();
