//! Java, which reads neither bundles nor the usual variables: it gets a trust store of its own.
//!
//! `JAVA_TOOL_OPTIONS` is the one variable that every JVM reads, and each says so on its standard error: `Picked up
//! JAVA_TOOL_OPTIONS`. So it is set only where a JVM is to be seen inside.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use zerobox_policy::{Origin, Policy, Variable};

/// Whether the command finds a JVM: where `JAVA_HOME` says, or on its `PATH`.
pub(super) fn is_visible(policy: &Policy) -> bool {
    let is_there =
        |java: &Path| java.canonicalize().is_ok_and(|java| java.is_file() && policy.granted(&java).is_some());
    let value = |name: &str| {
        policy
            .environment
            .iter()
            .find(|variable| variable.name == name)
            .map(|variable| variable.value.as_os_str())
    };
    value("JAVA_HOME").is_some_and(|home| is_there(&Path::new(home).join("bin/java")))
        || value("PATH")
            .is_some_and(|path| std::env::split_paths(path).any(|folder| is_there(&folder.join("java"))))
}

/// Tells JVMs of the store. What else they are told stays, and a store of the caller's own as well.
pub(super) fn announce(store: &Path, environment: &mut Vec<Variable>) {
    let mut options = OsString::from("-Djavax.net.ssl.trustStore=");
    options.push(store);
    options.push(" -Djavax.net.ssl.trustStoreType=PKCS12");
    match environment.iter_mut().find(|variable| variable.name == VARIABLE) {
        Some(known) if names_a_store(&known.value) => {}
        Some(known) => {
            known.value.push(" ");
            known.value.push(options);
        }
        None => environment.push(Variable {
            name: OsString::from(VARIABLE),
            value: options,
            origin: Origin::default_policy("certificates of this run"),
        }),
    }
}

fn names_a_store(options: &OsStr) -> bool {
    options.as_bytes().windows(PROPERTY.len()).any(|part| part == PROPERTY)
}

const VARIABLE: &str = "JAVA_TOOL_OPTIONS";
const PROPERTY: &[u8] = b"-Djavax.net.ssl.trustStore";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_caller_tells_stays() {
        let told = |before: Option<&str>| {
            let origin = Origin::default_policy("a test");
            let variable = |value: &str| Variable { name: VARIABLE.into(), value: value.into(), origin };
            let mut environment: Vec<_> = before.map(variable).into_iter().collect();
            announce(Path::new("/a.p12"), &mut environment);
            environment.pop().unwrap().value.into_string().unwrap()
        };
        let own = "-Djavax.net.ssl.trustStore=/a.p12 -Djavax.net.ssl.trustStoreType=PKCS12";
        assert_eq!(told(None), own);
        assert_eq!(told(Some("-Xmx1g")), format!("-Xmx1g {own}"));
        assert_eq!(told(Some("-Djavax.net.ssl.trustStore=/b.jks")), "-Djavax.net.ssl.trustStore=/b.jks");
    }
}
