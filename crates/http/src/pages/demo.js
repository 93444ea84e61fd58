// Both frames are opened anew when the message in the chat has changed. The demo ends once both show the outcome.
const main = document.querySelector('main');
const frames = document.querySelectorAll('iframe');
const look = async () => {
  try {
    const version = await (await fetch(`${location.pathname}/version`)).text();
    if (version !== main.dataset.version) {
      main.dataset.version = version;
      for (const frame of frames) frame.src = frame.src;
    }
    if (!version.endsWith('ended')) setTimeout(look, 300);
  } catch {
    // The demo was stopped: what is shown stays.
  }
};
look();
