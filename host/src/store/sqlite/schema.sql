-- What the state file is made of. Each opening makes what is not there yet; `LAYOUT` in sqlite.rs says what may change.

CREATE TABLE IF NOT EXISTS state (
    connection TEXT NOT NULL, key TEXT NOT NULL, bytes INTEGER NOT NULL, sealed BLOB NOT NULL,
    PRIMARY KEY (connection, key)
) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS quota (
    id INTEGER PRIMARY KEY, bucket TEXT NOT NULL, until_ms INTEGER NOT NULL, units INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS quota_of ON quota (bucket, until_ms);
CREATE TABLE IF NOT EXISTS answer (
    namespace TEXT NOT NULL, key TEXT NOT NULL, lineage TEXT NOT NULL, at_ms INTEGER NOT NULL,
    bytes INTEGER NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (namespace, key)
) WITHOUT ROWID, STRICT;
CREATE INDEX IF NOT EXISTS answer_of ON answer (lineage, at_ms);
CREATE TABLE IF NOT EXISTS record (
    owner TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, at_ms INTEGER NOT NULL,
    value BLOB, PRIMARY KEY (owner, name)
) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS lease (
    name TEXT NOT NULL PRIMARY KEY, holder TEXT NOT NULL, until_ms INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS audit (
    number INTEGER PRIMARY KEY, entry TEXT NOT NULL, hash BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS audit_anchor (
    id INTEGER PRIMARY KEY CHECK (id = 1), number INTEGER NOT NULL, hash BLOB NOT NULL, seal BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS event (
    id INTEGER PRIMARY KEY AUTOINCREMENT, connection TEXT NOT NULL, trigger_name TEXT NOT NULL,
    key TEXT NOT NULL, ordering TEXT, at_ms INTEGER NOT NULL, known_until_ms INTEGER NOT NULL,
    state INTEGER NOT NULL, attempts INTEGER NOT NULL, due_ms INTEGER NOT NULL, holder TEXT,
    held_until_ms INTEGER NOT NULL, why TEXT NOT NULL, bytes INTEGER NOT NULL, sealed BLOB,
    UNIQUE (connection, trigger_name, key)
) STRICT;
CREATE INDEX IF NOT EXISTS event_waiting ON event (connection, id) WHERE state = 0;
CREATE INDEX IF NOT EXISTS event_over ON event (state, due_ms) WHERE state > 0;
CREATE INDEX IF NOT EXISTS event_order ON event (connection, trigger_name, ordering, id)
    WHERE state = 0 AND ordering IS NOT NULL;
CREATE TABLE IF NOT EXISTS waiting (
    connection TEXT NOT NULL, trigger_name TEXT NOT NULL, events INTEGER NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (connection, trigger_name)
) WITHOUT ROWID, STRICT;
CREATE TRIGGER IF NOT EXISTS event_comes AFTER INSERT ON event WHEN new.state = 0 BEGIN
    INSERT INTO waiting VALUES (new.connection, new.trigger_name, 1, new.bytes)
        ON CONFLICT DO UPDATE SET events = events + 1, bytes = bytes + new.bytes;
END;
CREATE TRIGGER IF NOT EXISTS event_changes AFTER UPDATE OF state ON event WHEN new.state <> old.state BEGIN
    INSERT INTO waiting VALUES (new.connection, new.trigger_name,
            (new.state = 0) - (old.state = 0), new.bytes * ((new.state = 0) - (old.state = 0)))
        ON CONFLICT DO UPDATE SET events = events + excluded.events, bytes = bytes + excluded.bytes;
END;
CREATE TABLE IF NOT EXISTS cursor (
    connection TEXT NOT NULL, trigger_name TEXT NOT NULL, version INTEGER NOT NULL, sealed BLOB,
    PRIMARY KEY (connection, trigger_name)
) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS emitted (
    number INTEGER PRIMARY KEY AUTOINCREMENT, connection TEXT NOT NULL, name TEXT NOT NULL,
    at_ms INTEGER NOT NULL, known_until_ms INTEGER NOT NULL, bytes INTEGER NOT NULL, sealed BLOB,
    UNIQUE (connection, name)
) STRICT;
CREATE TABLE IF NOT EXISTS emitted_for (
    event INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (event, number)
) WITHOUT ROWID, STRICT;
CREATE INDEX IF NOT EXISTS emitted_kept ON emitted (number) WHERE sealed IS NOT NULL;
CREATE INDEX IF NOT EXISTS emitted_at ON emitted (at_ms) WHERE sealed IS NOT NULL;
CREATE INDEX IF NOT EXISTS emitted_known ON emitted (known_until_ms) WHERE sealed IS NULL;
CREATE INDEX IF NOT EXISTS emitted_named ON emitted (connection, number) WHERE sealed IS NULL;
CREATE TABLE IF NOT EXISTS emitted_bytes_of (
    connection TEXT NOT NULL PRIMARY KEY, bytes INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE TRIGGER IF NOT EXISTS emitted_comes_of AFTER INSERT ON emitted BEGIN
    INSERT INTO emitted_bytes_of VALUES (new.connection, new.bytes)
        ON CONFLICT DO UPDATE SET bytes = bytes + new.bytes;
END;
CREATE TRIGGER IF NOT EXISTS emitted_goes_of AFTER UPDATE OF sealed ON emitted
    WHEN new.sealed IS NULL AND old.sealed IS NOT NULL BEGIN
    UPDATE emitted_bytes_of SET bytes = bytes - old.bytes WHERE connection = old.connection;
END;
CREATE TABLE IF NOT EXISTS sink (
    name TEXT NOT NULL PRIMARY KEY, position INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS sink_rewound (
    sink TEXT NOT NULL PRIMARY KEY, position INTEGER NOT NULL, at_ms INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS dead_letter (
    number INTEGER NOT NULL, sink TEXT NOT NULL, at_ms INTEGER NOT NULL, why TEXT NOT NULL,
    PRIMARY KEY (number, sink)
) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS quota_block (
    bucket TEXT NOT NULL PRIMARY KEY, until_ms INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
