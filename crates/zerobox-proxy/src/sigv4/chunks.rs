//! Bodies of which each chunk is signed (`aws-chunked`): the chunks get new signatures, each of which has the one before
//! in it.

use super::canonical::{sha256_hex, sign};
use crate::body::{BodyError, Filter};
use bytes::{Buf, Bytes, BytesMut};
use ring::hmac::Key;

/// The most bytes of a chunk, which must be there before its signature is, and of a line.
const CHUNK: usize = 16 * 1024 * 1024;
const LINE: usize = 4096;

const CHUNK_SIGNATURE: &str = ";chunk-signature=";
const TRAILER_SIGNATURE: &[u8] = b"x-amz-trailer-signature:";

/// Signs the chunks of a body.
pub(super) struct ChunkSigner {
    key: Key,
    date: String,
    scope: String,
    /// The signature before.
    last: String,
    held: BytesMut,
    part: Part,
    trailers: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Chunks,
    Trailers,
    Ended,
}

impl ChunkSigner {
    pub(super) fn new(key: Key, date: &str, scope: &str, seed: &str) -> Self {
        let (date, scope, last) = (date.to_owned(), scope.to_owned(), seed.to_owned());
        Self { key, date, scope, last, held: BytesMut::new(), part: Part::Chunks, trailers: Vec::new() }
    }

    /// The next chunk or line of trailers, once all of it is there.
    fn next(&mut self, out: &mut BytesMut) -> Result<bool, BodyError> {
        let end = self.held.windows(2).take(LINE).position(|window| window == b"\r\n");
        let Some(end) = end else {
            return if self.held.len() < LINE { Ok(false) } else { Err("a line that does not end".into()) };
        };
        match self.part {
            Part::Chunks => self.chunk(end, out),
            Part::Trailers => self.trailer(end, out),
            Part::Ended => Ok(false),
        }
    }

    fn chunk(&mut self, end: usize, out: &mut BytesMut) -> Result<bool, BodyError> {
        let line = std::str::from_utf8(self.held.get(..end).unwrap_or_default())?;
        let (size, _signature) = line.split_once(CHUNK_SIGNATURE).ok_or("a chunk without a signature")?;
        let size_text = size.to_owned();
        let size = usize::from_str_radix(size, 16)
            .ok()
            .filter(|size| *size <= CHUNK)
            .ok_or("a bad size of a chunk")?;
        // The last chunk has no data, and its line end may belong to trailers.
        let whole = end + 2 + if size == 0 { 0 } else { size + 2 };
        if self.held.len() < whole {
            return Ok(false);
        }
        self.held.advance(end + 2);
        let data = self.held.split_to(size);
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{}\n{}\n{}",
            self.date,
            self.scope,
            self.last,
            sha256_hex(b""),
            sha256_hex(&data)
        );
        self.last = sign(&self.key, text.as_bytes());
        out.extend_from_slice(format!("{size_text}{CHUNK_SIGNATURE}{}\r\n", self.last).as_bytes());
        out.extend_from_slice(&data);
        if size == 0 {
            self.part = Part::Trailers;
            return Ok(true);
        }
        if !self.held.starts_with(b"\r\n") {
            return Err("a chunk that does not end".into());
        }
        self.held.advance(2);
        out.extend_from_slice(b"\r\n");
        Ok(true)
    }

    fn trailer(&mut self, end: usize, out: &mut BytesMut) -> Result<bool, BodyError> {
        let line = self.held.split_to(end);
        self.held.advance(2);
        if line.is_empty() {
            self.part = Part::Ended;
            out.extend_from_slice(b"\r\n");
        } else if line.starts_with(TRAILER_SIGNATURE) {
            let text = format!(
                "AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{}\n{}",
                self.date,
                self.scope,
                self.last,
                sha256_hex(&self.trailers)
            );
            self.last = sign(&self.key, text.as_bytes());
            out.extend_from_slice(TRAILER_SIGNATURE);
            out.extend_from_slice(self.last.as_bytes());
            out.extend_from_slice(b"\r\n");
        } else {
            self.trailers.extend_from_slice(&line);
            self.trailers.push(b'\n');
            if self.trailers.len() > LINE {
                return Err("too many trailers".into());
            }
            out.extend_from_slice(&line);
            out.extend_from_slice(b"\r\n");
        }
        Ok(true)
    }
}

impl Filter for ChunkSigner {
    fn push(&mut self, bytes: Bytes) -> Result<Bytes, BodyError> {
        self.held.extend_from_slice(&bytes);
        let mut out = BytesMut::new();
        while self.next(&mut out)? {}
        Ok(out.freeze())
    }

    fn finish(&mut self) -> Result<Bytes, BodyError> {
        match self.held.is_empty() {
            true => Ok(Bytes::new()),
            false => Err("a chunk that does not end".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::canonical::key;
    use super::*;
    use proptest::prelude::*;

    fn resigned(body: &[u8], part: usize) -> Result<Vec<u8>, BodyError> {
        let scope = "20130524/us-east-1/s3/aws4_request";
        let key = key(b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", scope);
        let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        let mut signer = ChunkSigner::new(key, "20130524T000000Z", scope, seed);
        let mut out = Vec::new();
        for part in body.chunks(part) {
            out.extend(signer.push(Bytes::copy_from_slice(part))?);
        }
        out.extend(signer.finish()?);
        Ok(out)
    }

    fn body(signatures: [&str; 3]) -> Vec<u8> {
        let [one, two, three] = signatures;
        let mut body = format!("10000;chunk-signature={one}\r\n").into_bytes();
        body.extend([b'a'; 65536]);
        body.extend(format!("\r\n400;chunk-signature={two}\r\n").bytes());
        body.extend([b'a'; 1024]);
        body.extend(format!("\r\n0;chunk-signature={three}\r\n\r\n").bytes());
        body
    }

    #[test]
    fn the_example_of_the_documentation() {
        let zeros = "0".repeat(64);
        let wanted = body([
            "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ]);
        for part in [1000, 65536, 100_000] {
            assert_eq!(resigned(&body([&zeros; 3]), part).unwrap(), wanted);
        }
    }

    #[test]
    fn what_is_not_chunked_is_refused() {
        for bad in [
            "x;chunk-signature=0\r\n",
            "1\r\na\r\n",
            "1;chunk-signature=0\r\nab",
            "fffffffff;chunk-signature=0\r\n",
        ] {
            assert!(resigned(bad.as_bytes(), 3).is_err(), "{bad:?}");
        }
        assert!(resigned(&[b'a'; 2 * LINE], 100).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_and_any_split(bytes in "[0-2]{1,2}(;chunk-signature=)?(\r\n)?[a-c]{0,3}(\r\n)?", part in 1usize..9) {
            let whole = resigned(bytes.as_bytes(), bytes.len()).ok();
            prop_assert_eq!(resigned(bytes.as_bytes(), part).ok(), whole);
        }
    }
}
