-- What is mutable stands apart from what was asked, so that a vote does not write the payload again.
CREATE TABLE requests (
  id INTEGER PRIMARY KEY,
  key BLOB NOT NULL UNIQUE,
  version INTEGER NOT NULL,
  client TEXT NOT NULL,
  approval_id TEXT NOT NULL,
  action TEXT NOT NULL,
  payload_sha256 TEXT NOT NULL,
  status TEXT NOT NULL,
  closes_at INTEGER,
  ended_at INTEGER,
  state TEXT NOT NULL,
  CHECK ((status = 'pending') = (closes_at IS NOT NULL)),
  CHECK ((status = 'pending') = (ended_at IS NULL))
) STRICT;
CREATE INDEX requests_listed ON requests (client, status, approval_id);
CREATE INDEX requests_closing ON requests (closes_at, key) WHERE status = 'pending';
CREATE INDEX requests_alike ON requests (payload_sha256, client, action) WHERE status = 'pending';
CREATE INDEX requests_ended ON requests (ended_at) WHERE ended_at IS NOT NULL;

-- The rules see to these as well; here they hold even against a wrong rule.
CREATE TRIGGER requests_end_once BEFORE UPDATE ON requests
WHEN OLD.status <> 'pending' AND (NEW.status <> OLD.status OR NEW.ended_at IS NOT OLD.ended_at)
BEGIN SELECT RAISE(ABORT, 'a request that has ended never changes'); END;

CREATE TABLE questions (
  id INTEGER PRIMARY KEY,
  question TEXT NOT NULL
) STRICT;
CREATE TRIGGER questions_are_written_once BEFORE UPDATE ON questions
BEGIN SELECT RAISE(ABORT, 'a question never changes'); END;

-- A message about the gate as a whole has no key. `v` is the version of what `payload` says.
CREATE TABLE outbox (
  id TEXT PRIMARY KEY,
  v INTEGER NOT NULL,
  key BLOB,
  approval_id TEXT,
  payload TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  CHECK ((key IS NULL) = (approval_id IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_due ON outbox (due_at);
CREATE INDEX outbox_of ON outbox (key) WHERE key IS NOT NULL;

-- Nothing is ever deleted here, so the greatest position so far plus one has never been used: no AUTOINCREMENT,
-- which would write one page more for each commit.
CREATE TABLE audit (
  position INTEGER PRIMARY KEY,
  subject TEXT NOT NULL,
  seq INTEGER NOT NULL,
  recorded_at INTEGER NOT NULL,
  entry TEXT NOT NULL,
  UNIQUE (subject, seq)
) STRICT;
CREATE TRIGGER audit_is_never_updated BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;

CREATE TABLE policies (
  version INTEGER PRIMARY KEY,
  text TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  installed_at INTEGER NOT NULL
) STRICT;

CREATE TABLE quotas (
  client TEXT NOT NULL,
  minute INTEGER NOT NULL,
  used INTEGER NOT NULL,
  PRIMARY KEY (client, minute)
) STRICT, WITHOUT ROWID;

-- Names that are remembered for a while.
CREATE TABLE marks (
  name TEXT PRIMARY KEY,
  until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE hooks (
  id TEXT PRIMARY KEY,
  v INTEGER NOT NULL,
  client TEXT NOT NULL,
  hook TEXT NOT NULL
) STRICT, WITHOUT ROWID;
