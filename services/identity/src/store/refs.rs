//! The values of a piece of evidence, packed into one column: for each 16 bytes of key, the
//! length of the namespace (1 byte), the namespace. One read of an evidence row is enough to
//! put it into the graph.

use linkage::graph::{Value, ValueKey};
use store::Error;

/// Packs.
pub(crate) fn encode(values: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * 26);
    for value in values {
        let name = value.namespace.as_str();
        bytes.extend_from_slice(value.key.as_bytes());
        // Names have at most 32 bytes.
        bytes.push(name.len() as u8);
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes
}

/// Unpacks.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Value>, Error> {
    let mut values = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (value, after) =
            split_first(rest).ok_or_else(|| Error::internal("stored values do not decode"))?;
        values.push(value);
        rest = after;
    }
    Ok(values)
}

fn split_first(bytes: &[u8]) -> Option<(Value, &[u8])> {
    let (key, rest) = bytes.split_first_chunk::<16>()?;
    let (length, rest) = rest.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let namespace = std::str::from_utf8(name).ok()?.parse().ok()?;
    Some((Value { namespace, key: ValueKey::new(*key) }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back_and_cut_bytes_are_refused() {
        let value = |name: &str, byte| Value {
            namespace: name.parse().unwrap(),
            key: ValueKey::new([byte; 16]),
        };
        let values = vec![value("email", 1), value("my_own_space", 2)];
        let bytes = encode(&values);
        assert_eq!(decode(&bytes).unwrap(), values);
        assert!(decode(&bytes[..bytes.len() - 1]).is_err());
        assert!(decode(&[]).unwrap().is_empty());
    }
}
