//! Content codings taken off as bodies stream, so that what they hide is seen. Little goes in at once, so that little
//! comes out, however well it was packed.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::{Buf, Bytes, BytesMut};
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::FrameDecoder;
use std::fmt;
use std::io::{self, ErrorKind, Write};

/// The most bytes that are decoded at once; those of deflate become a thousand times as many at most.
const STEP: usize = 512;

/// How much comes out at once, about.
const CHUNK: usize = 32 * 1024;

/// The largest window of zstd (RFC 9659), and the most of a frame that is held until a block is whole.
const WINDOW: u64 = 8 * 1024 * 1024;
const HELD: usize = 256 * 1024;

/// The codings that a server may be told that we take. What zstd has decoded is not to be had before its window is full.
pub(crate) const CODINGS: [&str; 5] = ["gzip", "x-gzip", "deflate", "br", "identity"];

/// Decodes one body.
pub(crate) enum Decoder {
    Gzip(MultiGzDecoder<Vec<u8>>),
    /// The coding `deflate` is zlib, but some servers send it bare: the first bytes tell.
    Unknown(BytesMut),
    Zlib(ZlibDecoder<Vec<u8>>),
    Deflate(DeflateDecoder<Vec<u8>>),
    Brotli {
        state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
        ended: bool,
    },
    Zstd {
        decoder: Box<FrameDecoder>,
        held: BytesMut,
        began: bool,
    },
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

impl Decoder {
    /// The decoder of one coding (RFC 9110 section 8.4.1); `None` for those that are not known.
    pub(crate) fn new(coding: &str) -> Option<Self> {
        Some(match coding.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Self::Gzip(MultiGzDecoder::new(Vec::new())),
            "deflate" => Self::Unknown(BytesMut::new()),
            "br" => {
                let new = StandardAlloc::default;
                Self::Brotli { state: Box::new(BrotliState::new_strict(new(), new(), new())), ended: false }
            }
            "zstd" => {
                let mut decoder = FrameDecoder::new();
                decoder.set_max_window_size(WINDOW);
                Self::Zstd { decoder: Box::new(decoder), held: BytesMut::new(), began: false }
            }
            _ => return None,
        })
    }

    /// Takes of `input` what becomes a chunk. Nothing comes out when all of it was taken and more is wanted.
    pub(crate) fn decode(&mut self, input: &mut Bytes) -> io::Result<Bytes> {
        match self {
            Self::Gzip(decoder) => write(decoder, input, MultiGzDecoder::get_mut),
            Self::Zlib(decoder) => write(decoder, input, ZlibDecoder::get_mut),
            Self::Deflate(decoder) => write(decoder, input, DeflateDecoder::get_mut),
            Self::Unknown(first) => {
                first.extend_from_slice(&input.split_to(input.len().min(2 - first.len().min(2))));
                let [one, two] = first[..] else { return Ok(Bytes::new()) };
                *self = match one & 15 == 8 && u16::from_be_bytes([one, two]) % 31 == 0 {
                    true => Self::Zlib(ZlibDecoder::new(Vec::new())),
                    false => Self::Deflate(DeflateDecoder::new(Vec::new())),
                };
                let mut joined = BytesMut::with_capacity(2 + input.len());
                joined.extend_from_slice(&[one, two]);
                joined.extend_from_slice(input);
                *input = joined.freeze();
                self.decode(input)
            }
            Self::Brotli { state, ended } => brotli(state, ended, input),
            Self::Zstd { decoder, held, began } => zstd(decoder, held, began, input),
        }
    }

    /// What is left when the body has ended, which must not be in the middle of something.
    pub(crate) fn finish(&mut self) -> io::Result<Bytes> {
        let rest = match self {
            Self::Gzip(decoder) => {
                decoder.try_finish()?;
                std::mem::take(decoder.get_mut())
            }
            Self::Zlib(decoder) => {
                decoder.try_finish()?;
                std::mem::take(decoder.get_mut())
            }
            Self::Deflate(decoder) => {
                decoder.try_finish()?;
                std::mem::take(decoder.get_mut())
            }
            Self::Unknown(first) if first.is_empty() => Vec::new(),
            Self::Brotli { ended: true, .. } | Self::Zstd { began: false, .. } => Vec::new(),
            Self::Zstd { decoder, held, .. } if held.is_empty() && decoder.is_finished() => Vec::new(),
            _ => return Err(ErrorKind::UnexpectedEof.into()),
        };
        Ok(rest.into())
    }
}

fn write<D: Write>(
    decoder: &mut D,
    input: &mut Bytes,
    out: impl Fn(&mut D) -> &mut Vec<u8>,
) -> io::Result<Bytes> {
    while !input.is_empty() && out(decoder).len() < CHUNK {
        let part = input.split_to(input.len().min(STEP));
        decoder.write_all(&part)?;
        decoder.flush()?;
    }
    Ok(std::mem::take(out(decoder)).into())
}

fn brotli(
    state: &mut BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    ended: &mut bool,
    input: &mut Bytes,
) -> io::Result<Bytes> {
    if *ended {
        return if input.is_empty() { Ok(Bytes::new()) } else { Err(ErrorKind::InvalidData.into()) };
    }
    let mut output = vec![0; CHUNK];
    let (mut left, mut read, mut room, mut written, mut total) = (input.len(), 0, CHUNK, 0, 0);
    let result = BrotliDecompressStream(
        &mut left,
        &mut read,
        input,
        &mut room,
        &mut written,
        &mut output,
        &mut total,
        state,
    );
    input.advance(read.min(input.len()));
    *ended = matches!(result, BrotliResult::ResultSuccess);
    if matches!(result, BrotliResult::ResultFailure) {
        return Err(ErrorKind::InvalidData.into());
    }
    output.truncate(written);
    Ok(output.into())
}

fn zstd(
    decoder: &mut FrameDecoder,
    held: &mut BytesMut,
    began: &mut bool,
    input: &mut Bytes,
) -> io::Result<Bytes> {
    held.extend_from_slice(&input.split_to(input.len().min(HELD.saturating_sub(held.len()))));
    let mut output = vec![0; CHUNK];
    loop {
        if *began && decoder.is_finished() && decoder.can_collect() == 0 {
            *began = false;
        }
        if !*began {
            let mut source = &held[..];
            match decoder.reset(&mut source) {
                Ok(()) => {}
                // A header has 18 bytes at most (RFC 8878 section 3.1.1.1).
                Err(_) if held.len() < 18 => return Ok(Bytes::new()),
                Err(error) => return Err(io::Error::new(ErrorKind::InvalidData, error.to_string())),
            }
            let header = held.len() - source.len();
            held.advance(header);
            *began = true;
        }
        let decoded = decoder.decode_from_to(held, &mut output);
        let (read, written) =
            decoded.map_err(|error| io::Error::new(ErrorKind::InvalidData, error.to_string()))?;
        if read > held.len() {
            return Ok(Bytes::new());
        }
        held.advance(read);
        if written > 0 {
            output.truncate(written);
            return Ok(output.into());
        }
        if read == 0 {
            return if held.len() < HELD { Ok(Bytes::new()) } else { Err(ErrorKind::InvalidData.into()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    fn decoded(coding: &str, bytes: &[u8], part: usize) -> io::Result<Vec<u8>> {
        let mut decoder = Decoder::new(coding).unwrap();
        let mut out = Vec::new();
        for part in bytes.chunks(part) {
            let mut input = Bytes::copy_from_slice(part);
            loop {
                let chunk = decoder.decode(&mut input)?;
                if chunk.is_empty() && input.is_empty() {
                    break;
                }
                assert!(chunk.len() <= 1024 * 1024);
                out.extend(chunk);
            }
        }
        out.extend(decoder.finish()?);
        Ok(out)
    }

    fn encoded(coding: &str, bytes: &[u8]) -> Vec<u8> {
        let level = Compression::default();
        match coding {
            "gzip" => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            "zlib" => {
                let mut encoder = ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            "deflate" => {
                let mut encoder = DeflateEncoder::new(Vec::new(), level);
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            "zstd" => ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest),
            _ => unreachable!(),
        }
    }

    #[test]
    fn brotli_of_a_known_text() {
        // What Google's encoder makes of it.
        let coded = [
            0x1b, 0xe2, 0x1, 0xf8, 0x8d, 0x94, 0x6e, 0xde, 0x44, 0x59, 0x86, 0xe6, 0xd6, 0x20, 0x64, 0x6c,
            0x6f, 0x4a, 0x13, 0xda, 0xe2, 0x80, 0x28, 0x53, 0xc3, 0x2,
        ];
        let plain = ["hello hello hello hello ".repeat(20).as_bytes(), b"end"].concat();
        for part in 1..coded.len() {
            assert_eq!(decoded("br", &coded, part).unwrap(), plain);
        }
        assert!(decoded("br", &coded[..20], 5).is_err());
        assert!(decoded("br", &[&coded[..], b"x"].concat(), 5).is_err());
    }

    #[test]
    fn what_is_packed_well_comes_out_in_pieces() {
        for (coding, name) in
            [("gzip", "gzip"), ("zlib", "deflate"), ("deflate", "deflate"), ("zstd", "zstd")]
        {
            let coded = encoded(coding, &vec![0; 20_000_000]);
            assert_eq!(decoded(name, &coded, 64 * 1024).unwrap().len(), 20_000_000, "{coding}");
        }
    }

    #[test]
    fn a_part_of_a_body_is_none() {
        for (coding, name) in [("gzip", "gzip"), ("zlib", "deflate"), ("zstd", "zstd")] {
            let coded = encoded(coding, b"hello hello hello hello");
            assert!(decoded(name, &coded[..coded.len() - 2], 5).is_err(), "{coding}");
            assert!(decoded(name, b"this is nothing like that at all", 5).is_err(), "{coding}");
        }
        assert_eq!(decoded("gzip", b"", 1).unwrap_or_default(), b"");
        assert!(Decoder::new("compress").is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_the_same_however_they_are_split(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), part in 1usize..40,
            head in prop_oneof![
                Just(vec![]), Just(vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]), Just(vec![0x28, 0xb5, 0x2f, 0xfd]),
                Just(vec![0x78, 0x9c]), Just(vec![0x1b]),
            ],
        ) {
            let bytes = [head, bytes].concat();
            for name in ["gzip", "deflate", "br", "zstd"] {
                prop_assert_eq!(decoded(name, &bytes, part).ok(), decoded(name, &bytes, 4096).ok(), "{}", name);
            }
        }

        #[test]
        fn any_split_gives_the_same_bytes(bytes in proptest::collection::vec(0u8..9, 0..3000), part in 1usize..700) {
            for (coding, name) in [("gzip", "gzip"), ("zlib", "deflate"), ("deflate", "deflate"), ("zstd", "zstd")] {
                prop_assert_eq!(&decoded(name, &encoded(coding, &bytes), part).unwrap(), &bytes, "{}", coding);
            }
        }
    }
}
