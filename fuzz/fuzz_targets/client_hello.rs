//! The ClientHello reader, however the bytes are split.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| zerobox_proxy::fuzzing::client_hello(input.1, input.0));
