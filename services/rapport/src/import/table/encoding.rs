//! Which encoding a text file has: said by a byte-order mark, or counted over all its lines,
//! and explained. One pass reads the whole file once; the fingerprint for resuming is made
//! on the way.
//!
//! Lines are split on bytes before they are decoded, so that one line in another encoding
//! costs this line only. UTF-8 and GB18030 allow it: no byte of a longer character is a
//! comma, a quote or a line feed. UTF-16 does not, and is brought to UTF-8 first.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

use anyhow::{Context as _, bail};
use aws_lc_rs::digest;
use encoding_rs::{Encoding, GB18030, UTF_8, UTF_16BE, UTF_16LE};
use encoding_rs_io::DecodeReaderBytesBuilder;

/// The longest row, in bytes: what is longer is refused without being kept.
pub(crate) const LONGEST_ROW: usize = 1 << 20;

/// What a text file is, found in one pass.
#[derive(Debug, Clone)]
pub(crate) struct Survey {
    /// How the bytes are read.
    pub(crate) encoding: &'static Encoding,
    /// How this was found, for people.
    pub(crate) why: String,
}

/// The whole content in 64 hexadecimal digits.
pub(crate) fn fingerprint(file: &Path) -> anyhow::Result<String> {
    let mut source = File::open(file).with_context(|| format!("opening {}", file.display()))?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut block = vec![0; 1 << 16];
    loop {
        let count = source.read(&mut block)?;
        if count == 0 {
            return Ok(hex(context.finish().as_ref()));
        }
        context.update(&block[..count]);
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}"); // a String takes everything
    }
    text
}

/// Finds the encoding of a file, or takes the one that the mapping or the caller names.
pub(crate) fn survey(file: &Path, named: Option<&str>) -> anyhow::Result<Survey> {
    if let Some(label) = named {
        let encoding = by_label(label)?;
        return Ok(Survey { encoding, why: format!("{}, as told", encoding.name()) });
    }
    let mut source = File::open(file).with_context(|| format!("opening {}", file.display()))?;
    let mut head = vec![0; 4_096];
    let mut filled = 0;
    while filled < head.len() {
        let count = source.read(&mut head[filled..])?;
        if count == 0 {
            break;
        }
        filled += count;
    }
    head.truncate(filled);
    if let Some((encoding, _)) = Encoding::for_bom(&head) {
        let why = format!("{}, by its byte-order mark", encoding.name());
        return Ok(Survey { encoding, why });
    }
    if let Some(encoding) = utf16_without_mark(&head) {
        let why = format!("{}: every other byte is zero", encoding.name());
        return Ok(Survey { encoding, why });
    }
    source.seek(SeekFrom::Start(0))?;
    Ok(count(BufReader::with_capacity(1 << 16, source))?.decide())
}

/// An encoding whose separators are those of ASCII.
fn by_label(label: &str) -> anyhow::Result<&'static Encoding> {
    let Some(encoding) = Encoding::for_label(label.trim().as_bytes()) else {
        bail!("unknown encoding `{label}`: utf-8, utf-16, gbk, gb18030, big5, windows-1252 …");
    };
    let is_wide = [UTF_16LE, UTF_16BE].contains(&encoding);
    if !is_wide && !encoding.is_ascii_compatible() {
        bail!("the encoding `{label}` cannot be split into rows: convert the file to UTF-8");
    }
    Ok(encoding)
}

fn utf16_without_mark(head: &[u8]) -> Option<&'static Encoding> {
    let pairs = head.len() / 2;
    if pairs < 8 {
        return None;
    }
    let zeros = |offset: usize| head.iter().skip(offset).step_by(2).filter(|b| **b == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    let many = pairs * 2 / 5;
    if odd > many && even < pairs / 20 {
        return Some(UTF_16LE);
    }
    (even > many && odd < pairs / 20).then_some(UTF_16BE)
}

#[derive(Debug, Default)]
struct Counts {
    lines: u64,
    utf8: u64,
    gb18030: u64,
    neither: u64,
}

fn count(mut source: BufReader<File>) -> anyhow::Result<Counts> {
    let mut counts = Counts::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = source.by_ref().take(LONGEST_ROW as u64).read_until(b'\n', &mut line)?;
        if count == 0 {
            return Ok(counts);
        }
        counts.lines += 1;
        if line.is_ascii() {
            continue;
        }
        if is_utf8(&line, count == LONGEST_ROW) {
            counts.utf8 += 1;
        } else if GB18030.decode_without_bom_handling_and_without_replacement(&line).is_some() {
            counts.gb18030 += 1;
        } else {
            counts.neither += 1;
        }
    }
}

/// A line that was cut may end within a character.
fn is_utf8(line: &[u8], is_cut: bool) -> bool {
    match std::str::from_utf8(line) {
        Ok(_) => true,
        Err(error) => is_cut && error.error_len().is_none(),
    }
}

impl Counts {
    fn decide(&self) -> Survey {
        let marked = self.utf8 + self.gb18030 + self.neither;
        if marked == 0 {
            let why = format!("UTF-8: all {} lines are plain ASCII", self.lines);
            return Survey { encoding: UTF_8, why };
        }
        let (encoding, fits) =
            if self.gb18030 > self.utf8 { (GB18030, self.gb18030) } else { (UTF_8, self.utf8) };
        let mut why = format!(
            "{}: {fits} of the {marked} lines with other than ASCII characters are valid",
            encoding.name()
        );
        if fits < marked {
            let rest = marked - fits;
            why.push_str(&format!("; the other {rest} are refused, each with its line"));
        }
        Survey { encoding, why }
    }
}

/// The bytes of a text file without byte-order mark, and UTF-16 brought to UTF-8.
pub(crate) fn open(
    file: &Path,
    encoding: &'static Encoding,
) -> anyhow::Result<(Box<dyn Read + Send>, &'static Encoding)> {
    let mut source = File::open(file).with_context(|| format!("opening {}", file.display()))?;
    if [UTF_16LE, UTF_16BE].contains(&encoding) {
        let reader = DecodeReaderBytesBuilder::new().encoding(Some(encoding)).build(source);
        return Ok((Box::new(reader), UTF_8));
    }
    let mut mark = [0; 3];
    let mut filled = 0;
    while filled < 3 {
        match source.read(&mut mark[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    let has_mark = filled == 3 && mark == [0xef, 0xbb, 0xbf];
    source.seek(SeekFrom::Start(if has_mark { 3 } else { 0 }))?;
    Ok((Box::new(source), encoding))
}

/// Decodes a value, or says why it cannot be.
pub(crate) fn decode(encoding: &'static Encoding, bytes: &[u8]) -> Result<String, String> {
    if bytes.is_ascii() {
        return Ok(String::from_utf8_lossy(bytes).into_owned());
    }
    let as_utf8 = std::str::from_utf8(bytes).ok();
    if encoding == UTF_8 {
        return match as_utf8 {
            // What UTF-16 could not be brought to UTF-8.
            Some(text) if text.contains('\u{fffd}') => Err("bytes were lost before".to_owned()),
            Some(text) => Ok(text.to_owned()),
            None => Err(not_utf8(bytes)),
        };
    }
    if as_utf8.is_some_and(is_surely_utf8) {
        let name = encoding.name();
        return Err(format!("the bytes are UTF-8, the file is {name}: convert the row"));
    }
    match encoding.decode_without_bom_handling_and_without_replacement(bytes) {
        Some(text) => Ok(text.into_owned()),
        None => Err(format!("the bytes are not {}", encoding.name())),
    }
}

/// Three bytes that are one Han character of UTF-8 are hardly ever GBK: their pairs would be
/// rare characters and fall apart at the end.
fn is_surely_utf8(text: &str) -> bool {
    text.chars().any(|c| matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{ffef}'))
}

fn not_utf8(bytes: &[u8]) -> String {
    let as_gb = GB18030.decode_without_bom_handling_and_without_replacement(bytes);
    match as_gb {
        Some(_) => "the bytes are not UTF-8, but could be GB18030: convert the row".to_owned(),
        None => "the bytes are not UTF-8 (perhaps windows-1252): convert the row".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bytes: &[u8]) -> Survey {
        let name = format!("rapport-import-{}", uuid::Uuid::new_v4().simple());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, bytes).expect("written");
        let survey = survey(&file, None).expect("surveyed");
        let (mut source, encoding) = open(&file, survey.encoding).expect("opened");
        let mut content = Vec::new();
        source.read_to_end(&mut content).expect("read");
        std::fs::remove_file(&file).expect("removed");
        assert!(decode(encoding, &content).is_ok(), "{}", survey.why);
        survey
    }

    #[test]
    fn encodings_are_found_and_explained() {
        let text = "姓名,手机\n张三,13900000001\n李四,13900000002\n";
        assert_eq!(found(text.as_bytes()).encoding, UTF_8);
        assert_eq!(found(b"id\n1\n").encoding, UTF_8);
        let marked = [&[0xef, 0xbb, 0xbf], text.as_bytes()].concat();
        assert!(found(&marked).why.contains("byte-order mark"));
        let gbk = GB18030.encode(text).0.into_owned();
        assert_eq!(found(&gbk).encoding, GB18030);
        let wide: Vec<u8> =
            "name,city\nAda,Turin\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(found(&wide).encoding, UTF_16LE);
        let marked = [vec![0xfe, 0xff], text.encode_utf16().flat_map(u16::to_be_bytes).collect()];
        assert_eq!(found(&marked.concat()).encoding, UTF_16BE);
    }

    #[test]
    fn a_row_in_another_encoding_is_told_from_one_that_fits() {
        let gbk = GB18030.encode("王小明").0.into_owned();
        assert!(decode(UTF_8, &gbk).is_err_and(|reason| reason.contains("GB18030")));
        assert!(decode(GB18030, "王小明".as_bytes()).is_err_and(|reason| reason.contains("UTF-8")));
        assert_eq!(decode(GB18030, &gbk).as_deref(), Ok("王小明"));
        assert!(decode(UTF_8, b"caf\xe9").is_err());
    }

    #[test]
    fn an_unknown_encoding_is_refused() {
        assert!(by_label("klingon").is_err());
        assert!(by_label("iso-2022-jp").is_err());
        assert_eq!(by_label("gbk").expect("known").name(), "GBK");
    }
}
