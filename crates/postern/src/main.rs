//! Postern: one program, two roles. Edge is the external MTA, Home the home MTA behind it.

#![allow(unreachable_pub, reason = "a program has no outside: pub is what its modules say to each other")]

mod check;
mod cli;
mod config;
mod control;
mod daemon;
mod data_dir;
mod demo;
mod descriptors;
mod edge;
mod files;
mod firewall;
mod home;
mod import;
mod network;
mod new_role;
mod owner;
mod problem;
mod records;
mod system;
mod trace;

use std::process::ExitCode;

use rustix::fs::Mode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // What is made is for its owner alone, unless it says otherwise.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    match cli::run(cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => cli::tell(&problem),
    }
}
