//! The `zerobox` command.
#![no_main]

mod cli;

zerobox_linux::c_main!(cli::main);
