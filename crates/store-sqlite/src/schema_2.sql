-- Version 2. Bodies that lie in a file of their own. The first `head` octets, the trace header, are in `body` as ever.
CREATE TABLE IF NOT EXISTS large (body INTEGER PRIMARY KEY, head INTEGER NOT NULL) STRICT;
