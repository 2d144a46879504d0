//! Looking for the values of secrets. The process inside does not know them: it hands out everything that it can read, and
//! the search is outside.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Gives `tell` the environment, arguments and states of every process that can be seen, the memory of this one, and
/// `files`.
pub(super) fn gather(files: &[PathBuf], tell: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        for name in ["environ", "cmdline", "comm", "maps", "mountinfo"] {
            if let Ok(file) = File::open(process.path().join(name)) {
                tell(&beginning_of(file))?;
            }
        }
    }
    for file in files {
        if let Ok(file) = File::open(file) {
            tell(&beginning_of(file))?;
        }
    }
    gather_memory(tell)
}

/// Files of `/proc` have no size that says how much there is to read.
fn beginning_of(file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = file.take(LARGEST).read_to_end(&mut bytes);
    bytes
}

/// Every part of this process's memory that can be written, which is where values would be.
fn gather_memory(tell: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let maps = File::open("/proc/self/maps")?;
    let memory = File::open("/proc/self/mem")?;
    let mut buffer = vec![0; PIECE];
    let parts: Vec<_> =
        BufReader::new(maps).lines().map_while(Result::ok).filter_map(|line| writable(&line)).collect();
    for (start, end) in parts {
        let mut at = start;
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
            match memory.read_at(&mut buffer[..wanted], at) {
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    tell(&buffer[..count])?;
                    at += count as u64;
                }
            }
        }
    }
    Ok(())
}

/// The range of a line of maps, proc_pid_maps(5): `7f00-7f10 rw-p ...`.
fn writable(line: &str) -> Option<(u64, u64)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let range = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    rest.starts_with("rw").then_some(range)
}

/// Whether `value` is anywhere in `found`.
pub(super) fn has(found: &[u8], value: &[u8]) -> bool {
    let Some(first) = value.first() else { return false };
    let mut rest = found;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        rest = &rest[at..];
        if rest.starts_with(value) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

const LARGEST: u64 = 1 << 20;
const PIECE: usize = 1 << 18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_itself_in_memory() {
        let value = format!("canary-{}", std::process::id());
        let mut all = Vec::new();
        gather_memory(&mut |bytes| {
            all.extend_from_slice(bytes);
            if all.len() > 64 << 20 { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
        })
        .unwrap();
        assert!(has(&all, value.as_bytes()));
        assert!(!has(b"canar", b"canary"));
    }

    #[test]
    fn only_what_can_be_written_is_read() {
        assert_eq!(writable("1000-2000 rw-p 00000000 00:00 0 [stack]"), Some((0x1000, 0x2000)));
        assert_eq!(writable("1000-2000 r-xp 00000000 00:00 0"), None);
    }
}
