-- Version 1. Times are microseconds since 1970; modseq is RFC 7162's mod-sequence, counted per mailbox.
-- `message.modseq` is that of its arrival, so it rises with the uid; `changed` is that of its last change
-- of flags and is null before the first, which keeps the index off the path of a delivery.
CREATE TABLE account (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    body_next INTEGER NOT NULL,
    uidvalidity_last INTEGER NOT NULL
) STRICT;
CREATE TABLE mailbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    uidvalidity INTEGER NOT NULL,
    uidnext INTEGER NOT NULL DEFAULT 1,
    modseq INTEGER NOT NULL DEFAULT 1,
    special_use TEXT
) STRICT;
CREATE TABLE subscription (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE keyword (position INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE) STRICT;
CREATE TABLE message (
    mailbox INTEGER NOT NULL REFERENCES mailbox (id),
    uid INTEGER NOT NULL,
    body INTEGER NOT NULL,
    octets INTEGER NOT NULL,
    internal_date INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    changed INTEGER,
    PRIMARY KEY (mailbox, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_changed ON message (mailbox, changed) WHERE changed IS NOT NULL;
CREATE TABLE vanished (
    mailbox INTEGER NOT NULL REFERENCES mailbox (id),
    modseq INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (mailbox, modseq, first)
) STRICT, WITHOUT ROWID;
-- A body takes rows of 256 KiB from its id on. `shared` lists the bodies that more than one message has.
CREATE TABLE body (id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE shared (body INTEGER PRIMARY KEY, messages INTEGER NOT NULL) STRICT;
-- Items that were delivered, so that a second delivery of one stores nothing. Ids sort by the time they were made.
CREATE TABLE arrived (
    item BLOB PRIMARY KEY,
    at INTEGER NOT NULL,
    mailbox INTEGER NOT NULL,
    uid INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
