//! Labels out of foreign bytes.

use sha2::{Digest, Sha256};

use crate::text::{display_bytes, unit_len, visible};

/// Bytes of a label value at most.
pub const MAX_LABEL: usize = 256;

/// Names and values, in the order in which they are written.
pub(super) type Labels = Vec<(&'static str, String)>;

/// Bytes as a label value: valid UTF-8 of visible characters, at most [`MAX_LABEL`] bytes. What is so already stays as it is, so
/// that it is equal to what others say of the same thing. Anything else is escaped or cut, and eight digits of a hash follow, so that
/// different bytes remain different.
pub(super) fn value(bytes: &[u8]) -> String {
    let plain = str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_LABEL && visible(text) == *text);
    match plain {
        Some(text) => text.to_owned(),
        None => hashed(bytes),
    }
}

/// Text that was found anywhere, as [`value`].
pub(super) fn text_value(text: &str) -> String {
    value(text.as_bytes())
}

fn hashed(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let suffix = format!("~{:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3]);
    // Each byte becomes one character at least: no more than these can be told.
    let mut out = head(&display_bytes(&bytes[..bytes.len().min(MAX_LABEL)]), MAX_LABEL - suffix.len());
    out.push_str(&suffix);
    out
}

/// At most `most` bytes of escaped text; an escape is not cut in half.
fn head(text: &str, most: usize) -> String {
    let mut end = 0;
    while end < text.len() {
        let next = end + unit_len(&text[end..]);
        if next > most {
            break;
        }
        end = next;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_plain_stays_as_it_is() {
        assert_eq!(
            value(br"/system.slice/system-serial\x2dgetty.slice"),
            r"/system.slice/system-serial\x2dgetty.slice"
        );
        assert_eq!(value("größe \"1\"".as_bytes()), "größe \"1\"");
    }

    #[test]
    fn hostile_bytes_are_escaped_and_remain_different() {
        let escaped = value(b"a\n\x1b[2J");
        assert!(escaped.starts_with(r"a\x0a\x1b[2J~"), "{escaped}");
        assert_ne!(value(b"\xff"), value(br"\xff"));
        assert_ne!(value(b"a\xff"), value(b"a\xfe"));
    }

    #[test]
    fn long_ones_are_cut_and_remain_different() {
        let (one, other) = (value(&[b'a'; 4_096]), value(&[b'a'; 4_095]));
        assert_eq!(one.len(), MAX_LABEL);
        assert_ne!(one, other);
        assert!(value(&[0xff; 100_000]).len() <= MAX_LABEL);
    }

    proptest! {
        #[test]
        fn any_bytes_are_bounded_and_visible(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let told = value(&bytes);
            prop_assert!(told.len() <= MAX_LABEL);
            prop_assert_eq!(visible(&told), told);
        }
    }
}
