-- Who has voted on what, so that a reviewer's own decisions are found without a walk through all requests.
CREATE TABLE votes (
  key BLOB NOT NULL,
  reviewer TEXT NOT NULL,
  voted_at INTEGER NOT NULL,
  PRIMARY KEY (key, reviewer)
) STRICT, WITHOUT ROWID;
CREATE INDEX votes_newest ON votes (reviewer, voted_at);
