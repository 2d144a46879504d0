//! The resolver of hosts without getent(1): `/etc/hosts` (hosts(5)), then the name servers of `/etc/resolv.conf`
//! (resolv.conf(5)), over UDP and, for what does not fit, TCP.
//!
//! Search domains and the other options are not looked at: a name means itself here.

use super::ResolveError;
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use zerobox_policy::HostName;

pub(super) struct Files {
    hosts: PathBuf,
    resolv_conf: PathBuf,
    port: u16,
}

impl Files {
    pub(super) fn system() -> Self {
        Self { hosts: "/etc/hosts".into(), resolv_conf: "/etc/resolv.conf".into(), port: 53 }
    }

    pub(super) async fn ask(&self, name: &HostName) -> Result<Vec<IpAddr>, ResolveError> {
        let listed = of_hosts(&read(&self.hosts)?, name);
        if !listed.is_empty() {
            return Ok(listed);
        }
        let servers = name_servers(&read(&self.resolv_conf)?);
        let mut failure = ResolveError::TimedOut;
        for server in servers.iter().chain(&servers) {
            match ask_server(SocketAddr::new(*server, self.port), name).await {
                Ok(found) => return Ok(found),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                Err(error) => failure = ResolveError::Failed(format!("name server `{server}`: {error}")),
            }
        }
        Err(failure)
    }
}

/// A file that is not there is an empty one.
fn read(path: &Path) -> Result<String, ResolveError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(ResolveError::Failed(format!("`{}`: {error}", path.display()))),
    }
}

fn of_hosts(text: &str, name: &HostName) -> Vec<IpAddr> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let address = words.next()?.parse().ok()?;
            words.any(|word| HostName::parse(word).as_ref() == Ok(name)).then_some(address)
        })
        .collect()
}

fn name_servers(text: &str) -> Vec<IpAddr> {
    let words = text.lines().map(|line| line.split_ascii_whitespace());
    let listed = words.filter_map(|mut words| match (words.next(), words.next()) {
        (Some("nameserver"), Some(address)) => address.parse().ok(),
        _ => None,
    });
    let servers: Vec<_> = listed.take(MOST_SERVERS).collect();
    if servers.is_empty() { vec![Ipv4Addr::LOCALHOST.into()] } else { servers }
}

/// Both families; a name that does not exist has no addresses.
async fn ask_server(server: SocketAddr, name: &HostName) -> io::Result<Vec<IpAddr>> {
    let mut found = Vec::new();
    for kind in [TYPE::A, TYPE::AAAA] {
        let query = Query::new(name, kind)?;
        let exchange = async {
            match query.over_udp(server).await? {
                Some(addresses) => Ok(addresses),
                None => query.over_tcp(server).await,
            }
        };
        found.extend(tokio::time::timeout(TRY, exchange).await.map_err(|_| io::ErrorKind::TimedOut)??);
    }
    Ok(found)
}

struct Query {
    id: u16,
    name: String,
    kind: TYPE,
    bytes: Vec<u8>,
}

impl Query {
    fn new(name: &HostName, kind: TYPE) -> io::Result<Self> {
        let mut id = [0; 2];
        rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())?;
        let id = u16::from_ne_bytes(id);
        let name = name.to_string();
        let mut packet = Packet::new_query(id);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let labels = Name::new(&name).map_err(io::Error::other)?;
        packet.questions.push(Question::new(labels, kind.into(), CLASS::IN.into(), false));
        let bytes = packet.build_bytes_vec().map_err(io::Error::other)?;
        Ok(Self { id, name, kind, bytes })
    }

    /// `None` if the answer was too long. The kernel chooses the port, and takes answers of this server only.
    async fn over_udp(&self, server: SocketAddr) -> io::Result<Option<Vec<IpAddr>>> {
        let any: IpAddr =
            if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(server).await?;
        socket.send(&self.bytes).await?;
        let mut buffer = vec![0; MOST_BYTES];
        loop {
            let length = socket.recv(&mut buffer).await?;
            // Whatever is no answer to this question may be forged: the true one can still come.
            if let Some(reply) = self.check(&buffer[..length]) {
                let cut = reply.has_flags(PacketFlag::TRUNCATION);
                return if cut { Ok(None) } else { self.addresses(&reply).map(Some) };
            }
        }
    }

    async fn over_tcp(&self, server: SocketAddr) -> io::Result<Vec<IpAddr>> {
        let mut stream = TcpStream::connect(server).await?;
        let length = u16::try_from(self.bytes.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), &self.bytes[..]].concat()).await?;
        let mut buffer = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut buffer).await?;
        let reply = self.check(&buffer).ok_or(io::ErrorKind::InvalidData)?;
        self.addresses(&reply)
    }

    /// The message, if it is an answer to this question.
    fn check<'a>(&self, message: &'a [u8]) -> Option<Packet<'a>> {
        let reply = Packet::parse(message).ok()?;
        let [question] = reply.questions.as_slice() else { return None };
        let same = reply.id() == self.id
            && reply.has_flags(PacketFlag::RESPONSE)
            && question.qtype == self.kind.into()
            && question.qclass == CLASS::IN.into()
            && is(&question.qname, &self.name);
        same.then_some(reply)
    }

    /// The addresses of the name, or of what its aliases lead to.
    fn addresses(&self, reply: &Packet<'_>) -> io::Result<Vec<IpAddr>> {
        match reply.rcode() {
            RCODE::NoError => {}
            RCODE::NameError => return Ok(Vec::new()),
            code => return Err(io::Error::other(format!("{code:?}"))),
        }
        let mut name = self.name.clone();
        for _ in 0..MOST_ALIASES {
            let alias = reply.answers.iter().find_map(|record| match &record.rdata {
                RData::CNAME(target) if is(&record.name, &name) => Some(target.0.to_string()),
                _ => None,
            });
            match alias {
                Some(alias) => name = alias,
                None => break,
            }
        }
        let own = reply.answers.iter().filter(|record| is(&record.name, &name));
        let addresses = own.filter_map(|record| match &record.rdata {
            RData::A(a) if self.kind == TYPE::A => Some(Ipv4Addr::from_bits(a.address).into()),
            RData::AAAA(aaaa) if self.kind == TYPE::AAAA => Some(Ipv6Addr::from_bits(aaaa.address).into()),
            _ => None,
        });
        Ok(addresses.collect())
    }
}

fn is(name: &Name<'_>, text: &str) -> bool {
    name.to_string().eq_ignore_ascii_case(text)
}

/// Three as in glibc, each twice, in less time than a caller waits.
const MOST_SERVERS: usize = 3;
const TRY: Duration = Duration::from_millis(1500);
const MOST_BYTES: usize = 4096;
const MOST_ALIASES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{A, AAAA, CNAME};

    fn name(text: &str) -> HostName {
        HostName::parse(text).unwrap()
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    /// What a server says of a query: an alias and its address, no such name, or nothing but "too long".
    fn reply(query: &[u8], cut: bool) -> Vec<u8> {
        let query = Packet::parse(query).unwrap();
        let question = &query.questions[0];
        let mut reply = Packet::new_reply(query.id());
        reply.questions.push(question.clone());
        let is_a = question.qtype == TYPE::A.into();
        let mut add = |name: &'static str, data| {
            reply.answers.push(ResourceRecord::new(Name::new_unchecked(name), CLASS::IN, 60, data));
        };
        if question.qname.to_string() != "a.example" {
            *reply.rcode_mut() = RCODE::NameError;
        } else if cut {
            reply.set_flags(PacketFlag::TRUNCATION);
        } else {
            let [first, second] = ["B.example", "c.example"].map(Name::new_unchecked);
            add("A.example", RData::CNAME(CNAME(first)));
            add("b.example", RData::CNAME(CNAME(second)));
            if is_a {
                add("c.EXAMPLE", RData::A(A { address: Ipv4Addr::new(192, 0, 2, 7).to_bits() }));
                add("other.example", RData::A(A { address: 1 }));
            } else {
                add("c.example", RData::AAAA(AAAA { address: Ipv6Addr::LOCALHOST.to_bits() }));
            }
        }
        reply.build_bytes_vec_compressed().unwrap()
    }

    /// Answers over UDP, behind a forged answer each, and over TCP at the same port if UDP says "too long".
    async fn serve(udp: UdpSocket, tcp: tokio::net::TcpListener, cut: bool) {
        let over_tcp = async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let mut query = vec![0; stream.read_u16().await.unwrap().into()];
                stream.read_exact(&mut query).await.unwrap();
                let reply = reply(&query, false);
                stream.write_u16(reply.len().try_into().unwrap()).await.unwrap();
                stream.write_all(&reply).await.unwrap();
            }
        };
        tokio::spawn(over_tcp);
        let mut buffer = [0; 600];
        loop {
            let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
            let mut forged = reply(&buffer[..length], false);
            forged[0] ^= 1;
            udp.send_to(&forged, from).await.unwrap();
            udp.send_to(b"rubbish", from).await.unwrap();
            udp.send_to(&reply(&buffer[..length], cut), from).await.unwrap();
        }
    }

    fn ask(text: &str, cut: bool) -> Result<Vec<IpAddr>, ResolveError> {
        let dir = tempfile::tempdir().unwrap();
        let resolv_conf = dir.path().join("resolv.conf");
        std::fs::write(&resolv_conf, "search example\nnameserver 127.0.0.1\n").unwrap();
        let hosts = dir.path().join("hosts");
        std::fs::write(&hosts, "192.0.2.9 db Db.Internal # a.example\n").unwrap();
        run(async {
            let (udp, tcp) = loop {
                let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                // Somebody else may have the port.
                if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                    break (udp, tcp);
                }
            };
            let port = udp.local_addr().unwrap().port();
            tokio::spawn(serve(udp, tcp, cut));
            Files { hosts, resolv_conf, port }.ask(&name(text)).await
        })
    }

    #[test]
    fn aliases_are_followed_over_udp_and_tcp() {
        let expected: Vec<IpAddr> = vec!["192.0.2.7".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(ask("a.example", false).unwrap(), expected);
        assert_eq!(ask("a.example", true).unwrap(), expected);
    }

    #[test]
    fn the_hosts_file_comes_first() {
        assert_eq!(ask("db.internal", false).unwrap(), ["192.0.2.9".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_name_that_does_not_exist_has_no_addresses() {
        assert_eq!(ask("no.example", false), Ok(Vec::new()));
    }

    #[test]
    fn name_servers_are_read_as_glibc_reads_them() {
        assert_eq!(
            name_servers("nameserver ::1\n#nameserver 192.0.2.1\n"),
            [IpAddr::from(Ipv6Addr::LOCALHOST)]
        );
        assert_eq!(name_servers(""), [IpAddr::from(Ipv4Addr::LOCALHOST)]);
    }

    proptest! {
        #[test]
        fn no_reply_is_too_odd(noise in prop::collection::vec(any::<u8>(), 0..300)) {
            let query = Query::new(&name("a.example"), TYPE::A).unwrap();
            prop_assert!(query.check(&noise).is_none());
        }

        #[test]
        fn a_damaged_reply_is_no_panic(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let query = Query::new(&name("a.example"), TYPE::A).unwrap();
            let mut message = reply(&query.bytes, false);
            for (at, byte) in damage {
                let at = at.index(message.len());
                message[at] = byte;
            }
            for length in [message.len(), cut.index(message.len())] {
                if let Some(reply) = query.check(&message[..length]) {
                    let _ = query.addresses(&reply);
                }
            }
        }
    }
}
