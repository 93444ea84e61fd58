-- How messages about approvals ended. The ids of approvals begin with their time, so a day is one range of this table.
CREATE TABLE past_messages (
  approval_id TEXT NOT NULL,
  id TEXT NOT NULL,
  v INTEGER NOT NULL,
  payload TEXT NOT NULL,
  is_delivered INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  ended_at INTEGER NOT NULL,
  PRIMARY KEY (approval_id, id)
) STRICT, WITHOUT ROWID;
