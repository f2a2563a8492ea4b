//! The mailbox store under a shim that kills it, or lets a system call fail, at the Nth write to the disk.
