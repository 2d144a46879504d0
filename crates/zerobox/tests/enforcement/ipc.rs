//! System V and POSIX objects of the host are out of reach; one's own work.

use crate::case::{Case, Skip, Verdict, cases};
use crate::fixture::{Fixture, LIMIT};
use crate::outcome;
use crate::pair::Pair;

pub const CASES: &[Case] = cases![
    Everyone: a_segment_of_the_host_cannot_be_attached, keys_of_the_host_find_nothing, message_queues_are_private,
        posix_shared_memory_is_private, listings_are_empty;
];

/// Seen at peers that share the IPC namespace.
fn a_segment_of_the_host_cannot_be_attached(f: &Fixture) -> Verdict {
    let victim = f.victim();
    f.check(&Pair {
        allowed: &[&["shm-local"]],
        forbidden: &[(&["shm-attach", &victim.segment], "EINVAL|EIDRM|EACCES|EPERM")],
        ..Pair::default()
    });
    Ok(())
}

fn keys_of_the_host_find_nothing(f: &Fixture) -> Verdict {
    let make = |arguments: &[&str]| {
        let made = outcome::run(f.command("ipcmk").args(arguments), LIMIT);
        let id = made.text().rsplit(' ').next().unwrap_or_default().trim().to_owned();
        (made.code == Some(0)).then_some(id)
    };
    let (Some(shm), Some(queue), Some(semaphore)) = (make(&["-M", "64"]), make(&["-Q"]), make(&["-S", "1"]))
    else {
        return Err(Skip::because("ipcmk is not here"));
    };
    let key = |listing: &str, id: &str| {
        let text = std::fs::read_to_string(format!("/proc/sysvipc/{listing}")).expect("proc");
        let row =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|row| row[1] == id);
        row.expect("just made")[0].to_owned()
    };
    let (shm_key, queue_key, semaphore_key) = (key("shm", &shm), key("msg", &queue), key("sem", &semaphore));
    f.check(&Pair {
        allowed: &[&["shm-local"]],
        forbidden: &[
            (&["shm-find", &shm_key], "ENOENT"),
            (&["msg-find", &queue_key], "ENOENT"),
            (&["sem-find", &semaphore_key], "ENOENT"),
        ],
        ..Pair::default()
    });
    outcome::run(f.command("ipcrm").args(["-m", &shm, "-q", &queue, "-s", &semaphore]), LIMIT).assert_code(0);
    Ok(())
}

fn message_queues_are_private(f: &Fixture) -> Verdict {
    let name = format!("/{}", f.unique);
    if f.outside(&["mq-local", &name]).verdict() != "ok" {
        return Err(Skip::because("this kernel has no POSIX message queues"));
    }
    f.outside(&["mq-make", &name]).assert_stdout("ok\n");
    f.check(&Pair {
        allowed: &[&["posix-shm-local", &name]],
        forbidden: &[(&["mq-find", &name], "ENOENT"), (&["mq-remove", &name], "ENOENT")],
        ..Pair::default()
    });
    Ok(())
}

fn posix_shared_memory_is_private(f: &Fixture) -> Verdict {
    let name = format!("/{}", f.unique);
    f.outside(&["posix-shm-make", &name]).assert_stdout("ok\n");
    f.check(&Pair {
        allowed: &[&["posix-shm-local", &name]],
        forbidden: &[(&["posix-shm-find", &name], "ENOENT"), (&["posix-shm-remove", &name], "ENOENT")],
        ..Pair::default()
    });
    Ok(())
}

fn listings_are_empty(f: &Fixture) -> Verdict {
    let _victim = f.victim();
    let count = "cat /proc/sysvipc/shm /proc/sysvipc/msg /proc/sysvipc/sem | grep -vc key";
    f.sh(&[], count).assert_stdout("0\n");
    let outside = outcome::run(&mut f.host_sh(count), LIMIT);
    assert_ne!(outside.text(), "0\n");
    Ok(())
}
