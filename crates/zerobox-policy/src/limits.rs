//! Sizes, durations and the limits that are made of them.

use crate::error::PolicyError;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes, written `512M`, `64KiB` or `1048576`. Suffixes are powers of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ByteSize(u64);

impl ByteSize {
    /// A size of `bytes`.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let malformed = || PolicyError::Size { text: text.to_owned() };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = text[..digits].parse().map_err(|_| malformed())?;
        let shift = match text[digits..].to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(malformed()),
        };
        match number.checked_mul(1 << shift) {
            Some(bytes) if bytes > 0 && i64::try_from(bytes).is_ok() => Ok(Self(bytes)),
            _ => Err(malformed()),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shift, suffix) = [(40, "T"), (30, "G"), (20, "M"), (10, "K")]
            .into_iter()
            .find(|(shift, _)| self.0.trailing_zeros() >= *shift && self.0 != 0)
            .unwrap_or((0, ""));
        write!(f, "{}{suffix}", self.0 >> shift)
    }
}

/// A wall-clock limit, written `30s`, `500ms`, `5m`, `2h` or `90` (seconds). Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Timeout(Duration);

impl Timeout {
    /// The limit as a duration.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Timeout {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let malformed = || PolicyError::Duration { text: text.to_owned() };
        let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let seconds_per_unit = match &text[digits..] {
            "ms" => 0.001,
            "" | "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(malformed()),
        };
        let number: f64 = text[..digits].parse().map_err(|_| malformed())?;
        let seconds = number * seconds_per_unit;
        if !(0.001..=MAX_SECONDS).contains(&seconds) {
            return Err(malformed());
        }
        Ok(Self(Duration::from_secs_f64(seconds)))
    }
}

/// A number of processors, written `2` or `0.5`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cpus(f64);

impl Cpus {
    /// The number of processors.
    pub const fn count(self) -> f64 {
        self.0
    }
}

impl FromStr for Cpus {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        match text.parse::<f64>() {
            Ok(count) if plain && (0.01..=4096.0).contains(&count) => Ok(Self(count)),
            _ => Err(PolicyError::Cpus { text: text.to_owned() }),
        }
    }
}

/// What a run may use. `None` is no limit of ours.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Limits {
    /// Wall-clock time until the command is ended with exit code 124.
    pub timeout: Option<Timeout>,
    /// Memory of all processes together where cgroups allow it, else of each.
    pub memory: Option<ByteSize>,
    /// Processor time per wall-clock time.
    pub cpus: Option<Cpus>,
    /// Processes and threads at one time.
    pub pids: Option<u32>,
    /// Largest file the command may write.
    pub file_size: Option<ByteSize>,
    /// Descriptors open in one process at one time.
    pub open_files: Option<u32>,
    /// Bytes in all scratch directories together.
    pub scratch: ByteSize,
}

/// A century: long enough for every run, short enough for every kernel timer.
const MAX_SECONDS: f64 = 100.0 * 366.0 * 86_400.0;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [("1", 1), ("64K", 65_536), ("512m", 512 << 20), ("2GiB", 2 << 30), ("7b", 7)] {
            assert_eq!(text.parse::<ByteSize>().unwrap().bytes(), bytes, "{text}");
        }
        for text in ["", "M", "-1", "1.5G", "0", "1 M", "12X", "99999999999999999999", "16777216T", "١"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, millis) in
            [("1", 1000), ("30s", 30_000), ("500ms", 500), ("1.5m", 90_000), ("2h", 7_200_000)]
        {
            assert_eq!(text.parse::<Timeout>().unwrap().duration().as_millis(), millis, "{text}");
        }
        for text in ["", "s", "0", "-1s", "1d", "inf", "nan", "1e9", "1..2s", "1 s", "99999999999h"] {
            assert!(text.parse::<Timeout>().is_err(), "{text}");
        }
    }

    #[test]
    fn processors() {
        assert_eq!("0.5".parse::<Cpus>().unwrap().count(), 0.5);
        for text in ["", "0", "-1", "inf", "NaN", "1e3", "."] {
            assert!(text.parse::<Cpus>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_printed_size_reads_back(bytes in 1..=i64::MAX as u64) {
            prop_assert_eq!(ByteSize::new(bytes).to_string().parse::<ByteSize>().unwrap().bytes(), bytes);
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = text.parse::<ByteSize>();
            let _ = text.parse::<Timeout>();
            let _ = text.parse::<Cpus>();
        }
    }
}
