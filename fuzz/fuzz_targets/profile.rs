//! Profiles, in both formats: a project's comes from anybody.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zerobox_policy::profile::{Profile, Source};

fuzz_target!(|input: (bool, &str)| {
    let path = if input.0 { "/p/a.json" } else { "/p/a.toml" };
    let _ = Profile::read(input.1, Source::File(path.into()), "a");
});
