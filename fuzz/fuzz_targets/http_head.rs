//! What a client begins with, and the host of a request.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| zerobox_proxy::fuzzing::http_head(input.1, input.0));
