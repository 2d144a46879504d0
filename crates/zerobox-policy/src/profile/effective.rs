//! What a request says in the end, value by value.

use super::keys::{KEYS, Key};
use crate::origin::Origin;
use crate::request::{EnvList, NetList, PathList, Request};
use serde::Serialize;
use std::ffi::OsStr;

/// A value that is in force, and where it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Effective {
    /// The key, which is the flag without its `--`.
    pub key: &'static str,
    /// The value as it would be written; never that of a secret.
    pub value: String,
    /// Where it was written.
    pub origin: Origin,
}

/// Everything that `request` says about what the command may do, in the order of the keys.
pub fn effective(request: &Request) -> Vec<Effective> {
    KEYS.iter().flat_map(|key| of(key, request)).collect()
}

fn of<'a>(key: &'static Key, request: &'a Request) -> impl Iterator<Item = Effective> + use<'a> {
    values(key, request).into_iter().enumerate().map(move |(index, value)| Effective {
        key: key.name,
        origin: request.origins.written(key.flag, index).origin(Some(OsStr::new(&value))),
        value,
    })
}

fn values(key: &Key, request: &Request) -> Vec<String> {
    let shown = |text: &dyn AsRef<OsStr>| text.as_ref().to_string_lossy().into_owned();
    let all = || "true".to_owned();
    let paths = |lists: &[PathList]| -> Vec<String> {
        let of = |list: &PathList| match list {
            PathList::All => all(),
            PathList::Listed(text) => shown(text),
        };
        lists.iter().map(of).collect()
    };
    let texts = |list: &[std::ffi::OsString]| list.iter().map(|text| shown(text)).collect::<Vec<_>>();
    let one = |value: Option<String>| value.into_iter().collect();
    match key.name {
        "allow-read" => paths(&request.allow_read),
        "deny-read" => texts(&request.deny_read),
        "allow-write" => paths(&request.allow_write),
        "deny-write" => texts(&request.deny_write),
        "share-tmp" => one(request.share_tmp.map(|on| on.to_string())),
        "scratch-size" => one(request.scratch_size.map(|size| size.to_string())),
        "allow-net" => {
            let of = |list: &NetList| match list {
                NetList::All => all(),
                NetList::Listed(text) => text.clone(),
            };
            request.allow_net.iter().map(of).collect()
        }
        "allow-net-from" => request.allow_net_from.clone(),
        "deny-net" => request.deny_net.clone(),
        "resolve" => request.resolve.clone(),
        "publish" => request.publish.clone(),
        "allow-http" => request.allow_http.clone(),
        "deny-http" => request.deny_http.clone(),
        "no-tls-inspect" => request.no_tls_inspect.clone(),
        "upstream-ca" => texts(&request.upstream_ca),
        "net" => one(request.net_host.then(|| "host".to_owned())),
        "secret" => request.secrets.iter().map(|secret| secret.shown()).collect(),
        "secret-host" => texts(&request.secret_hosts),
        "secret-file" => texts(&request.secret_files),
        "secret-in" => texts(&request.secret_in),
        "secret-plaintext" => texts(&request.secret_plaintext),
        "secret-limit" => texts(&request.secret_limits),
        "env" => texts(&request.env),
        "allow-env" => {
            let of = |list: &EnvList| match list {
                EnvList::All => all(),
                EnvList::Listed(text) => text.clone(),
            };
            request.allow_env.iter().map(of).collect()
        }
        "deny-env" => request.deny_env.clone(),
        "allow-socket" => texts(&request.allow_socket),
        "cwd" => one(request.cwd.as_ref().map(|path| shown(path))),
        "timeout" => one(request.timeout.map(|limit| format!("{:?}", limit.duration()))),
        "memory" => one(request.memory.map(|limit| limit.to_string())),
        "cpus" => one(request.cpus.map(|limit| limit.count().to_string())),
        "pids" => one(request.pids.map(|limit| limit.to_string())),
        "file-size" => one(request.file_size.map(|limit| limit.to_string())),
        "open-files" => one(request.open_files.map(|limit| limit.to_string())),
        "strict-sandbox" => one(request.strict.then(all)),
        _ => Vec::new(),
    }
}
