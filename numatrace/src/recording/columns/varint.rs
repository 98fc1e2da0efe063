//! Numbers of any width in as few bytes as they need: LEB128, seven bits a byte, low ones first.

/// A column ended too early, or a number in it is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::recording) struct Damaged;

/// Longest number: 64 bits in groups of seven.
const LONGEST: usize = 10;

/// Appends a number.
#[inline]
pub(super) fn put(column: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        column.push(value as u8 | 0x80);
        value >>= 7;
    }
    column.push(value as u8);
}

/// Appends a difference that wraps: small ones are short, whatever their sign.
#[inline]
pub(super) fn put_signed(column: &mut Vec<u8>, difference: u64) {
    put(column, zigzag(difference));
}

/// Columns of a number that is told by [`put_split`].
pub(super) const SPLIT: usize = 3;

/// Appends a number to columns of its first byte, its second byte, and all further ones. The first byte of a time is noise;
/// apart from it the second one packs well.
#[inline]
pub(super) fn put_split(columns: &mut [Vec<u8>; SPLIT], mut value: u64) {
    let [first, second, rest] = columns;
    if value < 0x80 {
        return first.push(value as u8);
    }
    first.push(value as u8 | 0x80);
    value >>= 7;
    if value < 0x80 {
        return second.push(value as u8);
    }
    second.push(value as u8 | 0x80);
    put(rest, value >> 7);
}

/// As [`put_split`], a difference that wraps.
#[inline]
pub(super) fn put_signed_split(columns: &mut [Vec<u8>; SPLIT], difference: u64) {
    put_split(columns, zigzag(difference));
}

/// The next number of columns that were filled by [`put_split`].
#[inline]
pub(super) fn split_number(columns: &mut [Column<'_>; SPLIT]) -> Result<u64, Damaged> {
    let [firsts, seconds, rest] = columns;
    let first = firsts.byte()?;
    if first < 0x80 {
        return Ok(first.into());
    }
    let second = seconds.byte()?;
    let low = u64::from(first & 0x7f) | u64::from(second & 0x7f) << 7;
    if second < 0x80 {
        return Ok(low);
    }
    let high = rest.number()?;
    if high >> (64 - 14) != 0 {
        return Err(Damaged);
    }
    Ok(low | high << 14)
}

/// As [`split_number`], a difference.
#[inline]
pub(super) fn split_signed(columns: &mut [Column<'_>; SPLIT]) -> Result<u64, Damaged> {
    split_number(columns).map(unzigzag)
}

#[inline]
const fn zigzag(difference: u64) -> u64 {
    let signed = difference as i64;
    ((signed << 1) ^ (signed >> 63)) as u64
}

#[inline]
const fn unzigzag(value: u64) -> u64 {
    (value >> 1) ^ (value & 1).wrapping_neg()
}

/// What is left of a column.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Column<'a>(pub(super) &'a [u8]);

impl<'a> Column<'a> {
    /// The next byte.
    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Damaged> {
        let (first, rest) = self.0.split_first().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*first)
    }

    /// The next bytes.
    #[inline]
    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Damaged> {
        let (first, rest) = self.0.split_at_checked(len).ok_or(Damaged)?;
        self.0 = rest;
        Ok(first)
    }

    /// The next number.
    #[inline]
    pub(super) fn number(&mut self) -> Result<u64, Damaged> {
        match self.byte()? {
            short @ 0..0x80 => Ok(short.into()),
            first => self.long(first),
        }
    }

    #[inline]
    fn long(&mut self, first: u8) -> Result<u64, Damaged> {
        let mut value = u64::from(first & 0x7f);
        for group in 1..LONGEST as u32 {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // Bits beyond the 64th are no number.
            if group == LONGEST as u32 - 1 && bits > 1 {
                return Err(Damaged);
            }
            value |= bits << (7 * group);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Damaged)
    }

    /// The next difference.
    #[inline]
    pub(super) fn signed(&mut self) -> Result<u64, Damaged> {
        self.number().map(unzigzag)
    }

    /// The next number, of 32 bits.
    #[inline]
    pub(super) fn word(&mut self) -> Result<u32, Damaged> {
        u32::try_from(self.number()?).map_err(|_| Damaged)
    }

    /// The next number, of 16 bits.
    #[inline]
    pub(super) fn short(&mut self) -> Result<u16, Damaged> {
        u16::try_from(self.number()?).map_err(|_| Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_survives_the_trip() {
        let mut numbers: Vec<u64> = (0..64).flat_map(|bit| [1 << bit, (1 << bit) - 1]).collect();
        numbers.push(u64::MAX);
        let mut column = Vec::new();
        let mut columns = [const { Vec::new() }; SPLIT];
        for number in &numbers {
            put_split(&mut columns, *number);
            put_signed_split(&mut columns, *number);
            put(&mut column, *number);
            put_signed(&mut column, *number);
            put_signed(&mut column, number.wrapping_neg());
        }
        let mut rest = Column(&column);
        let mut split = columns.each_ref().map(|column| Column(column));
        for number in &numbers {
            assert_eq!((split_number(&mut split), split_signed(&mut split)), (Ok(*number), Ok(*number)));
            assert_eq!(rest.number(), Ok(*number));
            assert_eq!(rest.signed(), Ok(*number));
            assert_eq!(rest.signed(), Ok(number.wrapping_neg()));
        }
        assert!(rest.0.is_empty());
    }

    #[test]
    fn what_is_cut_or_too_long_is_no_number() {
        for bytes in [&[][..], &[0x80], &[0xff; 9], &[0xff; 10], &[0xff; 11]] {
            assert_eq!(Column(bytes).number(), Err(Damaged), "{bytes:?}");
        }
        let most = [&[0xff; 9][..], &[1]].concat();
        assert_eq!(Column(&most).number(), Ok(u64::MAX));
        assert_eq!(Column(&[0xff, 0xff, 0x7f]).short(), Err(Damaged));
        assert_eq!(Column(&[0xff, 0xff, 0xff, 0xff, 0x7f]).word(), Err(Damaged));
        assert_eq!(Column(&[1, 2]).bytes(3), Err(Damaged));
        let split = |bytes: [&[u8]; SPLIT]| split_number(&mut bytes.map(Column));
        for bytes in [[&[][..]; SPLIT], [&[0x80], &[], &[]], [&[0x80], &[0x80], &[]]] {
            assert_eq!(split(bytes), Err(Damaged), "{bytes:?}");
        }
        let mut high = Vec::new();
        put(&mut high, 1 << 50);
        assert_eq!(split([&[0x80], &[0x80], &high]), Err(Damaged));
    }

    #[test]
    fn small_differences_are_one_byte() {
        let mut column = Vec::new();
        (-64i64..64).for_each(|difference| put_signed(&mut column, difference as u64));
        assert_eq!(column.len(), 128);
    }
}
