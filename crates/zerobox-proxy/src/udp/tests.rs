use super::*;
use std::time::Duration;
use tokio::time::timeout;
use zerobox_policy::HostName;

type Seen = Arc<Mutex<Vec<String>>>;

/// A forwarder, and what it has reported.
fn forwarder(rules: &[&str], pins: &[&str]) -> (Udp, Seen) {
    let seen = Seen::default();
    let log = seen.clone();
    let observe = move |event: &Event| {
        let line = match event {
            Event::Connect { host, port, transport: Transport::Udp, decision, .. } => {
                format!("{}{host}:{port}", if decision.allowed { '+' } else { '-' })
            }
            Event::Failed { host, port, .. } => format!("!{host}:{port}"),
            other => panic!("{other:?}"),
        };
        lock(&log).push(line);
    };
    let network = crate::tests::network_with_pins(rules, pins);
    (Udp::new(Arc::new(network), Names::new(), Resolver::new(), Arc::new(observe)), seen)
}

/// A server outside that sends back what it gets, in capitals.
async fn echo(address: &str) -> SocketAddr {
    let socket = UdpSocket::bind(address).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; LARGEST];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let _ = socket.send_to(&buffer[..length].to_ascii_uppercase(), from).await;
        }
    });
    address
}

/// The socket "inside": datagrams to any loopback address and its port are forwarded to `port`.
async fn inside(udp: &Udp, port: u16) -> u16 {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let own = socket.local_addr().unwrap().port();
    let udp = udp.clone();
    tokio::spawn(async move { udp.serve(socket.into(), port).await });
    own
}

async fn client(to: (&str, u16)) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(to).await.unwrap();
    socket
}

async fn receive(socket: &UdpSocket) -> Option<Vec<u8>> {
    let mut buffer = vec![0; LARGEST];
    let length = timeout(Duration::from_millis(500), socket.recv(&mut buffer)).await.ok()?.ok()?;
    buffer.truncate(length);
    Some(buffer)
}

/// Waits for something that another task is about to do.
async fn soon(what: impl Fn() -> bool) {
    for _ in 0..500 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen");
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn replies_come_from_the_address_that_the_client_knows() {
    run(async {
        let server = echo("127.9.8.7:0").await;
        let (udp, seen) = forwarder(&[&format!("udp://127.9.8.7:{}", server.port())], &[]);
        let port = inside(&udp, server.port()).await;
        let client = client(("127.9.8.7", port)).await;
        for message in ["one", "two", ""] {
            client.send(message.as_bytes()).await.unwrap();
            assert_eq!(receive(&client).await.unwrap(), message.to_uppercase().as_bytes());
        }
        let large = vec![b'x'; 60_000];
        client.send(&large).await.unwrap();
        assert_eq!(receive(&client).await.unwrap().len(), large.len());
        assert_eq!(*lock(&seen), [format!("+127.9.8.7:{}", server.port())]);
    });
}

#[test]
fn what_is_denied_is_dropped_and_reported_once() {
    run(async {
        let server = echo("127.9.8.6:0").await;
        let (udp, seen) = forwarder(&[&format!("udp://127.9.8.7:{}", server.port())], &[]);
        let port = inside(&udp, server.port()).await;
        let client = client(("127.9.8.6", port)).await;
        for _ in 0..5 {
            client.send(b"secret").await.unwrap();
        }
        assert_eq!(receive(&client).await, None);
        assert_eq!(*lock(&seen), [format!("-127.9.8.6:{}", server.port())]);
    });
}

/// As if sent to `to`, which is no address of the machine that runs the test.
fn send(udp: &Udp, inside: &Arc<Datagrams>, from: u16, to: IpAddr, port: u16, bytes: &[u8]) {
    let from = SocketAddr::from((Ipv4Addr::LOCALHOST, from));
    udp.forward(inside, &Datagram { length: bytes.len(), from, to }, port, bytes);
}

fn any_socket() -> Arc<Datagrams> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    Arc::new(Datagrams::new(socket.into()).unwrap())
}

#[test]
fn a_virtual_address_leads_to_its_name_and_only_on_the_port() {
    run(async {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let rule = format!("udp://ntp.example:{port}");
        let pins = [format!("ntp.example:{port}:127.0.0.1"), format!("ntp.example:{}:127.0.0.1", port ^ 1)];
        let (udp, seen) = forwarder(&[&rule], &[&pins[0], &pins[1]]);
        let address = udp.0.names.assign(&HostName::parse("ntp.example").unwrap()).unwrap();
        let inside = any_socket();
        // What arrives before the socket outside is there waits for it, in order.
        send(&udp, &inside, 1111, address.into(), port, b"one");
        send(&udp, &inside, 1111, address.into(), port, b"two");
        for expected in [&b"one"[..], b"two"] {
            assert_eq!(receive(&server).await.unwrap(), expected);
        }
        send(&udp, &inside, 1111, address.into(), port ^ 1, b"other port");
        send(&udp, &inside, 1111, "198.18.1.1".parse().unwrap(), port, b"no name");
        soon(|| lock(&seen).len() == 3).await;
        assert_eq!(receive(&server).await, None);
        let expected = ["+ntp.example".to_owned(), "-ntp.example".to_owned(), "-198.18.1.1".to_owned()];
        for (line, expected) in lock(&seen).iter().zip(expected) {
            assert!(line.starts_with(&expected), "{line}");
        }
    });
}

#[test]
fn a_name_without_addresses_is_a_failure() {
    run(async {
        let (udp, seen) = forwarder(&["udp://nothing.invalid:123"], &[]);
        let address = udp.0.names.assign(&HostName::parse("nothing.invalid").unwrap()).unwrap();
        send(&udp, &any_socket(), 1111, address.into(), 123, b"one");
        soon(|| *lock(&seen) == ["!nothing.invalid:123"]).await;
    });
}

#[test]
fn a_refusal_ends_the_flow_and_the_next_datagram_begins_another() {
    run(async {
        let place = std::net::UdpSocket::bind("127.9.8.5:0").unwrap().local_addr().unwrap();
        let (udp, seen) = forwarder(&[&format!("udp://{place}")], &[]);
        let port = inside(&udp, place.port()).await;
        let client = client(("127.9.8.5", port)).await;
        client.send(b"nobody").await.unwrap();
        soon(|| lock(&seen).len() == 1 && lock(&udp.0.flows).is_empty()).await;
        echo(&place.to_string()).await;
        client.send(b"somebody").await.unwrap();
        assert_eq!(receive(&client).await.unwrap(), b"SOMEBODY");
        assert_eq!(lock(&seen).len(), 2);
    });
}

#[test]
fn an_idle_flow_ends_and_its_name_is_free_again() {
    run(async {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let (udp, _) =
            forwarder(&[&format!("udp://ntp.example:{port}")], &[&format!("ntp.example:{port}:127.0.0.1")]);
        let address = udp.0.names.assign(&HostName::parse("ntp.example").unwrap()).unwrap();
        send(&udp, &any_socket(), 1111, address.into(), port, b"one");
        assert!(receive(&server).await.is_some());
        assert_eq!(lock(&udp.0.flows).len(), 1);
        tokio::time::pause();
        tokio::time::advance(IDLE / 2).await;
        tokio::task::yield_now().await;
        assert_eq!(lock(&udp.0.flows).len(), 1);
        tokio::time::advance(IDLE).await;
        soon(|| lock(&udp.0.flows).is_empty()).await;
    });
}

#[test]
fn flows_are_bounded_and_the_oldest_goes_first() {
    run(async {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let (udp, _) = forwarder(&[&format!("udp://127.0.0.1:{port}")], &[]);
        let inside = any_socket();
        let to = IpAddr::V4(Ipv4Addr::LOCALHOST);
        for client in 0..2000 {
            send(&udp, &inside, client, to, port, b"flood");
            tokio::task::yield_now().await;
        }
        assert_eq!(lock(&udp.0.flows).len(), MOST_FLOWS);
        assert!(lock(&udp.0.flows).keys().all(|key| key.client.port() >= 2000 - 512));
        let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
        assert!(descriptors < 2 * MOST_FLOWS, "{descriptors}");
    });
}

#[test]
fn what_waits_is_bounded() {
    let now = Instant::now();
    let flow = Flow::new(&[0; 1000], now);
    for _ in 0..100 {
        assert!(flow.forward(&[0; 5000], now));
    }
    let progress = lock(&flow.0);
    let State::Opening(waiting) = &progress.state else { panic!() };
    let bytes: usize = waiting.iter().map(Vec::len).sum();
    assert!(waiting.len() <= MOST_WAITING && bytes <= MOST_WAITING_BYTES, "{bytes}");
}
