-- The transparency log over `audit`: the leaf of the entry at position p has the index p - 1.
CREATE TABLE tiles (
  level INTEGER NOT NULL,
  number INTEGER NOT NULL,
  hashes BLOB NOT NULL,
  PRIMARY KEY (level, number),
  CHECK (length(hashes) % 32 = 0 AND length(hashes) BETWEEN 32 AND 8192)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER tiles_only_grow BEFORE UPDATE ON tiles
WHEN substr(NEW.hashes, 1, length(OLD.hashes)) IS NOT OLD.hashes
BEGIN SELECT RAISE(ABORT, 'a tile of the log only grows'); END;
CREATE TRIGGER tiles_are_never_deleted BEFORE DELETE ON tiles
BEGIN SELECT RAISE(ABORT, 'a tile of the log only grows'); END;

-- Entries before `min_index` are past their retention. Its last entry a log always keeps: positions go on from there.
CREATE TABLE log_head (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  leaves INTEGER NOT NULL,
  root BLOB NOT NULL,
  min_index INTEGER NOT NULL DEFAULT 0,
  CHECK (min_index = 0 OR min_index < leaves)
) STRICT;
INSERT INTO log_head (id, leaves, root)
VALUES (1, 0, x'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
CREATE TRIGGER log_only_grows BEFORE UPDATE ON log_head
WHEN NEW.leaves < OLD.leaves OR NEW.min_index < OLD.min_index
BEGIN SELECT RAISE(ABORT, 'the log only grows'); END;
CREATE TRIGGER log_is_never_deleted BEFORE DELETE ON log_head
BEGIN SELECT RAISE(ABORT, 'the log only grows'); END;

-- What is sealed, and past its retention, may go; its hash stays in the tiles.
DROP TRIGGER audit_is_never_deleted;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
WHEN OLD.position > (SELECT min_index FROM log_head)
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
