-- Not only changes of limits and groups are recorded, but every one by an administrator. Rows of before are of rules.
ALTER TABLE chukei_changes ADD COLUMN action TEXT NOT NULL DEFAULT 'rules';
ALTER TABLE chukei_changes ADD COLUMN actor_name TEXT;

-- For the latest change of rules, which every relay asks for every two seconds.
CREATE INDEX chukei_changes_by_action ON chukei_changes (action, number);
