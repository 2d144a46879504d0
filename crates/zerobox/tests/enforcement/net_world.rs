//! A network for tests that need one: this machine with one link, and behind it a world whose every address answers and
//! keeps what it is told (`world.py`). Only root can make it; nothing of the real network is touched.

use crate::case::Skip;
use crate::fixture::{Fixture, LIMIT, PATH};
use crate::identity::Identity;
use crate::outcome::{self, Outcome};
use std::process::Command;

/// What a script did, and what the world has heard of it.
#[derive(Debug)]
pub struct Told {
    pub outcome: Outcome,
    pub log: Vec<String>,
}

impl Told {
    /// The lines of the world's log with `text` in them.
    pub fn about(&self, text: &str) -> Vec<&String> {
        self.log.iter().filter(|line| line.contains(text)).collect()
    }

    #[track_caller]
    pub fn assert_nobody_heard(&self, text: &str) {
        let heard = self.about(text);
        assert!(heard.is_empty(), "`{text}` got out: {heard:?}\n{}", self.outcome);
    }
}

impl Fixture {
    /// A shell script in a sandbox on that machine; `$ZEROBOX` is not in it.
    ///
    /// # Errors
    /// When the tests are not root's.
    pub fn world_inside(&self, zone: &str, flags: &[&str], script: &str) -> Result<Told, Skip> {
        self.write("project/script.sh", script);
        let flags: String = flags.iter().map(|flag| format!("'{flag}' ")).collect();
        self.world(zone, &format!("\"$ZEROBOX\" {flags} -- /bin/sh script.sh"))
    }

    /// The same without the sandbox.
    ///
    /// # Errors
    /// When the tests are not root's.
    pub fn world_bare(&self, zone: &str, script: &str) -> Result<Told, Skip> {
        self.write("project/script.sh", script);
        self.world(zone, "/bin/sh script.sh")
    }

    /// A shell script of the test's account on a machine at 203.0.113.2 whose name server knows `zone` (JSON, see
    /// `world.py`). `$ZEROBOX` and `$PROBE` are the programs, `$HOSTS` is `/etc/hosts`.
    ///
    /// # Errors
    /// When the tests are not root's.
    pub fn world(&self, zone: &str, script: &str) -> Result<Told, Skip> {
        if !Identity::invoked_by_root() {
            return Err(Skip::because("a network of the test's own takes root's rights"));
        }
        self.write("hosts", "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 machine\n");
        self.write("resolv.conf", "nameserver 10.255.255.53\noptions timeout:2 attempts:1\n");
        self.write("nsswitch.conf", "hosts: files dns\n");
        self.write("world.py", WORLD);
        self.write("log", "");
        self.chmod("log", 0o666);
        let user = format!("{}:{}", self.identity.uid(), self.identity.gid());
        let mut command = Command::new("/usr/bin/unshare");
        self.write("machine.sh", MACHINE);
        let machine = ". \"$ROOT/machine.sh\"";
        let flags = ["-mnp", "--fork", "--mount-proc", "--kill-child"];
        command.args(flags).args(["/bin/sh", "-c", machine, &user, script]);
        command
            .env_clear()
            .env("ZONE", zone)
            .env("PATH", format!("{PATH}:/usr/sbin:/sbin"))
            .env("HOME", &self.home);
        command.env("ROOT", &self.root).env("HOSTS", self.root.join("hosts")).env("LANG", "C.UTF-8");
        command.env("ZEROBOX", &self.tools.zerobox).env("PROBE", self.project.join("probe"));
        command.current_dir(&self.project);
        let outcome = outcome::run(&mut command, 3 * LIMIT);
        assert!(outcome.text().starts_with("ready\nready\n"), "the world is not there\n{outcome}");
        let log = self.read("log").lines().map(str::to_owned).collect();
        Ok(Told { outcome, log })
    }
}

const WORLD: &str = include_str!("world.py");

const MACHINE: &str = r#"
sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
for file in hosts resolv.conf nsswitch.conf; do mount --bind "$ROOT/$file" /etc/$file || exit 99; done
ip link set lo up
ip link add w0 type veth peer name w1 || exit 98
rm -f "$ROOT/go" "$ROOT/said" "$ROOT/said2"; mkfifo "$ROOT/go" "$ROOT/said"
unshare -n /usr/bin/python3 "$ROOT/world.py" world "$ROOT/log" "$ZONE" < "$ROOT/go" > "$ROOT/said" &
exec 7> "$ROOT/go" 8< "$ROOT/said"
while [ "$(readlink /proc/$!/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
ip link set w1 netns $!
ip addr add 203.0.113.2/30 dev w0; ip -6 addr add 2001:db8:ffff::2/64 dev w0 nodad; ip link set w0 up
ip route add default via 203.0.113.1; ip -6 route add default via 2001:db8:ffff::1
echo >&7
read line <&8; echo "$line"
/usr/bin/python3 "$ROOT/world.py" own "$ROOT/log" '{}' > "$ROOT/said2" 2>&1 &
while [ ! -s "$ROOT/said2" ]; do sleep 0.02; done
cat "$ROOT/said2"
exec 7>&- 8<&-
setpriv --reuid ${0%:*} --regid ${0#*:} --clear-groups /bin/sh -c "$1"
code=$?
sleep 0.1
kill $(jobs -p) 2> /dev/null
exit $code
"#;
