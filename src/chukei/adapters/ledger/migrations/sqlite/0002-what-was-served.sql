-- What Azure says of its answers, and what is paid for by the piece.

ALTER TABLE chukei_entries ADD COLUMN served_model TEXT;
ALTER TABLE chukei_entries ADD COLUMN service_tier TEXT;
ALTER TABLE chukei_entries ADD COLUMN cache_written_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE chukei_entries ADD COLUMN audio_input_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE chukei_entries ADD COLUMN audio_output_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE chukei_entries ADD COLUMN images INTEGER NOT NULL DEFAULT 0;
ALTER TABLE chukei_entries ADD COLUMN characters INTEGER NOT NULL DEFAULT 0;
ALTER TABLE chukei_entries ADD COLUMN heard_ms INTEGER NOT NULL DEFAULT 0;
