//! From the table to a classic BPF program, seccomp(2).
//!
//! The rows are found by binary search. That matters less for the calls, since the kernel remembers which numbers
//! are always allowed, than for the start: to find those out it runs the program once for every number.

#![allow(clippy::cast_possible_truncation, reason = "the operation codes of BPF have 16 bits")]

use super::table::{Action, Case, Condition, Entry, NEWEST};
use libc::sock_filter;

/// The program for `entries`, which are sorted by number and name each call once. If init is to `tell` of what is refused, it
/// is init that refuses it: with the same error, and never with anything else.
pub(crate) fn compile(entries: &[Entry], tell: bool) -> Vec<sock_filter> {
    let mut program = vec![
        load(OFFSET_ARCH),
        jump(JEQ, ARCH, 1, 0),
        // A 32-bit program could not run under a filter for 64-bit numbers in any way that makes sense.
        ret(libc::SECCOMP_RET_KILL_PROCESS),
        load(OFFSET_NUMBER),
    ];
    if cfg!(target_arch = "x86_64") {
        program.extend([jump(JGE, X32_BIT, 0, 1), fail(libc::ENOSYS)]);
    }
    program.extend([jump(JGT, NEWEST, 0, 1), fail(libc::ENOSYS)]);
    search(entries, tell, &mut program);
    program
}

/// A program that notifies a listener of `number` and allows everything else.
pub(crate) fn notify_of(number: libc::c_long) -> Vec<sock_filter> {
    vec![
        load(OFFSET_NUMBER),
        jump(JEQ, number as u32, 0, 1),
        ret(libc::SECCOMP_RET_USER_NOTIF),
        ret(libc::SECCOMP_RET_ALLOW),
    ]
}

fn search(entries: &[Entry], tell: bool, program: &mut Vec<sock_filter>) {
    if entries.len() <= LINEAR {
        entries.iter().for_each(|entry| row(entry, tell, program));
        program.push(ret(libc::SECCOMP_RET_ALLOW));
        return;
    }
    let (below, above) = entries.split_at(entries.len() / 2);
    program.extend([jump(JGE, above[0].number, 0, 1), always(0)]);
    let start = program.len();
    search(below, tell, program);
    program[start - 1] = always(program.len() - start);
    search(above, tell, program);
}

/// `if number == row { cases }`, falling through to the next row otherwise.
fn row(entry: &Entry, tell: bool, program: &mut Vec<sock_filter>) {
    program.push(jump(JEQ, entry.number, 0, 0));
    let start = program.len();
    entry.cases.iter().for_each(|case| self::case(case, tell, program));
    if !entry.cases.iter().any(|case| case.when.is_empty()) {
        program.push(ret(libc::SECCOMP_RET_ALLOW));
    }
    program[start - 1].jf = u8::try_from(program.len() - start).expect("a row is short");
}

fn case(case: &Case, tell: bool, program: &mut Vec<sock_filter>) {
    let length = |condition: &Condition| if condition.mask == u32::MAX { 2 } else { 3 };
    let mut rest: u8 = case.when.iter().map(length).sum::<u8>() + 1;
    for condition in case.when {
        rest -= length(condition);
        let (met, unmet) = if condition.equal { (0, rest) } else { (rest, 0) };
        program.push(load(OFFSET_ARGUMENTS + 8 * u32::from(condition.argument)));
        if condition.mask != u32::MAX {
            program.push(statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, condition.mask));
        }
        program.push(jump(JEQ, condition.value, met, unmet));
    }
    program.push(match case.action {
        // Libraries try new calls all the time and fall back to old ones, which is nobody's business.
        Action::Fail(errno) if !tell || errno == libc::ENOSYS => fail(errno),
        Action::Fail(_) | Action::Mediate | Action::Observe => ret(libc::SECCOMP_RET_USER_NOTIF),
    });
}

fn load(offset: u32) -> sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn fail(errno: i32) -> sock_filter {
    ret(libc::SECCOMP_RET_ERRNO | errno.unsigned_abs())
}

fn ret(value: u32) -> sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, value)
}

fn always(distance: usize) -> sock_filter {
    statement(libc::BPF_JMP | libc::BPF_JA, u32::try_from(distance).expect("the program is short"))
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn jump(code: u32, k: u32, met: u8, unmet: u8) -> sock_filter {
    sock_filter { code: code as u16, jt: met, jf: unmet, k }
}

const JEQ: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const JGE: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const JGT: u32 = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
const LINEAR: usize = 4;
const X32_BIT: u32 = 0x4000_0000;
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGUMENTS: u32 = 16;

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;

#[cfg(test)]
mod tests {
    use super::super::table::{Options, entries};
    use super::*;
    use zerobox_policy::Observation;

    /// A slow reading of the table.
    fn expected(entries: &[Entry], tell: bool, number: u32, arguments: [u32; 6]) -> u32 {
        if (cfg!(target_arch = "x86_64") && number >= X32_BIT) || number > NEWEST {
            return libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
        }
        let holds = |case: &&Case| {
            case.when.iter().all(|c| ((arguments[usize::from(c.argument)] & c.mask) == c.value) == c.equal)
        };
        let row = entries.iter().find(|entry| entry.number == number);
        match row.and_then(|row| row.cases.iter().find(holds)).map(|case| case.action) {
            Some(Action::Fail(errno)) if !tell || errno == libc::ENOSYS => {
                libc::SECCOMP_RET_ERRNO | errno as u32
            }
            Some(Action::Fail(_) | Action::Mediate | Action::Observe) => libc::SECCOMP_RET_USER_NOTIF,
            None => libc::SECCOMP_RET_ALLOW,
        }
    }

    /// What the kernel's interpreter does with the instructions that we use.
    fn run(program: &[sock_filter], arch: u32, number: u32, arguments: [u32; 6]) -> u32 {
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let step = program[at];
            at += 1;
            let taken = |met: bool| usize::from(if met { step.jt } else { step.jf });
            match u32::from(step.code) {
                code if code == JEQ => at += taken(accumulator == step.k),
                code if code == JGE => at += taken(accumulator >= step.k),
                code if code == JGT => at += taken(accumulator > step.k),
                code if code == (libc::BPF_JMP | libc::BPF_JA) => at += step.k as usize,
                code if code == (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) => accumulator &= step.k,
                code if code == (libc::BPF_RET | libc::BPF_K) => return step.k,
                _ => {
                    accumulator = match step.k {
                        OFFSET_NUMBER => number,
                        OFFSET_ARCH => arch,
                        offset => arguments[((offset - OFFSET_ARGUMENTS) / 8) as usize],
                    }
                }
            }
        }
    }

    #[test]
    fn the_program_says_what_the_table_says() {
        let strict =
            Options { mediate_sockets: true, fix_affinity: true, spare_group: true, ..Options::default() };
        let seen =
            [Observation::Denials, Observation::All].map(|observation| Options { observation, ..strict });
        for options in [Options::default(), strict].into_iter().chain(seen) {
            let tell = options.observation != Observation::Off;
            let entries = entries(options);
            assert!(
                entries.windows(2).all(|pair| pair[0].number < pair[1].number),
                "each call once, in order"
            );
            let program = compile(&entries, tell);
            assert!(program.len() < 4096);
            let values = [
                0,
                1,
                2,
                5,
                10,
                16,
                40,
                0x5412,
                0xffff_ff9c,
                0x2_0000,
                0x541c,
                0o4755,
                0o644,
                0o100,
                0x1000_0000,
                u32::MAX,
            ];
            for number in (0..NEWEST + 40).chain([X32_BIT, X32_BIT + 59, u32::MAX]) {
                for first in values {
                    for second in values {
                        let arguments = [first, second, second, first, 0, 0];
                        let want = expected(&entries, tell, number, arguments);
                        assert_eq!(run(&program, ARCH, number, arguments), want, "{number} {arguments:x?}");
                    }
                }
            }
            assert_eq!(run(&program, 0x4000_0003, 1, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
        }
    }
}
