//! Postern: one program, two roles. Edge is the external MTA, Home the home MTA behind it.

mod config;
mod control;
mod daemon;
mod edge;
mod files;
mod problem;
mod sealed;
mod system;
mod trace;
mod wire;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {}
