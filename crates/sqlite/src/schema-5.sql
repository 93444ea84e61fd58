-- What requests add to running totals. An id is never used twice, so that the greatest one of an account is its version.
CREATE TABLE tallies (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  account TEXT NOT NULL,
  at INTEGER NOT NULL,
  amount REAL NOT NULL,
  key BLOB NOT NULL
) STRICT;
CREATE INDEX tallies_sum ON tallies (account, at, amount);
CREATE INDEX tallies_last ON tallies (account, id);
CREATE INDEX tallies_of ON tallies (key);

-- Who is away by their own word under that version, as JSON; none where nobody is.
ALTER TABLE policies ADD COLUMN away TEXT;
