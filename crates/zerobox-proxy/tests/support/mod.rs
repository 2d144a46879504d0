//! A proxy without a sandbox: clients connect to addresses of 127.0.0.0/8, each of which stands for a destination.
#![allow(dead_code, unused_imports, reason = "each test uses its part")]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use zerobox_policy::{Effect, Event, HostPattern, NetRule, Network, Origin, Pin};
use zerobox_proxy::{Authority, GATEWAY, Proxy, Setup, Sockets, Vault};

pub mod secrets;

pub struct Sandbox {
    proxy: Option<Proxy>,
    port: u16,
    destinations: Arc<Mutex<HashMap<IpAddr, SocketAddr>>>,
    next: AtomicU32,
    events: Arc<Mutex<Vec<Event>>>,
}

#[derive(Default)]
pub struct Options {
    pub environment: Vec<(&'static str, String)>,
    pub inside: Option<OwnedFd>,
    pub published: Vec<(OwnedFd, u16)>,
    pub vault: Vault,
    pub authority: Option<Authority>,
    pub upstream_ca: Vec<PathBuf>,
}

/// `name:port` is allowed and leads to that port of the loopback, `!pattern` is denied, all else is a rule.
pub fn sandbox(rules: &[&str]) -> Sandbox {
    sandbox_with(rules, Options::default())
}

pub fn sandbox_with(rules: &[&str], options: Options) -> Sandbox {
    let mut network = self::rules(rules);
    for rule in network.rules.iter() {
        if let (HostPattern::Name(name), Some(port)) = (&rule.host, rule.port) {
            let (address, origin) = (Ipv4Addr::LOCALHOST.into(), rule.origin.clone());
            network.pins.push(Pin { name: name.clone(), port, address, origin });
        }
    }
    start(network, options)
}

/// A policy of these rules, without pins.
pub fn rules(rules: &[&str]) -> Network {
    let parsed = rules.iter().map(|text| {
        let (effect, rule) = match text.strip_prefix('!') {
            Some(rule) => (Effect::Deny, rule),
            None => (Effect::Allow, *text),
        };
        let (host, port) = match rule.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') => (host, Some(port.parse().unwrap())),
            _ => (rule, None),
        };
        let host = HostPattern::parse(host).unwrap();
        NetRule {
            effect,
            transport: None,
            host,
            port,
            origin: Origin::flag("--allow-net", Some(rule.as_ref())),
        }
    });
    Network::new(parsed.collect(), Vec::new(), Vec::new())
}

pub fn start(network: Network, options: Options) -> Sandbox {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let destinations = Arc::new(Mutex::new(HashMap::new()));
    let events = Arc::new(Mutex::new(Vec::new()));
    let setup = Setup {
        network: Arc::new(network),
        sockets: Sockets {
            tcp: vec![listener.into()],
            udp: Vec::new(),
            inside: options.inside,
            inside_first: true,
            published: options.published,
        },
        vault: options.vault,
        authority: options.authority,
        upstream_ca: options.upstream_ca,
        environment: options.environment.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
        observe: {
            let events = Arc::clone(&events);
            Arc::new(move |event: &Event| events.lock().unwrap().push(event.clone()))
        },
    };
    let table = Arc::clone(&destinations);
    let destination =
        move |local: SocketAddr| table.lock().unwrap().get(&local.ip()).copied().unwrap_or(local);
    let proxy = Proxy::start_with(setup, Arc::new(destination)).unwrap();
    Sandbox { proxy: Some(proxy), port, destinations, next: AtomicU32::new(1), events }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.proxy.take().unwrap().stop();
    }
}

impl Sandbox {
    /// Connects as a program inside would.
    pub fn connect(&self, destination: impl Into<SocketAddr>) -> TcpStream {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(127, 77, 0, 0).to_bits() + number);
        self.destinations.lock().unwrap().insert(address.into(), destination.into());
        let stream = TcpStream::connect((address, self.port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    pub fn to_name(&self, name: &str, port: u16) -> TcpStream {
        let address = self.look_up(name).expect("an address");
        self.connect((address, port))
    }

    pub fn gateway(&self, port: u16) -> TcpStream {
        self.connect((GATEWAY, port))
    }

    /// Asks the sandbox's name server.
    pub fn look_up(&self, name: &str) -> Option<Ipv4Addr> {
        let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(u8::try_from(label.len()).unwrap());
            query.extend(label.as_bytes());
        }
        query.extend([0, 0, 1, 0, 1]);
        let mut stream = self.gateway(53);
        stream.write_all(&u16::try_from(query.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&query).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).unwrap();
        (answer[7] > 0)
            .then(|| <[u8; 4]>::try_from(&answer[query.len() + 12..query.len() + 16]).unwrap().into())
    }

    /// The events so far but those of DNS, as JSON-like text.
    pub fn events(&self) -> Vec<Event> {
        let events = self.events.lock().unwrap();
        events.iter().filter(|event| !matches!(event, Event::Dns { .. })).cloned().collect()
    }

    /// Waits until an event fits.
    pub fn event(&self, fits: impl Fn(&Event) -> bool) -> Event {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(event) = self.events().into_iter().find(&fits) {
                return event;
            }
            assert!(Instant::now() < until, "no such event in {:?}", self.events());
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn denial(&self, reason: &str) -> Event {
        self.event(|event| {
            event.decision().is_some_and(|decision| !decision.allowed && decision.reason.contains(reason))
        })
    }
}

/// A server that does the same with each connection.
pub struct Server {
    pub port: u16,
    /// How many connections brought at least one byte.
    pub heard: Arc<AtomicU32>,
}

pub fn serve(with: impl Fn(TcpStream) + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let with = Arc::new(with);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, with) = (stream.unwrap(), Arc::clone(&with));
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            thread::spawn(move || with(stream));
        }
    });
    Server { port, heard: Arc::default() }
}

impl Server {
    pub fn heard(&self) -> u32 {
        self.heard.load(Ordering::Relaxed)
    }

    /// `name` with the port.
    pub fn rule(&self, name: &str) -> String {
        format!("{name}:{}", self.port)
    }
}

/// A server that says back what it hears.
pub fn echo() -> Server {
    let heard = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&heard);
    let server = serve(move |mut stream| {
        if matches!(stream.peek(&mut [0]), Ok(1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let mut copy = stream.try_clone().unwrap();
        let _ = std::io::copy(&mut stream, &mut copy);
        let _ = stream.shutdown(std::net::Shutdown::Write);
    });
    Server { heard, ..server }
}

/// Everything until the end; `None` when the end is a reset.
pub fn read_all(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => Some(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
        Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
    }
}

/// One head of HTTP/1.
pub fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&head)),
        }
    }
    String::from_utf8(head).unwrap()
}

pub fn read_exactly(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}
