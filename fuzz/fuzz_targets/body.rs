//! Bodies in every content coding.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| zerobox_proxy::fuzzing::body(input.1, input.0));
