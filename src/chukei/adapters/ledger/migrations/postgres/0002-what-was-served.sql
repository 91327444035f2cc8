-- What Azure says of its answers, and what is paid for by the piece.

ALTER TABLE chukei_entries ADD COLUMN served_model TEXT;
ALTER TABLE chukei_entries ADD COLUMN service_tier TEXT;
ALTER TABLE chukei_entries ADD COLUMN cache_written_tokens BIGINT NOT NULL DEFAULT 0;
ALTER TABLE chukei_entries ADD COLUMN audio_input_tokens BIGINT NOT NULL DEFAULT 0;
ALTER TABLE chukei_entries ADD COLUMN audio_output_tokens BIGINT NOT NULL DEFAULT 0;
ALTER TABLE chukei_entries ADD COLUMN images BIGINT NOT NULL DEFAULT 0;
ALTER TABLE chukei_entries ADD COLUMN characters BIGINT NOT NULL DEFAULT 0;
ALTER TABLE chukei_entries ADD COLUMN heard_ms BIGINT NOT NULL DEFAULT 0;
