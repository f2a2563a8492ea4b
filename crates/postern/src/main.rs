//! Postern: one program, two roles. Edge is the external MTA, Home the home MTA behind it.

#[cfg(test)]
mod book;
mod check;
mod cli;
mod demo;
mod firewall;
mod import;
mod records;
mod top;

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
