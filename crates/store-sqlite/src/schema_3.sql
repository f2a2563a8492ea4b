-- Version 3. What each mailbox holds, kept with each change: `STATUS` no longer reads a row of each message.
ALTER TABLE mailbox ADD COLUMN messages INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mailbox ADD COLUMN unseen INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mailbox ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mailbox ADD COLUMN octets INTEGER NOT NULL DEFAULT 0;
UPDATE mailbox SET (messages, unseen, deleted, octets) = (
    SELECT count(*), coalesce(sum(flags & 1 = 0), 0), coalesce(sum(flags & 8 = 8), 0), coalesce(sum(octets), 0)
    FROM message WHERE mailbox = mailbox.id
);
