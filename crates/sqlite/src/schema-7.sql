-- Devices on which a reviewer has switched push on. `v` is the version of what `device` says.
CREATE TABLE push_devices (
  reviewer TEXT NOT NULL,
  id TEXT NOT NULL,
  v INTEGER NOT NULL,
  device TEXT NOT NULL,
  PRIMARY KEY (reviewer, id)
) STRICT, WITHOUT ROWID;
