// Times in the reader's own zone and habit; what the server wrote in UTC stays as the hint. Details stay in UTC.
const inLocalTime = (root) => {
  for (const time of root.querySelectorAll('time:not(.utc)')) {
    const at = new Date(time.dateTime);
    const clock = { hour: '2-digit', minute: '2-digit' };
    const day = { day: 'numeric', month: 'short', year: 'numeric' };
    const today = at.toDateString() === new Date().toDateString();
    time.title = time.textContent;
    time.textContent = at.toLocaleString([], today ? clock : { ...day, ...clock });
  }
};
inLocalTime(document);
