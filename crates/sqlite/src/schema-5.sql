-- What was sent where, so that a message can be brought up to date. `v` is the version of what `sent` says.
CREATE TABLE sent (
  approval_id TEXT NOT NULL,
  name TEXT NOT NULL,
  v INTEGER NOT NULL,
  sent TEXT NOT NULL,
  PRIMARY KEY (approval_id, name)
) STRICT, WITHOUT ROWID;

-- How often something happened, for a while: messages to one person in one minute.
CREATE TABLE tallies (
  name TEXT PRIMARY KEY,
  count INTEGER NOT NULL,
  until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
