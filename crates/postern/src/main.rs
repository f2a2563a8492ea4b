//! Postern: one program, two roles. Edge is the external MTA, Home the home MTA behind it.

#![allow(unreachable_pub, reason = "a program has no outside: pub is what its modules say to each other")]

mod check;
mod cli;
mod config;
mod control;
mod daemon;
mod demo;
mod edge;
mod files;
mod firewall;
mod header_section;
mod home;
mod import;
mod live;
mod network;
mod notification;
mod places;
mod problem;
mod received;
mod records;
mod sealed;
mod system;
mod trace;
mod wire;

use std::process::ExitCode;

use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("postern: {problem}");
            problem.exit_code()
        }
    }
}
