//! `--dry-run`: the policy and the plan, printed from the structures that are enforced.

use super::pretty;
use super::text::visible;
use std::fmt;
use std::net::SocketAddr;
use zerobox::{Error, Session};
use zerobox_linux::{Mount, Plan};
use zerobox_policy::{Confinement, Effect, Network, NetworkMode, Policy, RuleSource, quote};

/// The plan for programs.
///
/// # Errors
/// As [`Session::plan`].
pub(crate) fn json(session: &Session) -> Result<String, Error> {
    let plan = session.plan()?;
    Ok(pretty(&serde_json::json!({ "version": 1, "policy": session.policy, "plan": plan })))
}

/// The plan for people.
///
/// # Errors
/// As [`Session::plan`].
pub(crate) fn text(session: &Session) -> Result<String, Error> {
    let mut page = Page(String::new());
    // Writing to a string does not fail.
    let _ = write_text(&mut page, &session.policy, session.plan()?);
    Ok(page.0)
}

/// Lines of which each is one `writeln!`, whatever is in the names that it shows.
struct Page(String);

impl Page {
    fn write_fmt(&mut self, line: fmt::Arguments<'_>) -> fmt::Result {
        let line = line.to_string();
        self.0.push_str(&visible(line.strip_suffix('\n').unwrap_or(&line)));
        self.0.push('\n');
        Ok(())
    }
}

fn write_text(out: &mut Page, policy: &Policy, plan: Option<&Plan>) -> fmt::Result {
    let words: Vec<_> = policy.command.iter().map(quote::word).collect();
    writeln!(out, "command      {}", words.join(" "))?;
    writeln!(out, "directory    {}", policy.cwd.display())?;
    if let Confinement::None(origin) = &policy.confinement {
        writeln!(out, "sandbox      none ({origin})")?;
    }
    for note in &policy.notes {
        writeln!(out, "note         {}; {}", note.text, note.hint)?;
    }
    if let Some(plan) = plan {
        heading(out, "file system, in this order")?;
        for mount in &plan.mounts {
            write_mount(out, mount)?;
        }
        heading(out, "file rules (a deny beats every allow)")?;
        for rule in
            policy.files.iter().filter(|rule| rule.source == RuleSource::User || rule.effect == Effect::Deny)
        {
            let effect = format!("{:?}-{:?}", rule.effect, rule.access).to_lowercase();
            writeln!(out, "  {effect:<12} {}  ({})", rule.path.display(), rule.origin)?;
        }
        heading(out, "reported if they appear or change (files that others will run)")?;
        for watched in &policy.watched {
            writeln!(out, "  {}  ({})", watched.path.display(), watched.obeyed_by)?;
        }
        for tree in &policy.watched_trees {
            for watched in tree.appeared(None, &|_| true) {
                writeln!(out, "  {}  ({})", watched.path.display(), watched.obeyed_by)?;
            }
        }
        heading(out, &format!("Landlock, ABI {} (everything else is denied)", plan.landlock_abi))?;
        for rule in &plan.landlock {
            let rights = format!("{:?}", rule.rights).to_lowercase();
            writeln!(out, "  {rights:<12} {}", rule.path.display())?;
        }
        heading(out, "system calls refused or mediated")?;
        for entry in &plan.syscalls {
            writeln!(out, "  {:<20} {}", entry.name, entry.reason)?;
        }
        heading(out, "network")?;
        write_network(out, &policy.network)?;
        write_secrets(out, &policy.network)?;
        for socket in &policy.sockets {
            writeln!(out, "  connect      {}  ({})", socket.path.display(), socket.origin)?;
        }
    }
    write_limits(out, policy)?;
    heading(out, "variables (values are not shown)")?;
    for variable in &policy.environment {
        writeln!(out, "  {}  ({})", variable.name.to_string_lossy(), variable.origin)?;
    }
    for degradation in plan.iter().flat_map(|plan| &plan.degradations) {
        heading(out, "weaker here")?;
        writeln!(out, "  {}: {}; {}", degradation.layer, degradation.lacks, degradation.remedy)?;
    }
    Ok(())
}

fn write_limits(out: &mut Page, policy: &Policy) -> fmt::Result {
    heading(out, "limits")?;
    let limits = &policy.limits;
    writeln!(out, "  scratch      {}", limits.scratch)?;
    for (name, flag, value) in [
        ("time", "--timeout", limits.timeout.map(|limit| format!("{:?}", limit.duration()))),
        ("memory", "--memory", limits.memory.map(|limit| limit.to_string())),
        ("cpus", "--cpus", limits.cpus.map(|limit| limit.count().to_string())),
        ("pids", "--pids", limits.pids.map(|limit| limit.to_string())),
        ("file-size", "--file-size", limits.file_size.map(|limit| limit.to_string())),
        ("open-files", "--open-files", limits.open_files.map(|limit| limit.to_string())),
    ] {
        if let Some(value) = value {
            writeln!(out, "  {name:<12} {value}  ({})", policy.origins.of_limit(flag))?;
        }
    }
    Ok(())
}

fn write_network(out: &mut Page, network: &Network) -> fmt::Result {
    match &network.mode {
        NetworkMode::None => writeln!(out, "  a loopback of its own, and nothing else  (default)")?,
        NetworkMode::Captured => {
            writeln!(out, "  every connection is decided about by these rules (a deny beats every allow)")?;
        }
        NetworkMode::Host(origin) => writeln!(out, "  this machine's own, without rules  ({origin})")?,
    }
    for rule in &network.rules {
        let effect = format!("{:?}", rule.effect).to_lowercase();
        writeln!(out, "  {effect:<12} {rule}  ({})", rule.origin)?;
    }
    for pin in &network.pins {
        let address = SocketAddr::new(pin.address, pin.port);
        writeln!(out, "  pinned       {}:{} -> {address}  ({})", pin.name, pin.port, pin.origin)?;
    }
    for publish in &network.publish {
        let address = SocketAddr::new(publish.host, publish.host_port);
        writeln!(out, "  published    {address} -> port {}  ({})", publish.port, publish.origin)?;
    }
    Ok(())
}

/// The secrets and where they may go; never a value.
fn write_secrets(out: &mut Page, network: &Network) -> fmt::Result {
    for rule in &network.http {
        let effect = format!("{:?}-http", rule.effect).to_lowercase();
        writeln!(out, "  {effect:<12} {rule}  ({})", rule.origin)?;
    }
    for closed in &network.closed {
        let port = closed.port.map(|port| format!(":{port}")).unwrap_or_default();
        writeln!(out, "  closed       {}{port}  ({})", closed.host, closed.origin)?;
    }
    for path in &network.upstream_ca {
        writeln!(out, "  trusted      {}", path.display())?;
    }
    if network.secrets.is_empty() {
        return Ok(());
    }
    heading(out, "secrets (the command has placeholders)")?;
    for secret in &network.secrets {
        writeln!(out, "  {}  from {}  ({})", secret.name, secret.source, secret.origin)?;
        for bound in &secret.hosts {
            let plain = if secret.plaintext { ", also without TLS" } else { "" };
            writeln!(out, "    to         {}:{}{plain}  ({})", bound.host, bound.port(), bound.origin)?;
        }
        writeln!(out, "    in         {}", secret.places)?;
        if let Some(limit) = secret.limit {
            writeln!(out, "    at most    {limit}")?;
        }
    }
    Ok(())
}

fn heading(out: &mut Page, text: &str) -> fmt::Result {
    writeln!(out)?;
    writeln!(out, "{text}:")
}

fn write_mount(out: &mut Page, mount: &Mount) -> fmt::Result {
    let path = mount.path().display();
    match mount {
        Mount::Directory { .. } => writeln!(out, "  directory    {path}"),
        Mount::File { .. } => writeln!(out, "  mount point  {path}"),
        Mount::Link { target, .. } => writeln!(out, "  link         {path} -> {}", target.display()),
        Mount::Text { .. } => writeln!(out, "  own text     {path}"),
        Mount::Bind { access, origin, .. } => {
            let access = format!("{access:?}").to_lowercase();
            writeln!(out, "  {access:<12} {path}  ({origin})")
        }
        Mount::Node { source, .. } if source == mount.path() => writeln!(out, "  device       {path}"),
        Mount::Node { source, .. } => writeln!(out, "  device       {path}  (is {})", source.display()),
        Mount::Pin { .. } => writeln!(out, "  pinned       {path}"),
        Mount::Layer { .. } => writeln!(out, "  layer        {path}  (what is written is thrown away)"),
        Mount::Cover { origin, .. } => writeln!(out, "  hidden       {path}  ({origin})"),
        Mount::Scratch { kind, .. } => {
            writeln!(out, "  scratch      {path}  ({})", format!("{kind:?}").to_lowercase())
        }
        Mount::Processes { .. } => writeln!(out, "  proc         {path}"),
        Mount::Terminals { .. } => writeln!(out, "  devpts       {path}"),
        Mount::Freeze { .. } => writeln!(out, "  read-only    {path}"),
    }
}
