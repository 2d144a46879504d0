//! The authority of a run where hosts are looked into, as programs find it.

use crate::case::{Case, Skip, Verdict, cases};
use crate::fixture::Fixture;

pub const CASES: &[Case] = cases![
    Everyone: the_authority_is_found_by_its_hash, java_trusts_the_authority, what_the_caller_sets_stays,
        nobody_trusts_it_where_nothing_is_looked_into;
];

const INSPECTED: &str = "--allow-http=GET https://api.example.test/**";

/// Succeeds when the run's certificate is to be found in `$1` by its hash, and nowhere else.
const BY_HASH: &str =
    "openssl verify -no-CAfile -no-CAstore -CApath \"$1\" \"$NODE_EXTRA_CA_CERTS\" > /dev/null 2>&1";

fn has(f: &Fixture, program: &str) -> bool {
    f.host_sh(&format!("command -v {program} > /dev/null")).status().is_ok_and(|status| status.success())
}

fn the_authority_is_found_by_its_hash(f: &Fixture) -> Verdict {
    if !has(f, "openssl") {
        return Err(Skip::because("there is no openssl"));
    }
    let check = |folder: &str| f.sh(&[INSPECTED], &format!("set -- {folder}; {BY_HASH}"));
    check("\"$SSL_CERT_DIR\"").assert_code(0);
    // The check can fail.
    check("/etc/ssl/certs").assert_code(2);
    check("/usr").assert_code(2);
    Ok(())
}

fn java_trusts_the_authority(f: &Fixture) -> Verdict {
    if !has(f, "keytool") {
        return Err(Skip::because("there is no Java"));
    }
    let list = "store=${JAVA_TOOL_OPTIONS#*trustStore=}; store=${store%% *}; unset JAVA_TOOL_OPTIONS
        keytool -list -v -keystore \"$store\" -storetype PKCS12 -storepass '' 2>/dev/null > list
        grep -c '^Owner: CN=zerobox ' list; grep -c trustedCertEntry list; grep -c BEGIN \"$SSL_CERT_FILE\"";
    let outcome = f.sh(&[INSPECTED, "--allow-write=."], list);
    let lines = outcome.lines();
    assert_eq!(lines.first().map(String::as_str), Some("1"), "{outcome}");
    // Whom the machine believes is believed as well; some bundles name one twice.
    let count = |at: usize| lines.get(at).and_then(|line| line.parse::<usize>().ok()).unwrap_or_default();
    assert!(count(1) > 1 && count(1) <= count(2), "{outcome}");
    Ok(())
}

fn what_the_caller_sets_stays(f: &Fixture) -> Verdict {
    let flags =
        [INSPECTED, "--env=SSL_CERT_DIR=/mine", "--env=JAVA_TOOL_OPTIONS=-Djavax.net.ssl.trustStore=/mine"];
    f.sh(&flags, "echo $SSL_CERT_DIR $JAVA_TOOL_OPTIONS")
        .assert_stdout("/mine -Djavax.net.ssl.trustStore=/mine\n");
    Ok(())
}

fn nobody_trusts_it_where_nothing_is_looked_into(f: &Fixture) -> Verdict {
    let script = "echo \"$SSL_CERT_DIR$SSL_CERT_FILE$JAVA_TOOL_OPTIONS\"; test ! -e /run/zerobox";
    f.sh(&["--allow-net=api.example.test"], script).assert_code(0).assert_stdout("\n");
    Ok(())
}
