// Shows what the gate pushes, and opens the inbox at a tap. It keeps nothing and answers no request of a page.
self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('push', (event) => {
  let news = {};
  try {
    news = event.data ? event.data.json() : {};
  } catch {
    // Whatever it is, a push has to show something.
  }
  const title = typeof news.title === 'string' ? news.title : 'Placet';
  const body = typeof news.body === 'string' ? news.body : 'Something waits for your approval.';
  const icon = new URL('icon-192.png', self.registration.scope).href;
  const tag = typeof news.tag === 'string' ? news.tag : 'placet';
  // What says how it ended takes the place of what asked, without a sound.
  const quiet = news.settled === true;
  event.waitUntil((async () => {
    const before = await self.registration.getNotifications({ tag });
    await self.registration.showNotification(title, {
      body, icon, badge: icon, tag, renotify: !quiet, silent: quiet,
      requireInteraction: news.urgent === true, data: { path: news.path },
    });
    if (!quiet || before.length) return;
    // Who has the page in sight sees it there. Everybody else is shown something: browsers insist on it.
    const open = await self.clients.matchAll({ type: 'window', includeUncontrolled: true });
    if (!open.some((client) => client.visibilityState === 'visible')) return;
    for (const notification of await self.registration.getNotifications({ tag })) notification.close();
  })());
});
self.addEventListener('notificationclick', (event) => {
  event.notification.close();
  const path = event.notification.data && event.notification.data.path;
  const scope = self.registration.scope;
  // Only a page of this gate is ever opened, whatever a push says.
  const url = typeof path === 'string' ? new URL(path, scope) : new URL(scope);
  if (!url.href.startsWith(scope)) return;
  event.waitUntil((async () => {
    const open = await self.clients.matchAll({ type: 'window', includeUncontrolled: true });
    const same = open.find((client) => client.url === url.href) || open.find((client) => new URL(client.url).pathname.includes('/inbox/'));
    if (same) {
      await same.focus();
      if (same.url !== url.href && 'navigate' in same) await same.navigate(url.href);
      return;
    }
    await self.clients.openWindow(url.href);
  })());
});
