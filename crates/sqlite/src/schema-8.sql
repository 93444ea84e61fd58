-- Which clients are paused under a version of the policy, as JSON; NULL where none is, and none was in the day before.
ALTER TABLE policies ADD COLUMN paused TEXT;
