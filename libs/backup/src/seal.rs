//! A stream that is encrypted and authenticated in chunks, so that neither side holds it whole.
//!
//! Header: `RPBK`, version (1), salt (32). The key of the stream is derived from the backup key,
//! the salt and the label (what the stream is), so a file that stands in for another is refused.
//! Then chunks of 64 KiB, AES-256-GCM, tag behind. The nonce is the chunk's number (11 bytes) and
//! whether it is the last (1 byte): order and end are authenticated (the STREAM construction of
//! Hoang, Reyhanitabar, Rogaway and Vizár, CRYPTO 2015). No nonce repeats: the key is the stream's
//! own.

use std::io::{self, Read, Write};

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use aws_lc_rs::rand;

use crate::error::Error;
use crate::key::Key;

const MAGIC: [u8; 5] = *b"RPBK\x01";
const SALT: usize = 32;
const HEADER: usize = MAGIC.len() + SALT;
const CHUNK: usize = 64 << 10;
const TAG: usize = 16;

fn nonce(number: u64, last: bool) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[3..11].copy_from_slice(&number.to_be_bytes());
    bytes[11] = u8::from(last);
    Nonce::assume_unique_for_key(bytes)
}

/// Encrypts what is written to it. Without [`Sealer::finish`] the stream has no end and is refused.
pub(crate) struct Sealer<W> {
    inner: W,
    key: LessSafeKey,
    header: [u8; HEADER],
    pending: Vec<u8>,
    number: u64,
}

impl<W: Write> Sealer<W> {
    pub(crate) fn new(mut inner: W, key: &Key, label: &str) -> Result<io::Result<Self>, Error> {
        let mut header = [0; HEADER];
        header[..MAGIC.len()].copy_from_slice(&MAGIC);
        rand::fill(&mut header[MAGIC.len()..]).map_err(|_| Error::Cryptography)?;
        let key = key.cipher(&header[MAGIC.len()..], label)?;
        if let Err(error) = inner.write_all(&header) {
            return Ok(Err(error));
        }
        let pending = Vec::with_capacity(CHUNK + TAG);
        Ok(Ok(Self { inner, key, header, pending, number: 0 }))
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        let tag = self
            .key
            .seal_in_place_separate_tag(
                nonce(self.number, last),
                Aad::from(self.header),
                &mut self.pending,
            )
            .map_err(|_| io::Error::other("encryption failed"))?;
        self.pending.extend_from_slice(tag.as_ref());
        self.inner.write_all(&self.pending)?;
        self.pending.clear();
        self.number += 1;
        Ok(())
    }

    /// Writes the authenticated end.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.seal(true)?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk waits for the next byte: it may be the last one.
        if self.pending.len() == CHUNK {
            self.seal(false)?;
        }
        let taken = bytes.len().min(CHUNK - self.pending.len());
        self.pending.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// A chunk is written when it is full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Decrypts a stream; an error of kind `InvalidData` says that it is not authentic.
pub(crate) struct Opener<R> {
    inner: R,
    key: LessSafeKey,
    header: [u8; HEADER],
    plain: Vec<u8>,
    given: usize,
    /// Read ahead, to know whether a chunk is the last one.
    next: Vec<u8>,
    number: u64,
    ended: bool,
}

fn refused(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Reads until the buffer has `CHUNK + TAG` bytes or the stream ends.
fn fill(inner: &mut impl Read, chunk: &mut Vec<u8>) -> io::Result<()> {
    chunk.clear();
    inner.take((CHUNK + TAG) as u64).read_to_end(chunk)?;
    Ok(())
}

impl<R: Read> Opener<R> {
    pub(crate) fn new(mut inner: R, key: &Key, label: &str) -> Result<io::Result<Self>, Error> {
        let mut header = [0; HEADER];
        if let Err(error) = inner.read_exact(&mut header) {
            let short = error.kind() == io::ErrorKind::UnexpectedEof;
            return Ok(Err(if short { refused("it is cut short") } else { error }));
        }
        if header[..4] != MAGIC[..4] {
            return Ok(Err(refused("it is not a part of a backup")));
        }
        if header[4] != MAGIC[4] {
            return Ok(Err(refused("it was written by a newer release")));
        }
        let key = key.cipher(&header[MAGIC.len()..], label)?;
        let mut next = Vec::with_capacity(CHUNK + TAG);
        if let Err(error) = fill(&mut inner, &mut next) {
            return Ok(Err(error));
        }
        let plain = Vec::with_capacity(CHUNK + TAG);
        Ok(Ok(Self { inner, key, header, plain, given: 0, next, number: 0, ended: false }))
    }

    pub(crate) fn into_inner(self) -> R {
        self.inner
    }

    fn open_next(&mut self) -> io::Result<()> {
        std::mem::swap(&mut self.plain, &mut self.next);
        self.given = 0;
        fill(&mut self.inner, &mut self.next)?;
        let last = self.next.is_empty();
        let length = self
            .key
            .open_in_place(nonce(self.number, last), Aad::from(self.header), &mut self.plain)
            .map_err(|_| refused("it was changed or cut, or is of another backup or key"))?
            .len();
        self.plain.truncate(length);
        self.number += 1;
        self.ended = last;
        Ok(())
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, wanted: &mut [u8]) -> io::Result<usize> {
        while self.given == self.plain.len() {
            if self.ended {
                return Ok(0);
            }
            self.open_next()?;
        }
        let taken = wanted.len().min(self.plain.len() - self.given);
        wanted[..taken].copy_from_slice(&self.plain[self.given..self.given + taken]);
        self.given += taken;
        Ok(taken)
    }
}
