-- For sums over some time: which blocks hold it. Entries are written nearly in order of time, so this index has a few
-- kilobytes, and costs nearly nothing. The other index of times would lead to each entry by itself, so that PostgreSQL
-- prefers to read the whole table.
CREATE INDEX chukei_entries_by_time ON chukei_entries USING brin (time) WITH (autosummarize = on);

-- How many days and hours there are, so that PostgreSQL sums by them with a small hash table. Without this it expects one
-- for each entry, and sorts all entries on the disk. Before version 14 there are no statistics of expressions.
-- No line but the last ends with a semicolon, since that would end the statement.
DO $$ BEGIN IF current_setting('server_version_num')::int >= 140000
    THEN EXECUTE 'CREATE STATISTICS chukei_days ON (date_trunc(''day'', time AT TIME ZONE ''UTC'')) FROM chukei_entries'
    ; EXECUTE 'CREATE STATISTICS chukei_hours ON (date_trunc(''hour'', time AT TIME ZONE ''UTC'')) FROM chukei_entries'
    ; END IF
    ; END $$;
