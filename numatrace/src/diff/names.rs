//! Which threads of two recordings belong together: those whose names, or whose cgroups' paths, are alike but for numbers.

use crate::text::unit_len;

/// Hexadecimal digits in a row from which on they are the id of something, where there is a decimal one among them.
const ID: usize = 8;

/// The name with `N` for each number and each long hexadecimal id: `worker-17` and `worker-3` are `worker-N`. Escapes of what
/// cannot be shown stay as they are.
pub fn alike(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while !rest.is_empty() {
        let number = number_len(rest);
        let (unit, tail) = rest.split_at(if number > 0 { number } else { unit_len(rest) });
        out.push_str(if number > 0 { "N" } else { unit });
        rest = tail;
    }
    out
}

/// Bytes of the number or id at the beginning; 0 where there is none.
fn number_len(text: &str) -> usize {
    let id = text.bytes().take_while(u8::is_ascii_hexdigit).count();
    if id >= ID && text.as_bytes()[..id].iter().any(u8::is_ascii_digit) {
        return id;
    }
    text.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ids_are_alike_and_words_stay() {
        let cases = [
            ("worker-17", "worker-N"),
            ("kworker/u8:3-ext4", "kworker/uN:N-extN"),
            ("redis-server", "redis-server"),
            ("7", "N"),
            ("", ""),
            ("deadbeef", "deadbeef"),
            ("decade", "decade"),
            ("/kubepods/pod1f0c-22/4be9f1a0cd", "/kubepods/podNfNc-N/N"),
            ("\\x1b[31m\\\\x41", "\\x1b[Nm\\\\xN"),
            ("caf\u{e9}9\\u{202e}", "caf\u{e9}N\\u{202e}"),
        ];
        for (name, expected) in cases {
            assert_eq!(alike(name), expected, "{name}");
        }
    }
}
