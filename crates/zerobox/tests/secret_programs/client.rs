// A static program without TLS: `client HOST PORT` sends the key of API_KEY in clear.
use std::io::{Read, Write};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (host, port) = (arguments.next().unwrap(), arguments.next().unwrap());
    let key = std::env::var("API_KEY").unwrap();
    let mut stream = std::net::TcpStream::connect((&*host, port.parse().unwrap()))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {host}:{port}\r\nX-Api-Key: {key}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    println!("{answer}");
    Ok(())
}
